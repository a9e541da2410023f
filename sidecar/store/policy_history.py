"""Activated policy generations, in order, and the roles that they define (R25).

Stored in the first partition, because they belong to no account. An activation is audited when the generation is new,
when it is an earlier one, and when it was forced.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.store import keys
from sidecar.store.codec import integer, items
from sidecar.store.connection import Store
from sidecar.store.integrity.feed_entries import fields_of


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


class Direction(StrEnum):
    """Direction of a change of the policy: to a new generation, or to an earlier one."""

    FORWARD = "forward"
    BACK = "back"


class Noticed(StrEnum):
    """Occasion on which a sidecar noticed a generation: its start, or an edit of the files."""

    START = "start"
    EDIT = "edit"


@dataclass(frozen=True, slots=True)
class SectionChange:
    """Section in which the allowed actions of a role differ between two generations."""

    role: str
    section: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GenerationTurn:
    """Time in which a generation was the newest. ``at``: its begin, Unix milliseconds. ``last_at``: its end, Unix
    seconds, or None for the current one.

    ``before``: the newest generation until then, or None. ``changes``: sections with other allowed actions than before;
    None if they are unknown or more than 500.
    """

    generation: str
    at: int
    last_at: int | None
    noticed_by: Noticed
    direction: Direction
    before: str | None
    changes: tuple[SectionChange, ...] | None

    @property
    def first_at(self) -> int:
        """Begin in Unix seconds."""
        return self.at // 1000


@dataclass(frozen=True, slots=True)
class PolicyRoles:
    """Roles of the newest generation: all of them, and the assignable ones."""

    generation: str
    roles: frozenset[str]
    assignable: frozenset[str]


class PolicyHistory:
    """History operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(
        self,
        generation: str,
        roles: Collection[str],
        *,
        sidecar: str,
        start: bool = False,
        forced: bool = False,
        allowed: Mapping[str, Collection[tuple[str, str]]] | None = None,
        assignable: Collection[str] | None = None,
    ) -> RecordedActivation:
        """Record that this sidecar has activated ``generation``. ``start``: at its start, not by an edit.

        ``allowed``: section and action of the allowed cells per role; None if they are too many to compare.
        ``assignable``: the assignable ones of ``roles``.
        """
        arguments: dict[str, object] = {
            "id": generation,
            "roles": sorted(roles),
            "sidecar": sidecar,
            "start": start,
            "forced": forced,
            "rid": self._store.request_id(),
        }
        if allowed is not None:
            arguments["actions"] = actions_of(allowed)
        if assignable is not None:
            arguments["assignable"] = sorted(assignable)
        reply = await self._store.run("generation_record", [keys.policy(), keys.system_log()], arguments, write=True)
        return RecordedActivation(GenerationOrder(reply["o"]), reply["newest"] or None)

    async def roles(self) -> frozenset[str]:
        """Return all roles of all recorded generations. Users hold no other roles."""
        return frozenset(map(str, await self._store.command("SMEMBERS", f"{keys.policy()}:roles")))

    async def current(self) -> PolicyRoles | None:
        """Return the roles of the newest generation. None: no sidecar has recorded one."""
        stored = await self._store.command("GET", f"{keys.policy()}:current")
        if stored is None:
            return None
        found = json.loads(stored)
        return PolicyRoles(found["generation"], frozenset(items(found["roles"])), frozenset(items(found["assignable"])))

    async def turns(self) -> list[GenerationTurn]:
        """Return the newest generations in the order of their activation, the current one first.

        An earlier generation that came back is listed again. Kept are the last 200.
        """
        found = await self._store.command("XREVRANGE", f"{keys.policy()}:turns", "+", "-")
        turns: list[GenerationTurn] = []
        next_at: int | None = None
        for _, raw in found:
            fields = fields_of(raw)
            turn = GenerationTurn(
                generation=fields["generation"],
                at=integer(fields["t"]),
                last_at=next_at,
                noticed_by=Noticed(fields["by"]),
                direction=Direction(fields["direction"]),
                before=fields.get("before") or None,  # no such fields in rows of earlier versions: unknown
                changes=_changes(fields.get("changes", "")),
            )
            turns.append(turn)
            next_at = turn.first_at
        return turns

    async def order(self, generations: Collection[str]) -> Mapping[str, int]:
        """Return the order number per generation; a larger one is newer. Unrecorded generations are omitted."""
        found = {}
        for generation in set(generations):
            score = await self._store.command("ZSCORE", keys.policy(), generation)
            if score is not None:
                found[generation] = int(float(score))
        return found


def actions_of(allowed: Mapping[str, Collection[tuple[str, str]]]) -> dict[str, str]:
    """Return the allowed actions, separated by spaces, per ``role section``. Ids hold no spaces."""
    found: dict[str, list[str]] = {}
    for role, cells in allowed.items():
        for section, action in sorted(cells):
            found.setdefault(f"{role} {section}", []).append(action)
    return {cell: " ".join(actions) for cell, actions in found.items()}


def _changes(text: str) -> tuple[SectionChange, ...] | None:
    if not text:
        return None
    return tuple(
        SectionChange(role, section, tuple(before.split()), tuple(after.split()))
        for role, section, before, after in json.loads(text)
    )
