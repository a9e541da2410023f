"""``sidecar policy explain``: the reason for a decision, and the changes that would reverse it."""

from collections.abc import Collection

import click

from sidecar.cli.options import settings_from
from sidecar.cli.output import NO, OK, plain, print_json, print_pairs
from sidecar.cli.policy.policy_source import Source, draft_of, source_of
from sidecar.cli.policy.query import (
    QuerySubject,
    cell_arguments,
    known,
    known_cell,
    known_conditions,
    query_subject,
)
from sidecar.cli.policy.request_query import is_path, request_explained, route_rows
from sidecar.domain.decision import Reason
from sidecar.policy.diagnostics import path_of
from sidecar.policy.expectations import EXPECTATIONS
from sidecar.policy.explain import Edit, EditKind, Explanation, explain_person
from sidecar.policy.explain import explain as explain_cell
from sidecar.policy.explained import SHOWN_CELLS, to_explained
from sidecar.policy.generation import Generation
from sidecar.policy.needs.conditions import Condition, ConditionKind
from sidecar.policy.needs.lines import FILE as NEEDS
from sidecar.policy.needs.rows import PREFIX
from sidecar.policy.needs.table import Needs
from sidecar.policy.rules import FILE, Rule


@click.command()
@cell_arguments
def explain(
    subject: str, section: str, action: str, account: str | None, met: str, as_json: bool, **flags: str | None
) -> int:
    """Explain why ROLE, or the user with this e-mail, may or may not do ACTION in SECTION, or send METHOD and PATH.

    Prints the deciding rule and the inheritance path by `g`. For a deny it also prints the nearest rule, the one change
    that would allow it, and the roles with access. Exit status 0 allowed, 1 denied. A suspended or only invited user is
    denied for that status, as in `can` and in every check; the rule then shows the role's permission. --with names the
    conditions of conditions.toml that are met; without it, none is. For a METHOD and a PATH, which begins with /,
    the output has the route and its section and action too.
    """
    settings = settings_from(flags)
    source = source_of(settings)
    generation = draft_of(source)
    queried = query_subject(subject, account, settings)
    names = known_conditions(generation, met)
    if is_path(action):
        known("role", queried.role, generation.roles)
        explanation = request_explained(generation, queried.role, section, action, names, queried.person)
    else:
        known_cell(generation, queried.role, section, action)
        explanation = _explain_cell(generation, queried, section, action, names)
    if as_json:
        print_json(to_explained(explanation, source.name_of))
    else:
        if queried.note:
            click.echo(plain(queried.note.rstrip(": ")))
        print_pairs(_reported(explanation, source, generation.needs))
    return OK if explanation.allowed else NO


def _explain_cell(
    generation: Generation, queried: QuerySubject, section: str, action: str, met: Collection[str]
) -> Explanation:
    if queried.person is None:
        return explain_cell(generation, queried.role, section, action, met)
    return explain_person(generation, queried.person, section, action, met)


def _reported(found: Explanation, source: Source, needs: Needs) -> dict[str, object]:
    because = f"unmet: {', '.join(found.unmet)}" if found.unmet else found.ruling.reason
    reported: dict[str, object] = {
        "decision": f"{'allow' if found.allowed else 'deny'} ({because})",
        "rule": _line(found.rule, source) or "none",
    }
    for link in found.path:
        reported[f"by {link.role}"] = f"{source.name_of(link.id)}: {link.text}"
    for line in found.needs:
        reported[f"need {line.line}"] = f"{source.name_of(line.id)}: {line.text}"
    if found.unmet:
        reported["to meet"] = "; ".join(_act(needs.conditions[name]) for name in found.unmet)
        tests = f"; then the rows with {PREFIX} in {source.name_of(path_of(EXPECTATIONS))}"
        needs_file = source.name_of(path_of(NEEDS))
        reported["edits"] = f"add an alternative to the needs, or delete them in {needs_file}{tests}"
    reported |= route_rows(found, source)
    if found.allowed or found.ruling.allowed:
        return reported
    if found.overridden is not None:
        reported["overrides"] = _line(found.overridden, source)
    if found.person is not None and not found.person.may_sign_in:
        status = found.person.status if found.person.review is None else "held: see sidecar user review"
        reported["edits"] = f"none: the user is {status}"
    elif found.ruling.reason in _OF_PATHS:
        reported["edits"] = f"none in policy.csv: {_OF_PATHS[found.ruling.reason]}"
    else:
        reported["nearest"] = _line(found.nearest.rule, source) if found.nearest else "none"
        reported["edits"] = _edits(found, source) or "none in policy.csv"
    if found.side_effects:
        reported["side effects"] = f"opens {len(found.side_effects)} other cells"
    reported["allowed roles"] = ", ".join(found.roles) or "none"
    return reported


_OF_PATHS = {
    Reason.NOT_YOURS: "the path must have the caller's own ids",
    Reason.UNMATCHED_PATH: "add a route to sections.toml",
    Reason.AMBIGUOUS_PATH: "the request must have another path",
}
"""Denials of a request that no rule can change, with their remedy."""


def _act(condition: Condition) -> str:
    """Return the act that meets a condition."""
    match condition.kind:
        case ConditionKind.SECOND_FACTOR:
            return "sign in with a second factor"
        case ConditionKind.METHODS:
            return f"sign in with {' or '.join(condition.methods)}"
        case ConditionKind.SIGNED_IN_WITHIN:
            return f"sign in again, at most {condition.seconds // 60} minutes before"
        case ConditionKind.NETWORKS:
            return f"come from {' or '.join(condition.networks[:3])}{', …' if len(condition.networks) > 3 else ''}"
        case ConditionKind.HOURS:
            return f"come at the hours of {condition.name}"
        case ConditionKind.ACCOUNT:
            return f"give the account the label {condition.label}={' or '.join(condition.values)}"


def _edits(found: Explanation, source: Source) -> str:
    """Return the edits of policy.csv, and those of expectations.csv that they require."""
    edits = [_edit(edit, FILE, source) for edit in found.edits_to_flip]
    edits += [_edit(edit, EXPECTATIONS, source) for edit in found.test_edits[:SHOWN_CELLS]]
    more = len(found.test_edits) - SHOWN_CELLS
    if more > 0:
        edits.append(f"and {more} more rows of {source.name_of(path_of(EXPECTATIONS))}")
    return "; ".join(edits)


def _edit(edit: Edit, file: str, source: Source) -> str:
    where = source.name_of(edit.rule or path_of(file))
    match edit.kind:
        case EditKind.WRITE:
            return f"add to {where}: {edit.line}"
        case EditKind.REMOVE:
            return f"delete {where}: {edit.line}"
        case EditKind.REPLACE:
            return f"write in place of {where}: {edit.line}"


def _line(rule: Rule | None, source: Source) -> str | None:
    return f"{source.name_of(rule.id)}: {rule.text}" if rule else None
