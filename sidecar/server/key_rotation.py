"""Rotate and revoke signing keys, with the fleet's word for each step (R21).

A key signs only once every live sidecar has read it: each one tells, with its registration, the version of the key set
that it really uses. That word is asked for, and not only an acknowledgement, because a sidecar that cannot read the
directory goes on with the keys that it has.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.domain.users import Actor
from sidecar.identity.revocation_wait import everywhere
from sidecar.server.key_watcher import CHANGED
from sidecar.sources.key_files import load
from sidecar.sources.key_rotation import choose_signing, list_keys, publish_next, remove_key, remove_retired, rotating
from sidecar.store.audit import Audit
from sidecar.store.live.fleet import Fleet

POLL_SECONDS: Final = 0.05
KEEP_RETIRED: Final = 86_400 + 120
"""Seconds after which no token of a retired key can be good: the longest access TTL that can be set, and leeway. Its
public half stays for 90 days, for the renewal of browser sessions alone (R5)."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """``kid`` signs. ``removed``: keys that had retired long ago. ``behind``: sidecars that still sign as before."""

    kid: str
    retired: str
    removed: tuple[str, ...]
    sidecars: int
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """``kid`` is published and does not sign: these sidecars have not read it. Rotating again goes on from here."""

    kid: str
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyDead:
    """The key is gone. ``complete``: no sidecar believes it any more; else ``behind`` names those that may."""

    kid: str
    signs: str
    sidecars: int
    complete: bool
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoSuchKey:
    """The directory has no key of this kid."""


@dataclass(frozen=True, slots=True)
class Fellows:
    """The fleet, and which of it use another key set than the directory's."""

    all: int
    behind: tuple[str, ...]


class Rotation:
    """``clock``: Unix seconds. ``patience``: seconds until a sidecar that has not followed counts as not following.
    ``hold``: seconds that a new key is published before it signs, for services that keep our JWK Set.

    What is done is done as an operator, and noted in the audit.
    """

    def __init__(
        self,
        directory: Path,
        fleet: Fleet,
        audit: Audit,
        *,
        clock: Callable[[], float],
        patience: float,
        hold: float = 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._fleet = fleet
        self._audit = audit
        self._clock = clock
        self._patience = patience
        self._hold = hold
        self._sleep = sleep

    async def rotate(self) -> Rotated | NotFollowed:
        """A new key signs. Raises KeyFileProblem, StoreUnavailable."""
        directory = self._directory
        with rotating(directory):
            retired = load(directory).keys.kid
            now = int(self._clock())
            removed = remove_retired(directory, before=now - KEEP_RETIRED, now=now)
            kid = publish_next(directory)
            fellows = await self._followed()
            if self._hold and not fellows.behind:
                await self._sleep(self._hold)
                fellows = await self._followed()
            if fellows.behind:
                return NotFollowed(kid, fellows.behind)
            choose_signing(directory, kid, now=int(self._clock()))
            fellows = await self._followed()
        await self._note("keys.rotated", kid, {"signs": retired}, {"signs": kid, "removed": list(removed)})
        return Rotated(kid, retired, removed, fellows.all, fellows.behind)

    async def revoke(self, kid: str) -> KeyDead | NoSuchKey:
        """The key is dead at once. When it is the one that signs, a new one takes its place, unannounced: nobody may
        wait for the fleet while a stolen key is believed. Raises KeyFileProblem, StoreUnavailable."""
        directory = self._directory
        with rotating(directory):
            if all(file.kid != kid for file in list_keys(directory)):
                return NoSuchKey()
            if load(directory).keys.kid == kid:
                choose_signing(directory, publish_next(directory), now=int(self._clock()))
            remove_key(directory, kid)
            signs = load(directory).keys.kid
            acknowledged = [await everywhere(self._fleet, position) for position in await self._fleet.announce(CHANGED)]
            fellows = await self._told(load(directory).keys.version)
        await self._note("keys.revoked", kid, None, {"signs": signs})
        complete = not fellows.behind and all(one.complete for one in acknowledged)
        return KeyDead(kid, signs, fellows.all, complete, fellows.behind)

    async def _note(self, what: str, kid: str, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        await self._audit.note(what, Actor.operator(), whom=kid, before=before, after=after)

    async def _followed(self) -> Fellows:
        """Tell the fleet to look, and wait for it."""
        await self._fleet.announce(CHANGED)
        return await self._told(load(self._directory).keys.version)

    async def _told(self, version: str) -> Fellows:
        until = self._clock() + self._patience
        while True:
            members = await self._fleet.members()
            behind = tuple(str(member["id"]) for member in members if member.get("keys") != version)
            if not behind or self._clock() >= until:
                return Fellows(len(members), behind)
            await self._sleep(POLL_SECONDS)
