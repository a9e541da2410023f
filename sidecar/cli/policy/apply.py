"""``sidecar policy apply``: one policy for the whole fleet, at one revision."""

from pathlib import Path

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import OK, answer_no, json_option, plain, print_error, print_json, usage_error
from sidecar.cli.policy import policy_source
from sidecar.cli.policy.application import MAX_NOTE, Application, Applied, apply_to
from sidecar.cli.policy.git_source import source_in
from sidecar.cli.policy.stored import is_generation, stored_generation
from sidecar.cli.store_session import run_with_store
from sidecar.config.parsers import InvalidValueError, duration
from sidecar.config.settings import Settings
from sidecar.policy.compiler import ProofScope
from sidecar.policy.generation import Generation
from sidecar.server.admin_context import AdminContext

MAX_WAIT = 3600


@click.command()
@click.argument("source", required=False, metavar="[DIR|GENERATION]")
@click.option("--wait", default="60s", show_default=True, metavar="TIME", help="Time for all sidecars to accept it.")
@click.option("--note", default="", metavar="TEXT", help="Reason, kept in the history.")
@click.option("--without", multiple=True, metavar="SIDECAR", help="Pass a silent sidecar by, after its lease. Audited.")
@settings_options(STORE)
@json_option
def apply(
    source: str | None, wait: str, note: str, without: tuple[str, ...], as_json: bool, **flags: str | None
) -> int:
    """Apply the policy files to all sidecars of the store at one moment.

    Every live sidecar compiles and tests them first. One that rejects them, is silent or does not answer blocks:
    nothing changes, and the exit status is 1. For sidecars with SIDECAR_POLICY_SOURCE=store.

    DIR: directory of the files; without it, those that `policy check` reads. GENERATION: an earlier one of the store,
    by its id or at least its first 8 digits (`policy history`).
    """
    if len(note) > MAX_NOTE or not note.isprintable():
        raise usage_error(f"--note: give at most {MAX_NOTE} printable characters on one line")
    seconds = _seconds(wait)
    settings = settings_from(flags)
    earlier = source if source and is_generation(source) and not Path(source).is_dir() else None
    generation = _accepted(_files(settings, source)) if earlier is None else None

    async def job(operator: AdminContext) -> Applied:
        wanted = generation or await stored_generation(operator, earlier or "")
        return await apply_to(operator, Application(wanted, note, seconds, frozenset(without)))

    done = run_with_store(settings, job)
    if as_json:
        print_json(_json(done))
    else:
        _say(done)
    return OK


def _files(settings: Settings, directory: str | None) -> policy_source.Source:
    here = policy_source.source_of(settings)
    return here if directory is None else source_in(Path(directory), here)


def _seconds(wait: str) -> float:
    try:
        return duration(0, MAX_WAIT)(wait)
    except InvalidValueError as bad:
        raise usage_error(f"--wait {wait}: {bad}") from None


def _accepted(source: policy_source.Source) -> Generation:
    """Compile as an edit. Raises CliError with the findings if the sidecars would reject the files."""
    result = policy_source.compiled(source, ProofScope.START)
    if result.generation is None:
        errors = [str(found) for found in result.diagnostics if found.is_error]
        for one in errors:
            click.echo(plain(one), err=True)
        raise answer_no(f"{len(errors)} errors: nothing was changed")
    return result.generation


def _json(done: Applied) -> dict[str, object]:
    return {
        "generation": done.generation,
        "before": done.before,
        "revision": done.revision,
        "passed": list(done.passed),
        "complete": done.effect.complete,
        "sidecars": done.effect.sidecars,
    }


def _say(done: Applied) -> None:
    click.echo(f"generation {done.generation} is active from revision {done.revision} on, in {done.sidecars} sidecars")
    for one in done.passed:
        click.echo(plain(f"passed by: {one}"))
    if not done.effect.complete:
        print_error("warning: not every sidecar has confirmed the switch yet; its lease ends its older answers")
