"""``sidecar policy history``: the applications of generations to the store."""

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import json_option, print_json, print_table
from sidecar.cli.policy.stored import history_of, time_of
from sidecar.cli.store_session import run_with_store


@click.command()
@settings_options(STORE)
@json_option
def history(as_json: bool, **flags: str | None) -> None:
    """List the generations that were applied, newest first: the first row is active.

    Each row has the revision from which the generation was active, the operator and the note.
    """
    found = run_with_store(settings_from(flags), history_of)
    if as_json:
        print_json(
            [
                {
                    "generation": one.terms.id,
                    "revision": one.revision,
                    "applied_at": time_of(one),
                    "by": one.terms.by,
                    "note": one.terms.note,
                    "counter": one.terms.counter,
                    "signed": bool(one.terms.signature),
                }
                for one in found
            ]
        )
        return
    rows = [(one.terms.id, one.revision, time_of(one), one.terms.by, one.terms.note) for one in found]
    print_table(("generation", "revision", "applied", "by", "note"), rows)
