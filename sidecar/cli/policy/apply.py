"""``sidecar policy apply``: one policy for the whole fleet, at one revision."""

import os
from pathlib import Path

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, plain, print_error, print_json, usage_error
from sidecar.cli.policy.application import MAX_NOTE, Application, Applied, apply_to
from sidecar.cli.policy.shadow import Shadowed, print_shadow
from sidecar.cli.policy.stored import is_generation
from sidecar.cli.policy.wanted import of_directory, of_store
from sidecar.cli.store_session import run_with_store
from sidecar.config.parsers import InvalidValueError, duration
from sidecar.pdp.candidate_progress import described
from sidecar.server.admin_context import AdminContext
from sidecar.server.span_export import traced_command

MAX_SECONDS = 7 * 86_400


@click.command()
@click.argument("source", required=False, metavar="[DIR|GENERATION]")
@click.option("--wait", default="60s", show_default=True, metavar="TIME", help="Time for all sidecars to accept it.")
@click.option("--shadow", metavar="TIME", help="First count the real decisions that it would change, for this time.")
@click.option("--switch-if-unchanged", is_flag=True, help="Switch after a shadow in which no decision would change.")
@click.option("--note", default="", metavar="TEXT", help="Reason, kept in the history.")
@click.option("--without", multiple=True, metavar="SIDECAR", help="Pass a silent sidecar by, after its lease. Audited.")
@settings_options((*STORE, "policy_keys"))
@json_option
def apply(
    source: str | None,
    wait: str,
    shadow: str | None,
    switch_if_unchanged: bool,
    note: str,
    without: tuple[str, ...],
    as_json: bool,
    **flags: str | None,
) -> int:
    """Apply the policy files to all sidecars of the store at one moment.

    Every live sidecar compiles and tests them first. One that rejects them, is silent or does not answer blocks:
    nothing changes, and the exit status is 1. For sidecars with SIDECAR_POLICY_SOURCE=store.

    DIR: directory of the files; without it, those that `policy check` reads. GENERATION: an earlier one of the store,
    by its id or at least its first 8 digits (`policy history`), or the candidate of a shadow.
    """
    if len(note) > MAX_NOTE or not note.isprintable():
        raise usage_error(f"--note: give at most {MAX_NOTE} printable characters on one line")
    if switch_if_unchanged and shadow is None:
        raise usage_error("--switch-if-unchanged needs --shadow TIME")
    settings = settings_from(flags)
    stored = source if source and is_generation(source) and not Path(source).is_dir() else ""
    wanted = None if stored else of_directory(settings, source)
    seconds, shadow_seconds = _seconds("--wait", wait), _seconds("--shadow", shadow or "0s")

    async def job(operator: AdminContext) -> Applied | Shadowed:
        found = wanted or await of_store(operator, stored)
        return await apply_to(
            operator,
            Application(
                found.generation,
                note,
                seconds,
                frozenset(without),
                signature=found.signature,
                counter=found.counter,
                shadow=shadow_seconds,
                switch_if_unchanged=switch_if_unchanged,
            ),
        )

    with traced_command(settings, "policy apply", os.environ, _warn):
        done = run_with_store(settings, job)
    if as_json:
        print_json(_json(done))
    else:
        _say(done)
    return NO if isinstance(done, Shadowed) and switch_if_unchanged else OK


def _warn(message: str) -> None:
    print_error(f"warning: {message}")


def _seconds(option: str, text: str) -> float:
    try:
        return duration(0, MAX_SECONDS)(text)
    except InvalidValueError as bad:
        raise usage_error(f"{option} {text}: {bad}") from None


def _json(done: Applied | Shadowed) -> dict[str, object]:
    if isinstance(done, Shadowed):
        return {"generation": done.generation, "revision": None, "silent": list(done.silent), **described(done.total)}
    return {
        "generation": done.generation,
        "before": done.before,
        "revision": done.revision,
        "passed": list(done.passed),
        "complete": done.effect.complete,
        "sidecars": done.effect.sidecars,
    }


def _say(done: Applied | Shadowed) -> None:
    if isinstance(done, Shadowed):
        print_shadow(done.total)
        for one in done.silent:
            print_error(f"warning: {one} has not reported: its decisions are unknown")
        click.echo(f"nothing was changed: sidecar policy apply {done.generation} applies it within 24 hours")
        return
    click.echo(f"generation {done.generation} is active from revision {done.revision} on, in {done.sidecars} sidecars")
    for one in done.passed:
        click.echo(plain(f"passed by: {one}"))
    if not done.effect.complete:
        print_error("warning: not every sidecar has confirmed the switch yet; its lease ends its older answers")
