"""Activated policy generations, in order, and the roles that they define (R25).

Stored in the first partition, because they belong to no account. An activation is audited when the generation is new,
when it is an earlier one, and when it was forced.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.store import keys
from sidecar.store.connection import Store


class GenerationOrder(StrEnum):
    """Order of a generation relative to the earlier ones."""

    NEW = "new"
    CURRENT = "current"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class RecordedActivation:
    """Recorded activation. ``newest``: newest generation before it; None at the first one."""

    order: GenerationOrder
    newest: str | None


class PolicyHistory:
    """History operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(
        self, generation: str, roles: Collection[str], *, sidecar: str, start: bool = False, forced: bool = False
    ) -> RecordedActivation:
        """Record that this sidecar has activated ``generation``. ``start``: at its start, not by an edit."""
        arguments = {
            "id": generation,
            "roles": sorted(roles),
            "sidecar": sidecar,
            "start": start,
            "forced": forced,
            "rid": self._store.request_id(),
        }
        reply = await self._store.run("generation_record", [_key(), keys.system_log()], arguments, write=True)
        return RecordedActivation(GenerationOrder(reply["o"]), reply["newest"] or None)

    async def roles(self) -> frozenset[str]:
        """Return all roles of all recorded generations. Users hold no other roles."""
        return frozenset(map(str, await self._store.command("SMEMBERS", f"{_key()}:roles")))

    async def order(self, generations: Collection[str]) -> Mapping[str, int]:
        """Return the order number per generation; a larger one is newer. Unrecorded generations are omitted."""
        found = {}
        for generation in set(generations):
            score = await self._store.command("ZSCORE", _key(), generation)
            if score is not None:
                found[generation] = int(float(score))
        return found


def _key() -> str:
    return f"sc:{keys.tag(0)}:policy"
