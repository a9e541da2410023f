"""The mark of a restore that has begun: a field of each partition's meta record, gone when the restore is whole.

A restore that was killed leaves half of the accounts of one backup beside what was there. Until it is run again,
`fsck`, `doctor` and ``/readyz`` name it.
"""

from typing import Final

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.integrity.proof import RESTORING

REMEDY: Final = "run `sidecar restore` again, or keep what is there with `sidecar fsck --repair`"


async def set_mark(store: Store) -> None:
    """Before the first write. Raises StoreUnavailable."""
    for partition in range(store.partitions):
        await store.change("HSET", keys.partition_meta(partition), RESTORING, "1")


async def clear_mark(store: Store) -> None:
    """After the last write. Raises StoreUnavailable."""
    for partition in range(store.partitions):
        await store.change("HDEL", keys.partition_meta(partition), RESTORING)


async def is_marked(store: Store) -> bool:
    """A restore is under way, or one was cut short. Raises StoreUnavailable."""
    for partition in range(store.partitions):
        if await store.command("HEXISTS", keys.partition_meta(partition), RESTORING):
            return True
    return False
