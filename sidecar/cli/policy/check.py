"""``sidecar policy check``: lists all problems of the policy files; silent without one."""

import click

from sidecar.cli.output import NO, OK
from sidecar.cli.policy.policy_source import FORMATS, compiled, files_options, say_diagnostics, source_from
from sidecar.policy.compiler import ProofScope


@click.command()
@files_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Output format.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
def check(form: str, as_json: bool, strict: bool, **flags: str | None) -> int:
    """List all problems of the policy files; silent without one.

    The checks are those of the server: syntax, names, routes, expectations, and the proof of every cell against
    pycasbin. Exit status 0 when the policy would be put in force, 1 when not.
    """
    result = compiled(source_from(flags), ProofScope.FULL)
    diagnostics = [d.as_error() if strict else d for d in result.diagnostics]
    say_diagnostics(diagnostics, "json" if as_json else form)
    return NO if any(diagnostic.is_error for diagnostic in diagnostics) else OK
