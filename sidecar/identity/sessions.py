"""Sessions and their tokens: an access token that lives minutes, a refresh token that proves itself (R14).

The one place that knows how long tokens live and which key signs them. Knows no password and no HTTP.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.domain.users import SessionId, UserRecord
from sidecar.identity.hash_limits import Limited
from sidecar.identity.revocation_wait import everywhere
from sidecar.store.live.fleet import Fleet
from sidecar.store.sessions import (
    NewSession,
    RefreshLimited,
    Reused,
    Rotated,
    SessionGone,
    Sessions,
    StoreBehind,
)
from sidecar.tokens.claims import Claims
from sidecar.tokens.ids import ENTROPY_BYTES, letters, new_session_id
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.mint import access_token
from sidecar.tokens.opaque import Pepper, Refresh, read_refresh, refresh_token

Entropy = Callable[[int], bytes]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end, as the session's owner and the audit see it."""

    address: str = ""
    agent: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A pair of tokens for a live session, and whose it is. ``expires_in``: seconds of the access token."""

    record: UserRecord
    session: SessionId
    expires_in: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvalidGrant:
    """No. Deliberately without a reason: wrong e-mail, wrong password, not active, garbage, used, ended, expired."""


class Issuer:
    """Makes sessions and signs for them. ``issuer`` and ``audience`` as in the store's record (R22)."""

    def __init__(
        self,
        keys: KeySet,
        pepper: Pepper,
        *,
        issuer: str,
        audience: str,
        access_ttl: int,
        refresh_ttl: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.keys = keys
        """The keys in force. Replaced whole when the key directory changes."""
        self.issuer = issuer
        self._pepper = pepper
        self._audience = audience
        self._access_ttl = access_ttl
        self.refresh_ttl = refresh_ttl
        self._clock = clock
        self._entropy = entropy

    def new_session(self, client: Client) -> NewSession:
        """A session to be opened by the same script that decides whether it may be."""
        return NewSession(
            new_session_id(self._entropy(ENTROPY_BYTES)),
            ttl=self.refresh_ttl,
            address=client.address,
            agent=client.agent[:200],
            request_id=client.request_id,
        )

    def grant(self, record: UserRecord, session: SessionId, counter: int = 0) -> Grant:
        """The tokens of ``record``'s live session; their epoch is the record's, as the script answered it."""
        now = int(self._clock())
        claims = Claims(
            issuer=self.issuer,
            audience=self._audience,
            user=record.id,
            account=record.account,
            session=session,
            jti=letters(self._entropy(ENTROPY_BYTES), 26),
            issued_at=now,
            expires_at=now + self._access_ttl,
            epoch=record.epoch,
        )
        return Grant(
            record,
            session,
            self._access_ttl,
            access_token(self.keys, claims),
            refresh_token(self._pepper, Refresh(record.id, session, counter)),
        )

    def read(self, token: str) -> Refresh | None:
        """What a refresh token of ours says; None for anything else."""
        return read_refresh(self._pepper, token)


RefreshOutcome = Grant | InvalidGrant | Limited | StoreBehind


async def refresh(issuer: Issuer, sessions: Sessions, fleet: Fleet, token: str, client: Client) -> RefreshOutcome:
    """The refresh grant: the next pair, or the same again within the grace. Garbage never touches a session (R14).

    Limited per session: each refresh costs a write, an event for every sidecar and a signature. A token used again ends
    its session; returns once no sidecar accepts that session's tokens.
    """
    presented = issuer.read(token)
    if presented is None:
        return InvalidGrant()
    outcome = await sessions.rotate(
        presented.user,
        presented.session,
        presented.counter,
        ttl=issuer.refresh_ttl,
        address=client.address,
        request_id=client.request_id,
    )
    match outcome:
        case Rotated(record, counter, _):
            return issuer.grant(record, presented.session, counter)
        case SessionGone():
            return InvalidGrant()
        case Reused(position):
            await everywhere(fleet, position)
            return InvalidGrant()
        case RefreshLimited(seconds):
            return Limited(max(1, math.ceil(seconds)))
        case StoreBehind():
            return outcome
