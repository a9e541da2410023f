"""Wait until a change cannot be unseen anywhere (R31). The change itself is done: a store that stops answering while
we wait makes the answer ``complete: false``, never a failure of what has been carried out."""

from sidecar.store.connection import StoreUnavailable
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import Position


async def everywhere(fleet: Fleet, position: Position) -> Revocation:
    """Returns once every live sidecar has applied the change or may not serve an older copy any more."""
    try:
        return await fleet.wait_applied(position)
    except StoreUnavailable:
        return Revocation(complete=False, sidecars=0, waited_ms=0, revision=position.n)


async def already_everywhere(fleet: Fleet, position: Position | None) -> None:
    """Wait before the answer that something is over already: the change that ended it may still be on its way to other
    sidecars. No position: nothing ended."""
    if position is not None and position.n > 0:
        await everywhere(fleet, position)
