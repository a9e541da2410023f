"""``sidecar policy diff``: every cell and route that differs between two policies, those that open first."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import click

from sidecar.cli.output import NO, OK, CliError, plain, print_error, print_json, print_table, usage_error
from sidecar.cli.policy.git_source import policy_at
from sidecar.cli.policy.people import PeopleUnavailableError, users_by_role
from sidecar.cli.policy.policy_source import draft_of, files_options, source_from
from sidecar.cli.secret_input import read_secret
from sidecar.policy.diagnostics import suggestion
from sidecar.policy.diff import CellChange, Difference, RenameChange, RouteChange
from sidecar.policy.diff import diff as difference_of
from sidecar.policy.diff_markdown import to_markdown
from sidecar.policy.generation import Generation

FORMATS = ("text", "json", "markdown")


@click.command()
@click.argument("old")
@click.argument("new", required=False)
@files_options
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="WHAT",
    help="A change that may open: ROLE/SECTION/ACTION, with * as a wildcard, or METHOD PATH as listed.",
)
@click.option("--routes", "only_routes", is_flag=True, help="With --json: the routes instead of the cells.")
@click.option("--roles", "only_roles", is_flag=True, help="With --json: the roles instead of the cells.")
@click.option("--renames", "only_renames", is_flag=True, help="With --json: the renames instead of the cells.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Output format.")
@click.option("--people", "sidecar", metavar="URL", help="With markdown: users, by this sidecar; token on stdin.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def diff(  # noqa: PLR0913, PLR0917 (the options of the verb)
    old: str,
    new: str | None,
    accepted: tuple[str, ...],
    only_routes: bool,
    only_roles: bool,
    only_renames: bool,
    form: str,
    sidecar: str | None,
    as_json: bool,
    **flags: str | None,
) -> int:
    """List every cell and route with another decision in NEW (default: the current files) than in OLD.

    OLD and NEW are directories, or revisions of git: HEAD~1 for the same files there, main:policy for that directory
    there. A name that is both is rejected: write ./main for the directory, refs/heads/main for the branch.

    Renamed roles, sections and actions are listed first, and all other changes under the new names. A renamed section
    or action keeps more than half of its routes (without routes: its title), a renamed role keeps its rights.

    Opening changes come first: a cell from deny to allow, a request allowed for more users. Exit status 1 when an
    opening change matches no --accept, 2 when an --accept matches no change. A * in an --accept matches no route: there
    it is part of the path. Roles that become assignable, or stop being assignable, are listed and open nothing.

    --format markdown is for pull requests. --people also lists the ids of the users with a changed role, if the sidecar
    responds. Standard input holds an access token with the permission users/view.
    """
    if only_routes + only_roles + only_renames > 1:
        raise usage_error("give one of --routes, --roles and --renames")
    form = "json" if as_json else form
    if sidecar is not None and form != "markdown":
        raise usage_error("--people needs --format markdown")
    current = source_from(flags)
    before = policy_at(old, current)
    after = policy_at(new, current) if new is not None else draft_of(current)
    difference = difference_of(before, after)
    if form == "json":
        only = "routes" if only_routes else "roles" if only_roles else "renames" if only_renames else "cells"
        _say_as_json(difference, only)
    elif form == "markdown":
        _say_as_markdown(difference, sidecar)
    else:
        say_difference(difference)
    changes: list[CellChange | RouteChange] = [*difference.cells, *difference.routes]
    # after the merge nothing differs: a pipeline with an outdated --accept still passes
    for accept in accepted if changes else ():
        if not any(_names(accept, change) for change in changes):
            raise _names_nothing(accept, before, after)
    unaccepted = [change for change in changes if change.opens and not any(_names(a, change) for a in accepted)]
    if unaccepted:
        print_error(f"{len(unaccepted)} of these changes open access; list the intended ones with --accept")
    return NO if unaccepted else OK


def _say_as_json(difference: Difference, only: str) -> None:
    kinds = {"routes": difference.routes, "roles": difference.roles, "renames": difference.renames}
    if only in kinds:
        print_json(kinds[only])
        return
    print_json(difference.cells)
    for what, changes in kinds.items():
        if changes:
            print_error(f"{len(changes)} {what} differ too; --json --{what} lists them")


def _say_as_markdown(difference: Difference, sidecar: str | None) -> None:
    """Print the difference with the users, or with the reason why no sidecar gave them."""
    people, why_not = None, ""
    if sidecar is not None:
        try:
            people = users_by_role(sidecar, read_secret("token"))
        except PeopleUnavailableError as error:
            why_not = str(error)
            print_error(f"--people {sidecar}: {why_not}")
    click.echo(to_markdown(difference, people, why_not), nl=False)


def say_difference(difference: Difference) -> None:
    """Print renames and tables, or one line without differences."""
    for one in difference.renames:
        click.echo(plain(rename_text(one)))
    if difference.cells:
        rows = [(c.role, c.section, c.action, c.before, _after(c)) for c in difference.cells]
        print_table(("role", "section", "action", "from", "to"), rows)
        for change in difference.cells:
            for witness in change.witnesses:
                click.echo(plain(f"{change.role}/{change.section}/{change.action}: {witness.text}"))
    if difference.routes:
        print_table(
            ("method", "path", "from", "to", "for"),
            [(r.method, r.path, r.before, r.after, "more users" if r.opens else "") for r in difference.routes],
        )
    if difference.roles:
        print_table(("role", "from", "to"), [(r.role, r.before, r.after) for r in difference.roles])
    if not (difference.cells or difference.routes or difference.roles or difference.renames):
        click.echo("no cell and no route differs")


def rename_text(rename: RenameChange) -> str:
    """Return one line: ``media-library → assets: 15 cells, 5 routes, no answer changes``."""
    changes = {0: "no answer changes", 1: "1 answer changes"}.get(rename.changes, f"{rename.changes} answers change")
    return f"{rename.before} → {rename.after}: {rename.cells} cells, {rename.routes} routes, {changes}"


def _after(change: CellChange) -> str:
    return change.after if change.requirement is None else f"{change.after}, needs {change.requirement}"


# -- accepted changes --------------------------------------------------------------------------------------------------


def _names(accept: str, change: CellChange | RouteChange) -> bool:
    match change:
        case CellChange(role, section, action):
            return fnmatchcase(f"{role}/{section}/{action}", accept)
        case RouteChange(method, path):
            return f"{method} {path}" == accept  # * is a literal segment of a path


def _names_nothing(accept: str, before: Generation, after: Generation) -> CliError:
    """Return the error for an --accept without a match: an unknown name, or no difference.

    A name is known when either policy declares it.
    """
    parts = accept.split("/")
    if " " in accept or len(parts) > 3:
        return usage_error(f'--accept "{accept}" names nothing that differs')
    role, section, action = [*parts, "*", "*"][:3]
    sections = {**before.sections, **after.sections}
    sides = [side.sections[section] for side in (before, after) if section in side.sections]
    actions = [name for one in (sides or sections.values()) for name in one.actions]
    for what, name, names in (
        ("role", role, [*before.roles, *after.roles]),
        ("section", section, [*sections]),
        ("action", action, actions),
    ):
        if _is_unknown(name, names):
            return usage_error(
                f'--accept "{accept}": there is no {what} "{name}" ({suggestion(name, dict.fromkeys(names))})'
            )
    form = "" if len(parts) == 3 else "; write ROLE/SECTION/ACTION or METHOD PATH"
    return usage_error(f'--accept "{accept}" names nothing that differs{form}')


def _is_unknown(name: str, names: Iterable[str]) -> bool:
    return not any(fnmatchcase(known, name) for known in names)
