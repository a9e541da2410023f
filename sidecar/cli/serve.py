"""``sidecar serve``: the sidecar itself, in the foreground until a signal."""

import click

from sidecar.cli.options import settings_from, settings_options


@click.command()
@settings_options()
def serve(**flags: str | None) -> int:
    """Answer gateways, issue tokens, keep users, until SIGTERM.

    Every setting can be given as an option, as a variable, or in the file of --config; an option beats a variable beats
    the file. SIGTERM drains and exits, SIGHUP reads policy and keys again.
    """
    settings = settings_from(flags)
    if settings.workers > 1:
        from sidecar.serve.supervisor import run_workers

        return run_workers(settings)
    from sidecar.serve.lifecycle import run

    return run(settings)
