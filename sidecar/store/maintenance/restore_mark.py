"""Mark of a restore in progress: a field of each partition's meta record, removed when the restore is complete.

A killed restore leaves a part of the backup beside the previous accounts. `fsck`, `doctor` and ``/readyz`` report it
until the restore is run again.
"""

from typing import Final

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.integrity.proof import RESTORING

REMEDY: Final = "run `sidecar restore` again, or accept the present data with `sidecar fsck --repair`"


async def set_mark(store: Store) -> None:
    """Set the mark before the first write. Raises StoreUnavailableError."""
    for partition in range(store.partitions):
        await store.change("HSET", keys.partition_meta(partition), RESTORING, "1")


async def clear_mark(store: Store) -> None:
    """Clear the mark after the last write. Raises StoreUnavailableError."""
    for partition in range(store.partitions):
        await store.change("HDEL", keys.partition_meta(partition), RESTORING)


async def is_marked(store: Store) -> bool:
    """Return whether a restore is in progress or was interrupted. Raises StoreUnavailableError."""
    for partition in range(store.partitions):
        if await store.command("HEXISTS", keys.partition_meta(partition), RESTORING):
            return True
    return False
