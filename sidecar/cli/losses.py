"""``sidecar fsck --accept-loss``: opens partitions with lost changes that no sidecar holds (R48)."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import click

from sidecar.cli.output import NO, OK, answer_no, print_json
from sidecar.cli.store_session import run_with_store
from sidecar.config.settings import Settings
from sidecar.server.admin_context import AdminContext
from sidecar.store.integrity.data_set import code_of
from sidecar.store.integrity.losses import shown
from sidecar.store.integrity.recovering import LostEntries, PartitionRecovery, RecoveredUsers, read_lost

CHOICES: Final = {"hold-known": False, "hold-all": True}
"""Choice → True when every user of the partition is held."""


@dataclass(frozen=True, slots=True)
class _LossCommand:
    lost: LostEntries
    touched: dict[str, RecoveredUsers]


def accept(settings: Settings, choice: str, *, sure: bool, as_json: bool) -> int:
    """Print the effect of each choice, ask, and apply it.

    Return 1 when the user declines. Raises a Stop with status 1 when a partition stays closed.
    """
    losses = run_with_store(settings, _look)
    if not losses:
        if as_json:
            print_json({"accepted": []})
        else:
            click.echo("no partition has lost changes: there is nothing to accept")
        return OK
    for one in losses:
        click.echo(_sentence(one), err=as_json)
    if not sure and not click.confirm(f"Accept the loss with {choice}?", err=as_json):
        return NO
    done = run_with_store(settings, partial(_accept, choice=choice))
    reported = [{"partition": f"{p:02d}", "users": touched.users, "held": touched.held} for p, touched in done.items()]
    if as_json:
        print_json({"accepted": reported})
    else:
        for each in reported:
            click.echo(f"partition {each['partition']}: open; {each['users']} users sign in again, {each['held']} held")
    if len(done) < len(losses):
        raise answer_no("a partition changed meanwhile and is still closed: run it again")
    return OK


async def _look(operator: AdminContext) -> list[_LossCommand]:
    found = []
    for partition in range(operator.store.partitions):
        if (lost := await read_lost(operator.store, partition)) is not None:
            touched = {
                name: await PartitionRecovery(operator.store, id="operator", dry=True, everyone=everyone).users(lost)
                for name, everyone in CHOICES.items()
            }
            found.append(_LossCommand(lost, touched))
    return found


async def _accept(operator: AdminContext, *, choice: str) -> dict[int, RecoveredUsers]:
    done = {}
    for partition in range(operator.store.partitions):
        if (lost := await read_lost(operator.store, partition)) is None:
            continue
        recovering = PartitionRecovery(operator.store, id="operator", everyone=CHOICES[choice])
        touched = await recovering.users(lost)
        if await recovering.finish(lost, partial(code_of, operator.pepper)):
            done[partition] = touched
    return done


def _sentence(one: _LossCommand) -> str:
    lost, known, everyone = one.lost, one.touched["hold-known"], one.touched["hold-all"]
    unknown = f"changes {shown(lost.missing)} are known to no sidecar" if lost.missing else "every change is known"
    return (
        f"partition {lost.partition:02d}: changes up to {lost.top} are lost, {unknown}. "
        f"hold-known holds {known.held} of {known.users} users, hold-all {everyone.held}; "
        f"either way all {known.users} sign in again."
    )
