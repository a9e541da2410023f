"""``sidecar serve``: the sidecar in the foreground, until a signal."""

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import usage_error
from sidecar.config.settings import Settings
from sidecar.server.early_signals import early_signals


@click.command()
@settings_options()
@click.option(
    "--force-policy",
    is_flag=True,
    help="Accept at this start a policy that compiles but fails its tests, invariants or role checks. Audited.",
)
def serve(force_policy: bool, **flags: str | None) -> int:
    """Serve checks, tokens and users until SIGTERM.

    Every setting can be given as an option, as a variable, or in the file of --config, in this order of precedence.
    SIGTERM drains and exits. SIGHUP reloads policy and keys, and reopens the decision log's file.
    """
    with early_signals():
        return _serve(settings_from(flags), force_policy=force_policy)


def _serve(settings: Settings, *, force_policy: bool) -> int:
    if settings.workers > 1:
        if force_policy:  # a replacement worker would force the files of that later time
            raise usage_error("--force-policy is for one start of one worker: add --workers 1")
        from sidecar.server.workers.supervisor import run_workers

        return run_workers(settings)
    from sidecar.server.lifecycle import run

    return run(settings, force_policy=force_policy)
