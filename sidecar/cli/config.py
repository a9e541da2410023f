"""``sidecar config``: every setting with its value and source, secrets masked."""

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import OK, WRONG, json_option, print_error, print_json, print_table
from sidecar.config.problems import problems
from sidecar.config.settings import ROWS


@click.command()
@settings_options()
@json_option
def config(as_json: bool, **flags: str | None) -> int:
    """Print every setting, its value and its source, secrets masked.

    Exit status 2 when the settings contradict each other, so that `serve` rejects them. Only the settings are checked;
    `sidecar doctor` checks files, addresses and the store.
    """
    settings = settings_from(flags)
    if as_json:
        rows = ({"name": it.name, "value": it.text, "source": it.source} for it in settings.values)
        print_json([{**row, "about": ROWS[row["name"]].about} for row in rows])
    else:
        print_table(["setting", "value", "source"], ((it.name, it.text, it.source) for it in settings.values))
    found = problems(settings)
    for problem in found:
        print_error(problem)
    return WRONG if found else OK
