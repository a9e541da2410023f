"""``sidecar serve``: the sidecar in the foreground, until a signal."""

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import wrong
from sidecar.config.settings import Settings
from sidecar.server.early_signals import early_signals


@click.command()
@settings_options()
@click.option(
    "--force-policy",
    is_flag=True,
    help="At this start, take a policy that compiles though its tests, invariants or held roles refuse it. Audited.",
)
def serve(force_policy: bool, **flags: str | None) -> int:
    """Answer gateways, issue tokens, keep users, until SIGTERM.

    Every setting can be given as an option, as a variable, or in the file of --config; an option beats a variable beats
    the file. SIGTERM drains and exits, SIGHUP reads policy and keys again and opens the decision
    log's file anew.
    """
    with early_signals():
        return _serve(settings_from(flags), force_policy=force_policy)


def _serve(settings: Settings, *, force_policy: bool) -> int:
    if settings.workers > 1:
        if force_policy:  # a replacement worker would force the files of that later time
            raise wrong("--force-policy is for one start of one worker: add --workers 1")
        from sidecar.server.workers.supervisor import run_workers

        return run_workers(settings)
    from sidecar.server.lifecycle import run

    return run(settings, force_policy=force_policy)
