"""``sidecar demo``: a temporary sidecar in the foreground, with its console, four users and three curl commands."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import click

from sidecar.cli.options import settings_options
from sidecar.cli.output import print_error, print_table, usage_error
from sidecar.config.settings import SettingsError


@click.command()
@settings_options(["policy_dir", "model", "log_level", "decision_log", "redis_url"])
def demo(**flags: str | None) -> int:
    """Serve a demo until Ctrl-C: a console to sign in to, a user per role, and curl commands for 200, 403 and 401.

    It listens on localhost only, on port 9181 or the next free one. Passwords are random. Its state is temporary and
    removed at the end. Nothing of a real sidecar is read or changed.
    """
    from sidecar.server.bootstrap import Sidecar
    from sidecar.server.demo import DemoError, DemoUser, console_lines, curl_lines, demo_settings, furnish
    from sidecar.server.lifecycle import run

    def say(url: str, people: list[DemoUser]) -> None:
        click.echo("\n".join(console_lines(url, people)))
        click.echo()
        print_table(["role", "e-mail", "password"], ((one.role, one.email, one.password) for one in people))
        click.echo("\nChecks as a gateway sends them, to paste into another terminal:")
        for about, line in curl_lines(url, people, state):
            click.echo(f"# {about}\n{line}")
        click.echo("\nCtrl-C ends the demo and removes its state.")

    async def started(sidecar: Sidecar) -> None:
        people = await furnish(sidecar, state / "keys")
        say(sidecar.app.public_config.public_url, people)

    # Handle SIGTERM as Ctrl-C until the sidecar installs its handlers, so that the state is always removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        state = Path(tempfile.mkdtemp(prefix="sidecar-demo-"))
    except OSError as error:
        raise usage_error(
            f"no directory for the demo's state: {error.strerror}: set TMPDIR to a writable directory"
        ) from None
    try:
        settings = demo_settings(flags, os.environ, state)
        for warning in settings.warnings:
            print_error(f"warning: {warning}")
        return run(settings, demo=True, started=started)
    except (SettingsError, DemoError) as problem:
        raise usage_error(str(problem)) from None
    finally:
        shutil.rmtree(state, ignore_errors=True)
