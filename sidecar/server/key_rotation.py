"""Rotation and revocation of signing keys, confirmed by the fleet at each step (R21).

A key signs only after every live sidecar has loaded it. Each sidecar registers the version of the key set in use. An
acknowledgement alone is not enough, because a sidecar that cannot read the directory continues with its old keys.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.domain.users import Actor
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.server.key_watcher import CHANGED
from sidecar.sources.key_files import load
from sidecar.sources.key_rotation import (
    choose_signing,
    list_keys,
    publish_next,
    published_key,
    remove_key,
    remove_retired,
    rotating,
)
from sidecar.store.audit import Audit
from sidecar.store.live.fleet import Fleet

POLL_SECONDS: Final = 0.05
KEEP_RETIRED: Final = 86_400 + 120
"""Seconds after which every token of a retired key has expired: the longest access TTL, and leeway.

The public half stays for 90 days, only for the renewal of browser sessions (R5).
"""


@dataclass(frozen=True, slots=True)
class KeysRotated:
    """``kid`` signs. ``removed``: keys retired longer than KEEP_RETIRED ago. ``behind``: sidecars that still use the
    old key."""

    kid: str
    retired: str
    removed: tuple[str, ...]
    sidecars: int
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyPublished:
    """``kid`` is in the directory and does not sign. ``removed``: as in KeysRotated."""

    kid: str
    active: str
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NothingPublished:
    """The directory has no published key that could sign next."""


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """``kid`` is published and does not sign, because the sidecars in ``behind`` have not loaded it.

    The next rotation continues from this state.
    """

    kid: str
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyRevoked:
    """The key is deleted, and ``active`` signs.

    ``complete``: no sidecar accepts the deleted key. Otherwise ``behind`` names those that may.
    """

    kid: str
    active: str
    sidecars: int
    complete: bool
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoSuchKey:
    """The directory has no key with this kid."""


@dataclass(frozen=True, slots=True)
class FleetAcknowledgement:
    """``all``: number of live sidecars. ``behind``: sidecars with another key set than the directory."""

    all: int
    behind: tuple[str, ...]


class Rotation:
    """Rotates and revokes keys as an operator, and writes both to the audit.

    ``clock``: Unix seconds. ``patience``: seconds that the sidecars have to load a key. ``hold``: seconds between
    publishing a key and signing with it, for services that cache the JWK Set.
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

    async def rotate(self) -> KeysRotated | NotFollowed:
        """Publish a new key, and sign with it once the fleet has loaded it.

        Raises KeyFileError, StoreUnavailableError.
        """
        directory = self._directory
        with rotating(directory):
            retired = load(directory).keys.kid
            now = int(self._clock())
            removed = remove_retired(directory, before=now - KEEP_RETIRED, now=now)
            kid = publish_next(directory)
            acknowledgement = await self._followed()
            if self._hold and not acknowledgement.behind:
                await self._sleep(self._hold)
                acknowledgement = await self._followed()
            if acknowledgement.behind:
                return NotFollowed(kid, acknowledgement.behind)
            choose_signing(directory, kid, now=int(self._clock()))
            acknowledgement = await self._followed()
        await self._note("keys.rotated", kid, {"active": retired}, {"active": kid, "removed": list(removed)})
        return KeysRotated(kid, retired, removed, acknowledgement.all, acknowledgement.behind)

    async def publish(self) -> KeyPublished:
        """Publish a new key in this directory, whose copies the sidecars read. First step of two.

        Raises KeyFileError, StoreUnavailableError.
        """
        directory = self._directory
        with rotating(directory):
            now = int(self._clock())
            removed = remove_retired(directory, before=now - KEEP_RETIRED, now=now)
            begun, kid = published_key(directory), publish_next(directory)
            active = load(directory).keys.kid
        if kid != begun or removed:
            await self._note("keys.published", kid, {"active": active}, {"active": active, "removed": list(removed)})
        return KeyPublished(kid, active, removed)

    async def sign(self) -> KeysRotated | NotFollowed | NothingPublished:
        """Sign with the published key in this directory, if every live sidecar has loaded it. Second step of two.

        The sidecars sign with it once their copy is the directory's. Raises KeyFileError, StoreUnavailableError.
        """
        directory = self._directory
        with rotating(directory):
            retired, kid = load(directory).keys.kid, published_key(directory)
            if kid is None:
                return NothingPublished()
            acknowledgement = await self._reported(load(directory).keys.version)
            if acknowledgement.behind:
                return NotFollowed(kid, acknowledgement.behind)
            choose_signing(directory, kid, now=int(self._clock()))
        await self._note("keys.rotated", kid, {"active": retired}, {"active": kid, "removed": []})
        return KeysRotated(kid, retired, (), acknowledgement.all, ())

    async def revoke(self, kid: str) -> KeyRevoked | NoSuchKey:
        """Delete a key, and wait until the fleet rejects its tokens.

        If it is the signing key, a new one signs at once, without waiting for the fleet: a stolen key must stop working
        now. Raises KeyFileError, StoreUnavailableError.
        """
        directory = self._directory
        with rotating(directory):
            if all(file.kid != kid for file in list_keys(directory)):
                return NoSuchKey()
            if load(directory).keys.kid == kid:
                choose_signing(directory, publish_next(directory), now=int(self._clock()))
            remove_key(directory, kid)
            active = load(directory).keys.kid
            acknowledged = [
                await wait_until_applied(self._fleet, position) for position in await self._fleet.announce(CHANGED)
            ]
            acknowledgement = await self._reported(load(directory).keys.version)
        await self._note("keys.revoked", kid, None, {"active": active})
        complete = not acknowledgement.behind and all(one.complete for one in acknowledged)
        return KeyRevoked(kid, active, acknowledgement.all, complete, acknowledgement.behind)

    async def _note(self, action: str, kid: str, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        await self._audit.note(action, Actor.operator(), target=kid, before=before, after=after)

    async def _followed(self) -> FleetAcknowledgement:
        """Announce a change of keys, and wait until the fleet has loaded it."""
        await self._fleet.announce(CHANGED)
        return await self._reported(load(self._directory).keys.version)

    async def _reported(self, version: str) -> FleetAcknowledgement:
        until = self._clock() + self._patience
        while True:
            members = await self._fleet.members()
            behind = tuple(str(member["id"]) for member in members if member.get("keys") != version)
            if not behind or self._clock() >= until:
                return FleetAcknowledgement(len(members), behind)
            await self._sleep(POLL_SECONDS)
