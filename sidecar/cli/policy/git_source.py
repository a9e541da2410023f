"""Policies for ``policy diff``: a directory or a git revision. A name that could be both is rejected.

A CI gate passes the name as an argument. Otherwise a contributor could choose the compared policy by adding a directory
of that name, or by pushing a tag, which git prefers to the branch. When git fails, its own error is printed.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import msgspec

from sidecar.cli.output import answer_no, plain, usage_error
from sidecar.cli.policy.policy_source import Source, draft_of
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import FILES, MODEL_FILE, Diagnostic
from sidecar.policy.generation import Generation

PATIENCE_S: Final = 30
_HASH: Final = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
"""Full object id, which git resolves before any ref of the same name."""


def policy_at(name: str, current: Source) -> Generation:
    """Compile a directory of policy files, a directory that contains ``policy/``, or a git revision."""
    path = Path(name)
    if _is_written_as_folder(name):
        if not path.is_dir():
            raise usage_error(f"{name}: there is no such directory")
        return _of_folder(path, current)
    if name and path.is_dir():
        _refuse_both(name, current.policy_dir)
        return _of_folder(path, current)
    return _compiled(_revision(name, current))


def _is_written_as_folder(name: str) -> bool:
    return name in (".", "..") or name.startswith(("./", "../", "/"))


def _refuse_both(name: str, place: Path) -> None:
    """End the verb when git also knows the directory's name, or cannot decide."""
    revision, colon, inside = name.partition(":")
    found = _git(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found.ok:
        exact = _exact(place, revision) or [f"{revision}^0"]
        raise usage_error(
            f"{name} is a directory and a git revision: write ./{name} or "
            + " or ".join(f"{one}{colon}{inside}" for one in exact)
        )
    if found.reason and not found.nowhere:
        raise usage_error(
            f"{name} is a directory, and git failed to check for a revision of that name: write ./{name} ({found})"
        )


def _of_folder(path: Path, current: Source) -> Generation:
    return draft_of(source_in(path, current))


def source_in(path: Path, current: Source) -> Source:
    """Return the files of a directory, or of ``policy/`` in it, with the model beside them, else the current one.

    Raises CliError if there is no such directory.
    """
    if not path.is_dir():
        raise usage_error(f"{path}: there is no such directory")
    folder = path / "policy" if (path / "policy").is_dir() and not (path / "policy.csv").exists() else path
    beside = [place for place in (folder / MODEL_FILE, folder.resolve().parent / MODEL_FILE) if place.is_file()]
    return Source(folder, beside[0] if beside else current.model)


# -- revisions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Revision:
    """``names``: candidates ``REV:PATH`` for each file. ``place``: a directory of the repository.

    ``model``: the current file, used when the revision has none, because there is only one model.
    """

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
    """Resolve ``HEAD~1`` (the current files at that revision) or ``main:policy`` (that directory of the repository)."""
    revision, colon, folder = name.partition(":")
    place = current.policy_dir
    resolved = _git(place, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not resolved.ok:
        raise usage_error(f"{name}: neither a directory nor a git revision{_why_none(name, place, resolved)}")
    exact = _exact(place, revision)
    if len(exact) > 1:
        written = " or ".join(f"{one}{colon}{folder}" for one in exact)
        raise usage_error(f"{name}: ambiguous in git, which uses the first match: write {written}")
    if colon:
        folder = folder.strip("/")
        if folder and not _git(place, "cat-file", "-e", f"{revision}:{folder}/policy.csv").ok:
            raise usage_error(f"{name}: there is no policy.csv in that directory of {revision}")
        inside = f"{folder}/" if folder else ""
        names: dict[str, tuple[str, ...]] = {file: (f"{revision}:{inside}{file}",) for file in FILES}
        above = folder.rpartition("/")[0]
        names[MODEL_FILE] += (f"{revision}:{above}/{MODEL_FILE}" if above else f"{revision}:{MODEL_FILE}",)
        return _Revision(name, place, names, current.model)
    names = {file: (f"{revision}:./{file}",) for file in FILES}
    names[MODEL_FILE] = (f"{revision}:./{os.path.relpath(current.model.resolve(), place.resolve())}",)
    return _Revision(name, place, names, current.model)


def _exact(place: Path, revision: str) -> list[str]:
    """Return the revision with full ref names, one per matching ref, in git's order of preference.

    Empty when no ref has the name: HEAD, a hash, an expression without a name.
    """
    name = re.split(r"[~^]|@\{", revision, maxsplit=1)[0]
    suffix = revision[len(name) :]
    if name.startswith("refs/") and _git(place, "show-ref", "--verify", "--quiet", name).ok:
        return [revision]  # git takes a full name literally
    if name in ("", "HEAD", "@") or _HASH.fullmatch(name):
        return []
    candidates = [f"{above}{name}" for above in ("refs/", "refs/tags/", "refs/heads/", "refs/remotes/")]
    candidates.append(f"refs/remotes/{name}/HEAD")
    there = _git(place, "for-each-ref", "--format=%(refname)", *candidates).text.splitlines()
    refs = [one for one in candidates if one in there]
    return [f"{one}{suffix}" for one in (refs and [*refs, *_abbreviated(place, name)])]


def _abbreviated(place: Path, name: str) -> list[str]:
    """Return the commits that ``name`` abbreviates or describes (``v1.2-3-gdeadbee``)."""
    short = re.search(r"(?:^|-g)([0-9a-fA-F]{4,64})$", name)
    found = _git(place, "rev-parse", f"--disambiguate={short[1]}").text.split() if short else []
    return [one for one in found if _git(place, "cat-file", "-t", one).text == "commit"]


def _why_none(name: str, place: Path, resolved: "_Git") -> str:
    """Return the remedy, or git's reason for not knowing the name."""
    if Path(name).is_file():
        return f": it is a file; name its directory, {Path(name).parent}"
    ends = re.fullmatch(r"(.*?)\.\.\.?(.*)", name)
    if ends is not None:
        return f": write: sidecar policy diff {ends[1] or 'HEAD'} {ends[2] or 'HEAD'}"
    if resolved.reason:
        return f": {resolved}"
    if _git(place, "rev-parse", "--is-shallow-repository").text == "true":
        return ": the clone is shallow and may lack it; fetch it (fetch-depth: 0)"
    return ""


def _compiled(revision: _Revision) -> Generation:
    compiled = compile_policy(revision.files(), proof=ProofScope.NONE)
    if compiled.draft is None:
        for diagnostic in compiled.diagnostics:
            _say_of(revision, diagnostic)
        raise answer_no(f"the policy of {revision.name} does not compile")
    return compiled.draft


def _say_of(revision: _Revision, diagnostic: Diagnostic) -> None:
    """Print a diagnostic with the file's name in git: ``main:policy/policy.csv``."""
    shown = f"{revision.name}:{diagnostic}"
    if ":" in revision.name:
        file = diagnostic.file.rpartition("/")[2]
        shown = str(msgspec.structs.replace(diagnostic, file=revision.names[file][0]))
    click.echo(plain(shown), err=True)


# -- git ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Git:
    """Result of a git command. ``reason``: its error; empty when only the name is unknown."""

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
        """Return True without git or without a repository. Then no name is a revision."""
        return self.reason == _NOT_INSTALLED or "not a git repository" in self.reason


_NOT_INSTALLED: Final = "git is not installed, but needed for revisions"


def _git(folder: Path, *arguments: str) -> _Git:
    """Run git. A last argument that looks like an option is rejected as an unknown name."""
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
    except (OSError, ValueError) as error:  # ValueError: a name that contains NUL
        return _Git(ok=False, reason=f"git failed: {error}")
    except subprocess.TimeoutExpired:
        return _Git(ok=False, reason=f"git did not finish within {PATIENCE_S} s")
    return _Git(done.returncode == 0, done.stdout, "" if done.returncode == 0 else _last_words(done.stderr))


def _last_words(stderr: bytes) -> str:
    """Return git's first fatal line, and its last line when that differs: it holds the remedy."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    messages = dict.fromkeys((*fatal[:1], *(line.removeprefix("fatal: ") for line in lines[-1:])))
    return "; ".join(messages)
