"""Sessions and their tokens: a short-lived access token, and a refresh token verified by its MAC (R14).

Only this module sets the token lifetimes and selects the signing key. It is independent of passwords and HTTP.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.domain.sessions import NewProof, amr_of
from sidecar.domain.users import SessionId, UserRecord
from sidecar.identity.hash_limits import Limited
from sidecar.identity.revocation_wait import wait_until_applied
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
from sidecar.tokens.keyset import KeySet, access_token
from sidecar.tokens.opaque import Pepper, RefreshToken, read_refresh, refresh_token

Entropy = Callable[[int], bytes]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Client:
    """Client of a request, as shown to the session's owner and in the audit."""

    address: str = ""
    agent: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Pair of tokens for a live session, and its user. ``expires_in``: lifetime of the access token in seconds."""

    record: UserRecord
    session: SessionId
    expires_in: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordSet:
    """User who set a password by a link, without a session: the page signs in afterwards."""

    record: UserRecord


@dataclass(frozen=True, slots=True)
class InvalidGrant:
    """Rejected grant, deliberately without a reason: wrong e-mail or password, inactive user, or a malformed, used,
    ended or expired token."""


class Issuer:
    """Issuer of sessions and tokens. ``issuer`` and ``audience`` equal those in the store's record (R22). Lifetimes are
    in seconds."""

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
        """Active keys, replaced as a whole when the key directory changes."""
        self.issuer = issuer
        self._pepper = pepper
        self._audience = audience
        self._access_ttl = access_ttl
        self.refresh_ttl = refresh_ttl
        self._clock = clock
        self._entropy = entropy

    def new_session(
        self, client: Client, *proofs: NewProof, mailed_link: bool = False, browser: bool = False
    ) -> NewSession:
        """Build a session. The script that opens it also decides whether it may be opened.

        ``proofs``: given by the client now. ``mailed_link``, ``browser``: as in ``NewSession``.
        """
        return NewSession(
            new_session_id(self._entropy(ENTROPY_BYTES)),
            ttl=self.refresh_ttl,
            address=client.address,
            agent=client.agent[:200],
            request_id=client.request_id,
            proofs=proofs,
            mailed_link=mailed_link,
            browser=browser,
        )

    def grant(self, record: UserRecord, session: SessionId, counter: int = 0) -> Grant:
        """Sign the tokens of ``record``'s live session. Their epoch is the record's, as returned by the script."""
        now, facts = int(self._clock()), record.sessions.get(session)
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
            auth_time=facts.signed_in_at or None if facts else None,
            amr=amr_of(facts.methods) if facts else (),
        )
        return Grant(
            record,
            session,
            self._access_ttl,
            access_token(self.keys, claims),
            refresh_token(self._pepper, RefreshToken(record.id, session, counter)),
        )

    def now(self) -> float:
        """Return the time by which tokens are issued, in Unix seconds."""
        return self._clock()

    def read(self, token: str) -> RefreshToken | None:
        """Return the content of an authentic refresh token, else None."""
        return read_refresh(self._pepper, token)


RefreshOutcome = Grant | InvalidGrant | Limited | StoreBehind


async def refresh(issuer: Issuer, sessions: Sessions, fleet: Fleet, token: str, client: Client) -> RefreshOutcome:
    """Exchange a refresh token for the next pair of tokens. A retry within the grace period gets the same refresh
    token. An inauthentic token never touches a session (R14).

    Refreshes are limited per session, because each costs a write, an event for every sidecar and a signature. A reused
    token ends its session. The function then returns once no sidecar accepts the session's tokens. Raises
    StoreUnavailableError.
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
            await wait_until_applied(fleet, position)
            return InvalidGrant()
        case RefreshLimited(seconds):
            return Limited(max(1, math.ceil(seconds)))
        case StoreBehind():
            return outcome
