"""``sidecar policy fmt`` and ``watch``: verbs for editing the policy files."""

import time
from collections.abc import Callable
from pathlib import Path

import click

from sidecar.cli.output import NO, OK, plain
from sidecar.cli.policy.diff import say_difference
from sidecar.cli.policy.file_writer import write_file
from sidecar.cli.policy.policy_source import Source, compiled, files_options, say_diagnostics, source_from
from sidecar.policy.compiler import ProofScope
from sidecar.policy.diagnostics import POLICY_FILES, DiagnosticSink
from sidecar.policy.diff import diff
from sidecar.policy.generation import Generation
from sidecar.policy.text.format import format_csv
from sidecar.policy.text.repair import repair_csv

INTERVAL = 0.3
"""Seconds between two reads of the files. They are checked after two equal reads."""


@click.command()
@files_options
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit status 1 when something would change.")
@click.option("--repair", is_flag=True, help="Also repair the damage of spreadsheets and word processors.")
def fmt(only_check: bool, repair: bool, **flags: str | None) -> int:
    """Align the CSV files: comments, order and meaning stay, and a second run changes nothing.

    Prints the files that it changes. A file that is missing or cannot be read is left as it is (exit status 1).

    --repair mends a byte order mark, other separators, padded rows, quotes around lines, smart quotes and dashes, and
    CR. It prints each change. A file with an ambiguous line is left as it is. Look-alike letters and invisible
    characters are never repaired.
    """
    source = source_from(flags)
    files = source.read()
    findings = DiagnosticSink()
    findings.extend(found for found in files.diagnostics if found.file.endswith(".csv"))
    changed = []
    refused = False
    for name in POLICY_FILES:
        before = files.files.get(name)
        if before is None or not name.endswith(".csv"):
            continue
        path = source.policy_dir / name
        after: bytes | None = _repaired(before, name, path) if repair else before
        if after is None:
            refused = True
            continue
        after = format_csv(after, name, findings)
        if after is not None and after != before:
            changed.append(path)
            if not only_check:
                write_file(path, after)
    for path in changed:
        click.echo(plain(str(path)))
    say_diagnostics(map(source.shown, findings.sorted()), "text")
    return NO if findings.has_errors or refused or (only_check and changed) else OK


def _repaired(content: bytes, name: str, path: Path) -> bytes | None:
    """Repair a file, and print each change. None: a line is ambiguous, and its reason is printed."""
    repair = repair_csv(content, name)
    for change in repair.changes if repair.content is not None else ():
        after = change.after or "nothing"
        click.echo(plain(f"{path}:{change.line}: {', '.join(change.causes)}: {change.before} → {after}"))
    for refusal in repair.refusals:
        click.echo(plain(f"{path}:{refusal.line}: not repaired: {refusal.message}"))
    return repair.content


@click.command()
@files_options
def watch(**flags: str | None) -> int:
    """Check the files after every save, and print the differences. Ends with Ctrl-C."""
    source = source_from(flags)
    click.echo(f"watching {plain(str(source.policy_dir))} and {plain(str(source.model))}; Ctrl-C ends")
    follow(source, time.sleep)
    return OK


def follow(source: Source, sleep: Callable[[float], object]) -> None:
    """Check the files now, and after each change that has settled. Ends when ``sleep`` raises."""
    seen: object = None
    checked: object = None
    good: Generation | None = None
    while True:
        fingerprint = source.read().fingerprint
        if fingerprint == seen and fingerprint != checked:
            checked = fingerprint
            good = _check(source, good)
        seen = fingerprint
        sleep(INTERVAL)


def _check(source: Source, good: Generation | None) -> Generation | None:
    """Print problems, and differences from the last valid generation. Return the generation to compare with next."""
    result = compiled(source, ProofScope.START)
    say_diagnostics(result.diagnostics, "text")
    if result.draft is not None and good is not None:
        say_difference(diff(good, result.draft))
    if result.generation is None:
        click.echo("rejected: the last good policy would stay in force" if good else "rejected")
        return good
    click.echo(f"ok: generation {result.generation.id}")
    return result.generation
