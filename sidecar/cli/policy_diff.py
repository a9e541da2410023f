"""``sidecar policy diff``: every cell and every route that differs between two policies, what opens first."""

from fnmatch import fnmatchcase

import click

from sidecar.cli.output import NO, OK, complain, json_option, say_json, say_table
from sidecar.cli.policy_files import draft_of, files_options, source_from
from sidecar.cli.policy_revisions import policy_at
from sidecar.policy.diff import CellChange, Difference, RouteChange
from sidecar.policy.diff import diff as difference_of


@click.command()
@click.argument("old")
@click.argument("new", required=False)
@files_options
@click.option(
    "--accept", "accepted", multiple=True, metavar="WHAT", help="ROLE/SECTION/ACTION or METHOD PATH that may open."
)
@click.option("--routes", "only_routes", is_flag=True, help="With --json: the routes instead of the cells.")
@json_option
def diff(
    old: str, new: str | None, accepted: tuple[str, ...], only_routes: bool, as_json: bool, **flags: str | None
) -> int:
    """List every cell and route whose answer differs from OLD to NEW (default: the files of now).

    OLD and NEW are directories, or revisions of git: HEAD~1 for the same files there, main:policy for that folder
    there. A name that is both is refused: write ./main for the folder, refs/heads/main for the branch.

    What opens stands first: a cell from deny to allow, a request that more people can make. Exit status 1 when
    something opens that no --accept names; * in an --accept stands for anything.
    """
    current = source_from(flags)
    before = policy_at(old, current)
    after = policy_at(new, current) if new is not None else draft_of(current)
    difference = difference_of(before, after)
    if as_json and only_routes:
        say_json([change.as_dict() for change in difference.routes])
    elif as_json:
        say_json([change.as_dict() for change in difference.cells])
        if difference.routes:
            complain(f"{len(difference.routes)} routes differ too; --json --routes lists them")
    else:
        say_difference(difference)
    opening: list[CellChange | RouteChange] = [change for change in difference.cells if change.opens]
    opening += [change for change in difference.routes if change.opens]
    unaccepted = [change for change in opening if not _is_accepted(change, accepted)]
    if unaccepted:
        complain(f"{len(unaccepted)} of these open something; --accept names those that are meant")
    return NO if unaccepted else OK


def say_difference(difference: Difference) -> None:
    """Two tables, or one line when there is nothing to show."""
    if difference.cells:
        rows = [(c.role, c.section, c.action, c.before, c.after) for c in difference.cells]
        say_table(("role", "section", "action", "from", "to"), rows)
    if difference.routes:
        say_table(
            ("method", "path", "from", "to", "for"),
            [(r.method, r.path, r.before, r.after, "more people" if r.opens else "") for r in difference.routes],
        )
    if not difference.cells and not difference.routes:
        click.echo("no cell and no route differs")


def _is_accepted(change: CellChange | RouteChange, accepted: tuple[str, ...]) -> bool:
    match change:
        case CellChange(role, section, action):
            return any(fnmatchcase(f"{role}/{section}/{action}", accept) for accept in accepted)
        case RouteChange(method, path):
            return f"{method} {path}" in accepted  # in a path * is a segment of its own
