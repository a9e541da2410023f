"""Policy files of a verb: their location, their names for the user, and the output of findings."""

import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import answer_no, plain, print_error, print_json, usage_error
from sidecar.config.settings import Settings
from sidecar.policy.compiler import Compiled, Progress, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, Severity
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles, packaged, read_policy_files
from sidecar.sources.policy_location import HERE, PolicyLocation

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("text", "json", "sarif", "github")
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def files_options(verb: F) -> F:
    """Add ``--policy-dir``, ``--model`` and ``--config``. The verb receives them as keyword arguments."""
    return settings_options(("policy_dir", "model"))(verb)


@dataclass(frozen=True, slots=True)
class Source(PolicyLocation):
    """Location of the files of one policy."""

    def read(self) -> PolicyFiles:
        return read_policy_files(self.policy_dir, self.model)


def source_from(flags: dict[str, str | None]) -> Source:
    """Return the files that `serve` would read with these flags."""
    return source_of(settings_from(flags))


def source_of(settings: Settings) -> Source:
    """Return the files of these settings. A configured directory must exist.

    Problems in the default ./policy are reported by the reader of the files, as at a server start.
    """
    if settings.without_policy:
        print_error(settings.without_policy)
    if settings.policy_dir != HERE[0] and not settings.policy_dir.is_dir():
        raise usage_error(f"{settings.policy_dir}: there is no such directory")
    return Source(settings.policy_dir, settings.model)


def compiled(source: Source, proof: ProofScope) -> Compiled:
    """Read and compile. Findings name the files as the user does."""
    files = source.read()
    result = compile_policy(files.files, proof=proof, problems=files.diagnostics, progress=_progress())
    return replace(result, diagnostics=tuple(source.shown(diagnostic) for diagnostic in result.diagnostics))


def draft_of(source: Source) -> Generation:
    """Return the table for queries. A policy that compiles is used even if its tests fail, with a warning on stderr."""
    result = compiled(source, ProofScope.START)
    if result.generation is None:
        for diagnostic in result.diagnostics:
            if diagnostic.is_error:
                click.echo(plain(str(diagnostic)), err=True)
        if result.draft is None:
            raise answer_no("the policy does not compile")
        click.echo("sidecar: warning: the server would reject this policy; it is used here nevertheless", err=True)
    assert result.draft is not None  # noqa: S101 - a generation is a draft
    return result.draft


def say_diagnostics(diagnostics: Iterable[Diagnostic], form: str) -> None:
    """Print the diagnostics in one of `FORMATS`. Without diagnostics only the JSON formats print."""
    if form == "json":
        print_json(list(diagnostics))
    elif form == "sarif":
        print_json(_sarif(list(diagnostics)))
    else:
        for diagnostic in diagnostics:
            click.echo(_github(diagnostic) if form == "github" else plain(str(diagnostic)))


def _github(diagnostic: Diagnostic) -> str:
    """Return a GitHub workflow command, which GitHub shows beside the line."""
    where = {
        "file": diagnostic.file,
        "line": str(diagnostic.line),
        "col": str(diagnostic.column),
        "title": diagnostic.code.value,
    }
    properties = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in where.items())
    return f"::{diagnostic.severity} {properties}::{_escaped(_reported(diagnostic))}"


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _reported(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.message} ({diagnostic.hint})" if diagnostic.hint else diagnostic.message


def _sarif(diagnostics: list[Diagnostic]) -> dict[str, object]:
    """Return SARIF 2.1.0, for code scanning."""
    from sidecar import __version__

    codes = sorted({diagnostic.code.value for diagnostic in diagnostics})
    driver = {"name": "sidecar policy", "version": __version__, "rules": _sarif_rules(codes)}
    results = [
        {
            "ruleId": diagnostic.code.value,
            "ruleIndex": codes.index(diagnostic.code.value),
            "level": "error" if diagnostic.severity is Severity.ERROR else "warning",
            "message": {"text": _reported(diagnostic)},
            "locations": [_location(diagnostic.file, diagnostic.line, diagnostic.column)],
            "relatedLocations": [_location(diagnostic.file, at.line, at.column) for at in diagnostic.places],
        }
        for diagnostic in diagnostics
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _location(file: str, line: int, column: int) -> dict[str, object]:
    region = {"startLine": line, "startColumn": column}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(file)}, "region": region}}


def _sarif_rules(codes: list[str]) -> list[dict[str, object]]:
    """Return the rules with the texts of the packaged policy/README.md. Without that file, the codes alone."""
    try:
        text = (packaged()[0] / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (?:Warning\. )?(.+) \|$", text, re.MULTILINE)
    meanings: dict[str, str] = dict(rows)
    return [
        {
            "id": code,
            "shortDescription": {"text": code.replace("-", " ").capitalize()},
            "help": {"text": meanings.get(code, code), "markdown": meanings.get(code, code)},
        }
        for code in codes
    ]


def _uri(file: str) -> str:
    """Return an RFC 3986 reference, relative for a file below the working directory, so that a repository can resolve
    it."""
    path = Path(file)
    if path.is_absolute():
        with suppress(OSError, ValueError):  # the directory is gone, or the file is elsewhere
            path = path.relative_to(Path.cwd())
    quoted = quote(os.fsencode(path))
    return f"file://{quoted}" if path.is_absolute() else quoted


def _progress() -> Progress | None:
    """Return a printer of the proof's progress on a terminal. It prints only for long proofs."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if total > 20_000:
            end = "\r" if done < total else "\r\x1b[K"
            click.echo(f"proving {done:,} of {total:,} cells against pycasbin{end}", err=True, nl=False)

    return show
