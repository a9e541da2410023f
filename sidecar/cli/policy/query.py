"""``sidecar policy can``: a query of the policy files, with the server's decision."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, plain, print_json, usage_error
from sidecar.cli.policy.policy_source import Source, draft_of, source_of
from sidecar.cli.policy.request_query import as_members, because, is_path, request_explained
from sidecar.config.settings import Settings
from sidecar.domain.users import UserRecord
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Ruling
from sidecar.policy.diagnostics import suggestion
from sidecar.policy.explain import status_denial
from sidecar.policy.generation import Generation
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.rows import blocking_lines, lacking

F = TypeVar("F", bound=Callable[..., Any])


def cell_arguments(verb: F) -> F:
    """Add the arguments of a query about one cell: role or user, section, action; the settings, and --json."""
    for add in (
        json_option,
        settings_options(STORE),
        click.option("--with", "met", default="", metavar="NAMES", help="Conditions that are met, with commas."),
        click.option("--account", metavar="ACCOUNT", help="Name or id of the user's account."),
        click.argument("action", metavar="ACTION|PATH"),
        click.argument("section", metavar="SECTION|METHOD"),
        click.argument("subject", metavar="ROLE|E-MAIL"),
    ):
        verb = add(verb)
    return verb


@click.command()
@cell_arguments
def can(
    subject: str, section: str, action: str, account: str | None, met: str, as_json: bool, **flags: str | None
) -> int:
    """Decide if ROLE may do ACTION in SECTION, or send a request with METHOD and PATH. Exit status 0 yes, 1 no.

    With an e-mail and --account: decide for that user's current role and status. Only this form reads the store. A name
    that does not exist is an error (2) and never a decision. --with names the conditions of conditions.toml that are
    met; without it, none is. A PATH begins with / and is decided as in a check.
    """
    settings = settings_from(flags)
    source = source_of(settings)
    generation = draft_of(source)
    queried = query_subject(subject, account, settings)
    if is_path(action):
        return _can_request(generation, queried, section, action, met, source, as_json=as_json)
    known_cell(generation, queried.role, section, action)
    names = known_conditions(generation, met)
    ruling = queried.status_denial or decide(generation, queried.role, section, action)
    lines = generation.needs.lines_of(queried.role, section, action) if ruling.allowed else ()
    unmet = lacking(generation.needs, lines, names)
    allowed = ruling.allowed and not unmet
    if as_json:
        cell = as_dict(source, queried.role, section, action, ruling)
        if lines:
            needs = [list(line.conditions) for line in lines]
            cell |= {"decision": allowed, "needs": needs, "unmet": list(unmet)}
        user = None if queried.person is None else queried.person.id
        print_json({**cell, "user": user, "generation": generation.id})
    else:
        but = _unmet_text(source, blocking_lines(lines, set(generation.needs.conditions) - names), unmet, names)
        click.echo(f"{'yes' if allowed else 'no'}: {queried.note}{_because(source, ruling)}{but}")
    return OK if allowed else NO


def _can_request(
    generation: Generation, queried: "QuerySubject", method: str, path: str, met: str, source: Source, *, as_json: bool
) -> int:
    """Decide a request by method and path, and print the decision."""
    known("role", queried.role, generation.roles)
    names = known_conditions(generation, met)
    found = request_explained(generation, queried.role, method, path, names, queried.person)
    if as_json:
        user = None if queried.person is None else queried.person.id
        print_json({**as_members(found, source), "user": user, "generation": generation.id})
    else:
        click.echo(plain(f"{'yes' if found.allowed else 'no'}: {queried.note}{because(found, source)}"))
    return OK if found.allowed else NO


def _unmet_text(source: Source, lines: Sequence[NeedLine], unmet: tuple[str, ...], names: Collection[str]) -> str:
    if not unmet:
        return ""
    by = ", ".join(source.name_of(line.id) for line in lines)
    note = "" if names else "; no condition is taken as met: see --with"
    return f", but unmet: {', '.join(unmet)} ({by}){note}"


def known_conditions(generation: Generation, met: str) -> set[str]:
    """Return the names of --with. End the verb with status 2 when one of them does not exist."""
    names = {name.strip() for name in met.split(",") if name.strip()}
    for name in sorted(names):
        known("condition", name, generation.needs.conditions)
    return names


@dataclass(frozen=True, slots=True)
class QuerySubject:
    """A role, or a user and the user's role."""

    role: str
    person: UserRecord | None = None

    @property
    def note(self) -> str:
        """Return the user's role and status as a prefix; empty for a role."""
        person = self.person
        return "" if person is None else f"{person.email} is {person.role} ({person.status}): "

    @property
    def status_denial(self) -> Ruling | None:
        """Return the denial that the user's status causes, for any role; None if the role decides."""
        return None if self.person is None else status_denial(self.person)


def query_subject(subject: str, account: str | None, settings: Settings) -> QuerySubject:
    """Return a role, or a user read from the store. An ``@``, ``usr_`` or --account marks a user."""
    if "@" not in subject and not subject.startswith("usr_"):
        if account is not None:
            raise usage_error(f'"{subject}" is not an e-mail: use --account only with one')
        return QuerySubject(subject)
    from sidecar.cli.policy.subjects import record_of

    record = record_of(settings, subject, account)
    return QuerySubject(record.role, record)


def known_cell(generation: Generation, role: str, section: str, action: str) -> None:
    """End the verb with status 2 when one of the names does not exist."""
    known("role", role, generation.roles)
    known("section", section, generation.sections)
    known(f'action of "{section}"', action, generation.sections[section].actions)


def known(what: str, name: str, names: Iterable[str]) -> None:
    """End the verb with status 2 when the name does not exist."""
    candidates = list(names)
    if name not in candidates:
        raise usage_error(f'"{name}" is not {"an" if what[0] == "a" else "a"} {what} ({suggestion(name, candidates)})')


def as_dict(source: Source, role: str, section: str, action: str, ruling: Ruling) -> dict[str, object]:
    """Return a cell in the API's form."""
    return {
        "role": role,
        "section": section,
        "action": action,
        "decision": ruling.allowed,
        "reason": ruling.reason.value,
        "rule": source.name_of(ruling.rule) if ruling.rule else None,
    }


def _because(source: Source, ruling: Ruling) -> str:
    return f"{ruling.reason} by {source.name_of(ruling.rule)}" if ruling.rule else ruling.reason.value
