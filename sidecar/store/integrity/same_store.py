"""Proof that other connections lead to the store in use before another URL is taken (R46)."""

from collections.abc import Mapping

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError
from sidecar.store.integrity import server_checks
from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.integrity.proof import FeedPosition, evaluate, proof_of


async def require_same_store(other: Store, current: Store, known: Mapping[int, FeedPosition | None]) -> None:
    """Compare each partition's data set, last entry and meta record. ``known``: positions of the feeds in use.

    Raises StoreMismatchError with the difference, or StoreUnavailableError. Writes nothing.
    """
    for finding in await server_checks.inspect(other):
        if finding.fatal:
            raise StoreMismatchError(finding.message)
    for partition in range(current.partitions):
        position = known.get(partition)
        found = [keys.feed(partition), keys.partition_meta(partition)]
        reply = await other.run("feed_tail", found, [position.entry if position else ""])
        verdict = evaluate(position, proof_of(reply), current.identity)
        if verdict.state is not PartitionState.OK:
            raise StoreMismatchError(f"the store at {other.where} is not the one in use: {verdict.reason}")
