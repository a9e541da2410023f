"""Wait for a change to take effect in every sidecar (R31). The change itself is already stored. A store failure during
the wait returns ``complete: false`` instead of an error."""

from sidecar.store.connection import StoreUnavailableError
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import Position


async def wait_until_applied(fleet: Fleet, position: Position) -> Revocation:
    """Return once every live sidecar has applied the change or can no longer use an older copy."""
    try:
        return await fleet.wait_applied(position)
    except StoreUnavailableError:
        return Revocation(complete=False, sidecars=0, waited_ms=0, revision=position.n)


async def already_everywhere(fleet: Fleet, position: Position | None) -> None:
    """Wait for an earlier change before reporting that its effect already exists, because other sidecars may not have
    applied it yet. Without a position, there was no change."""
    if position is not None and position.n > 0:
        await wait_until_applied(fleet, position)
