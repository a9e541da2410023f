"""``sidecar policy expect``: the rows that are missing in expectations.csv and routes.csv, each in its place."""

import click

from sidecar.cli.output import NO, OK, json_option, plain, print_error, print_json
from sidecar.cli.policy.file_writer import write_file
from sidecar.cli.policy.policy_source import compiled, files_options, say_diagnostics, source_from
from sidecar.policy.compiler import Compiled, ProofScope
from sidecar.policy.diagnostics import path_of
from sidecar.policy.editing.proposals import Proposal, proposals
from sidecar.policy.expectations import REVIEW


@click.command()
@files_options
@click.option("--write", is_flag=True, help=f'Insert the rows, each under a line "{REVIEW}" of its own.')
@click.option(
    "--explicit", is_flag=True, help="A row of its own for each allowed cell, also where a row with * covers it."
)
@json_option
def expect(write: bool, explicit: bool, as_json: bool, **flags: str | None) -> int:
    """Print the rows that expectations.csv and routes.csv lack, as the policy decides now, each with its place.

    A row with * stands for a section or a role that has one decision. Review the rows: they state what the policy does,
    not what it should do. Lines of their own remind of that, until they are deleted: `policy test` counts them, and
    fails with --strict. Exit status 1 when the policy does not compile, or when one of the two files has errors.
    """
    source = source_from(flags)
    result = compiled(source, ProofScope.NONE)
    if not _is_readable(result):
        say_diagnostics([one for one in result.diagnostics if one.is_error], "text")
        print_error("nothing is proposed: correct these errors first")
        return NO
    assert result.draft is not None  # noqa: S101 - readable
    found = proposals(result.draft, result.suite, result.verdict, explicit=explicit)
    if write:
        for one in found:
            write_file(source.policy_dir / one.file, one.written)
    if as_json:
        rows = [(one.file, *row) for one in found for row in _rows(one, written=write)]
        print_json([{"file": source.name_of(path_of(f)), "line": line, "row": row} for f, line, row in rows])
        return OK
    for one in found:
        _say(one, source.name_of(path_of(one.file)), written=write)
    return OK


def _is_readable(result: Compiled) -> bool:
    """Return whether the gaps are known: the rules compile, and no line of the two files is invalid."""
    return result.draft is not None and all(result.suite.whole)


def _rows(proposal: Proposal, *, written: bool) -> list[tuple[int, str]]:
    """Return the rows, each with its line in the written file, otherwise with the line to insert it at."""
    if written:
        return proposal.written_rows
    return [(insertion.line, row) for insertion in proposal.insertions for row in insertion.rows]


def _say(proposal: Proposal, file: str, *, written: bool) -> None:
    if written:
        for line, row in proposal.written_rows:
            click.echo(plain(f"{file}:{line}: {row}"))
        return
    for insertion in proposal.insertions:
        click.echo(plain(f"{file}, at line {insertion.line}:"))
        for row in insertion.rows:
            click.echo(plain(row))
