"""``sidecar policy diff``: every cell and every route that differs between two policies, what opens first."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import click

from sidecar.cli.output import NO, OK, complain, json_option, no, plain, say_json, say_table, wrong
from sidecar.cli.policy_files import Source, draft_of, files_options, source_from
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import FILES, MODEL_FILE, Diagnostic
from sidecar.policy.diff import CellChange, Difference, RouteChange
from sidecar.policy.diff import diff as difference_of
from sidecar.policy.generation import Generation


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
    there. What opens stands first: a cell from deny to allow, a request that more people can make. Exit status 1 when
    something opens that no --accept names; * in an --accept stands for anything.
    """
    current = source_from(flags)
    before = _generation(old, current)
    after = _generation(new, current) if new is not None else draft_of(current)
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


# -- where a policy comes from -----------------------------------------------------------------------------------------


def _generation(name: str, current: Source) -> Generation:
    """A directory of policy files, a directory with ``policy/`` in it, or a revision of git."""
    path = Path(name)
    if not name or not path.is_dir():
        return _compiled(_revision(name, current))
    folder = path / "policy" if (path / "policy").is_dir() and not (path / "policy.csv").exists() else path
    beside = [place for place in (folder / MODEL_FILE, folder.resolve().parent / MODEL_FILE) if place.is_file()]
    return draft_of(Source(folder, beside[0] if beside else current.model))


@dataclass(frozen=True, slots=True)
class _Revision:
    """``names``: what git calls each file, ``REV:PATH``; ``place``: a directory of the repository. ``model``: the file
    of now, for a repository that keeps none: there is only one model."""

    name: str
    place: Path
    names: Mapping[str, tuple[str, ...]]
    model: Path

    def files(self) -> Mapping[str, bytes]:
        found = {}
        for file, candidates in self.names.items():
            contents = (_git(self.place, "cat-file", "blob", candidate) for candidate in candidates)
            content = next((content for content in contents if content is not None), None)
            if content is not None:
                found[file] = content
        if MODEL_FILE not in found and self.model.is_file():
            found[MODEL_FILE] = self.model.read_bytes()
        return found


def _revision(name: str, current: Source) -> _Revision:
    """``HEAD~1``: the files of now, there. ``main:policy``: that folder of the repository, there."""
    revision, colon, folder = name.partition(":")
    place = current.policy_dir
    if _git(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise wrong(f"{name}: neither a directory nor a git revision")
    if colon:
        folder = folder.strip("/")
        if folder and _git(place, "cat-file", "-e", f"{revision}:{folder}/policy.csv") is None:
            raise wrong(f"{name}: there is no policy.csv in that folder of {revision}")
        inside = f"{folder}/" if folder else ""
        names: dict[str, tuple[str, ...]] = {file: (f"{revision}:{inside}{file}",) for file in FILES}
        above = folder.rpartition("/")[0]
        names[MODEL_FILE] += (f"{revision}:{above}/{MODEL_FILE}" if above else f"{revision}:{MODEL_FILE}",)
        return _Revision(name, place, names, current.model)
    names = {file: (f"{revision}:./{file}",) for file in FILES}
    names[MODEL_FILE] = (f"{revision}:./{os.path.relpath(current.model.resolve(), place.resolve())}",)
    return _Revision(name, place, names, current.model)


def _compiled(revision: _Revision) -> Generation:
    compiled = compile_policy(revision.files(), proof=ProofScope.NONE)
    if compiled.draft is None:
        for diagnostic in compiled.diagnostics:
            _say_of(revision, diagnostic)
        raise no(f"the policy of {revision.name} does not compile")
    return compiled.draft


def _say_of(revision: _Revision, diagnostic: Diagnostic) -> None:
    """With the file as git names it: ``main:policy/policy.csv``."""
    shown = f"{revision.name}:{diagnostic}"
    if ":" in revision.name:
        file = diagnostic.file.rpartition("/")[2]
        shown = str(replace(diagnostic, file=revision.names[file][0]))
    click.echo(plain(shown), err=True)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints, or None when it does not know. A name that looks like an option is none."""
    if arguments[-1].startswith("-"):
        return None
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the last argument cannot be an option
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
