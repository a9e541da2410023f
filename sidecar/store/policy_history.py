"""The policy generations that were in force, in order, and the roles that they knew (R25).

Kept in the first partition, for they belong to no account. Putting a generation in force is audited when it is new,
when it is an earlier one come back, and when it was forced.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.store import keys
from sidecar.store.connection import Store


class Standing(StrEnum):
    """How a generation stands to those before it."""

    NEW = "new"
    CURRENT = "current"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Recorded:
    """``newest``: the newest generation until then; None at the very first."""

    standing: Standing
    newest: str | None


class Generations:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(
        self, generation: str, roles: Collection[str], *, sidecar: str, start: bool = False, forced: bool = False
    ) -> Recorded:
        """It is in force in this sidecar now. ``start``: since its start, not by an edit of its files."""
        arguments = {
            "id": generation,
            "roles": sorted(roles),
            "sidecar": sidecar,
            "start": start,
            "forced": forced,
            "rid": self._store.request_id(),
        }
        reply = await self._store.run("generation_record", [_key(), keys.system_log()], arguments, write=True)
        return Recorded(Standing(reply["o"]), reply["newest"] or None)

    async def roles(self) -> frozenset[str]:
        """Every role of every generation that was ever in force: nobody holds another."""
        return frozenset(map(str, await self._store.command("SMEMBERS", f"{_key()}:roles")))

    async def order(self, generations: Collection[str]) -> Mapping[str, int]:
        """Where each stands: a larger number is newer. Those that were never recorded are left out."""
        found = {}
        for generation in set(generations):
            score = await self._store.command("ZSCORE", _key(), generation)
            if score is not None:
                found[generation] = int(float(score))
        return found


def _key() -> str:
    return f"sc:{keys.tag(0)}:policy"
