"""Where a policy of ``policy diff`` comes from: a folder, or a revision of git. A name that could be both is refused.

A gate compares with a name that it got as an argument. Whoever can add a folder of that name to the repository would
otherwise choose what is compared; so would whoever can push a tag of that name, which git prefers to the branch. When
git cannot say, its own reason is told.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from sidecar.cli.output import no, plain, wrong
from sidecar.cli.policy.policy_source import Source, draft_of
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import FILES, MODEL_FILE, Diagnostic
from sidecar.policy.generation import Generation

PATIENCE_S: Final = 30
_HASH: Final = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
"""Of a whole object id: git takes it as one, whatever else has that name."""


def policy_at(name: str, current: Source) -> Generation:
    """A directory of policy files, a directory with ``policy/`` in it, or a revision of git."""
    path = Path(name)
    if _is_written_as_folder(name):
        if not path.is_dir():
            raise wrong(f"{name}: there is no such directory")
        return _of_folder(path, current)
    if name and path.is_dir():
        _refuse_both(name, current.policy_dir)
        return _of_folder(path, current)
    return _compiled(_revision(name, current))


def _is_written_as_folder(name: str) -> bool:
    return name in (".", "..") or name.startswith(("./", "../", "/"))


def _refuse_both(name: str, place: Path) -> None:
    """Ends the verb when git knows a folder's name too, or cannot say whether it does."""
    revision, colon, inside = name.partition(":")
    found = _git(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found.ok:
        exact = _exact(place, revision) or [f"{revision}^0"]
        raise wrong(
            f"{name} is a folder and a git revision: write ./{name} or "
            + " or ".join(f"{one}{colon}{inside}" for one in exact)
        )
    if found.reason and not found.nowhere:
        raise wrong(f"{name} is a folder, and git cannot say whether it is a revision too: write ./{name} ({found})")


def _of_folder(path: Path, current: Source) -> Generation:
    folder = path / "policy" if (path / "policy").is_dir() and not (path / "policy.csv").exists() else path
    beside = [place for place in (folder / MODEL_FILE, folder.resolve().parent / MODEL_FILE) if place.is_file()]
    return draft_of(Source(folder, beside[0] if beside else current.model))


# -- a revision --------------------------------------------------------------------------------------------------------


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
            content = next((content.out for content in contents if content.ok), None)
            if content is not None:
                found[file] = content
        if MODEL_FILE not in found and self.model.is_file():
            found[MODEL_FILE] = self.model.read_bytes()
        return found


def _revision(name: str, current: Source) -> _Revision:
    """``HEAD~1``: the files of now, there. ``main:policy``: that folder of the repository, there."""
    revision, colon, folder = name.partition(":")
    place = current.policy_dir
    asked = _git(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not asked.ok:
        raise wrong(f"{name}: neither a directory nor a git revision{_why_none(name, place, asked)}")
    exact = _exact(place, revision)
    if len(exact) > 1:
        written = " or ".join(f"{one}{colon}{folder}" for one in exact)
        raise wrong(f"{name}: git has several of that name, and takes the first of them: write {written}")
    if colon:
        folder = folder.strip("/")
        if folder and not _git(place, "cat-file", "-e", f"{revision}:{folder}/policy.csv").ok:
            raise wrong(f"{name}: there is no policy.csv in that folder of {revision}")
        inside = f"{folder}/" if folder else ""
        names: dict[str, tuple[str, ...]] = {file: (f"{revision}:{inside}{file}",) for file in FILES}
        above = folder.rpartition("/")[0]
        names[MODEL_FILE] += (f"{revision}:{above}/{MODEL_FILE}" if above else f"{revision}:{MODEL_FILE}",)
        return _Revision(name, place, names, current.model)
    names = {file: (f"{revision}:./{file}",) for file in FILES}
    names[MODEL_FILE] = (f"{revision}:./{os.path.relpath(current.model.resolve(), place.resolve())}",)
    return _Revision(name, place, names, current.model)


def _exact(place: Path, revision: str) -> list[str]:
    """The revision with full names: one for each thing in git that its name stands for, the one that git takes first.

    Empty where no ref has the name: HEAD, a hash, an expression without a name.
    """
    name = re.split(r"[~^]|@\{", revision, maxsplit=1)[0]
    suffix = revision[len(name) :]
    if name.startswith("refs/") and _git(place, "show-ref", "--verify", "--quiet", name).ok:
        return [revision]  # git takes a full name as it is
    if name in ("", "HEAD", "@") or _HASH.fullmatch(name):
        return []
    candidates = [f"{above}{name}" for above in ("refs/", "refs/tags/", "refs/heads/", "refs/remotes/")]
    candidates.append(f"refs/remotes/{name}/HEAD")
    there = _git(place, "for-each-ref", "--format=%(refname)", *candidates).text.splitlines()
    refs = [one for one in candidates if one in there]
    return [f"{one}{suffix}" for one in (refs and [*refs, *_abbreviated(place, name)])]


def _abbreviated(place: Path, name: str) -> list[str]:
    """The commits that ``name`` is the beginning of, or that it describes (``v1.2-3-gdeadbee``)."""
    short = re.search(r"(?:^|-g)([0-9a-fA-F]{4,64})$", name)
    found = _git(place, "rev-parse", f"--disambiguate={short[1]}").text.split() if short else []
    return [one for one in found if _git(place, "cat-file", "-t", one).text == "commit"]


def _why_none(name: str, place: Path, asked: "_Git") -> str:
    """What to write instead, or why git does not know the name."""
    if Path(name).is_file():
        return f": it is a file; name its folder, {Path(name).parent}"
    ends = re.fullmatch(r"(.*?)\.\.\.?(.*)", name)
    if ends is not None:
        return f": write: sidecar policy diff {ends[1] or 'HEAD'} {ends[2] or 'HEAD'}"
    if asked.reason:
        return f": {asked}"
    if _git(place, "rev-parse", "--is-shallow-repository").text == "true":
        return ": the clone is shallow and may lack it; fetch it (fetch-depth: 0)"
    return ""


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


# -- git ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Git:
    """What git printed. ``reason``: why it gave up; empty when it only does not know the name."""

    ok: bool
    out: bytes = b""
    reason: str = ""

    def __str__(self) -> str:
        return self.reason

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace").strip()

    @property
    def nowhere(self) -> bool:
        """There is no git, or no repository: no name is a revision here."""
        return self.reason == _NOT_INSTALLED or "not a git repository" in self.reason


_NOT_INSTALLED: Final = "git is not installed, and only git knows revisions"


def _git(folder: Path, *arguments: str) -> _Git:
    """A name that looks like an option is none."""
    if arguments[-1].startswith("-") and not arguments[-1].startswith(("--is-shallow-repository", "--disambiguate=")):
        return _Git(ok=False)
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the last argument cannot be an option
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return _Git(ok=False, reason=_NOT_INSTALLED)
    except (OSError, ValueError) as error:  # ValueError: a name with NUL in it
        return _Git(ok=False, reason=f"git cannot be asked: {error}")
    except subprocess.TimeoutExpired:
        return _Git(ok=False, reason=f"git did not answer within {PATIENCE_S} s")
    return _Git(done.returncode == 0, done.stdout, "" if done.returncode == 0 else _last_words(done.stderr))


def _last_words(stderr: bytes) -> str:
    """What was fatal, and git's last line where that is another: the command that mends it."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    said = dict.fromkeys((*fatal[:1], *(line.removeprefix("fatal: ") for line in lines[-1:])))
    return "; ".join(said)
