"""Sessions: opened at sign-in, rotated at each refresh, ended. At most 20 per user; the earliest to expire ends (R15).

The store holds no secret: a refresh token proves its own origin (R14), and the store holds only its counter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.domain.sessions import NewProof
from sidecar.domain.users import Actor, SessionId, UserId, UserRecord
from sidecar.store.codec import integer, items, position_of, record_of, seconds
from sidecar.store.connection import Store
from sidecar.store.factor_proofs import FactorProof, FactorRequired, ProofRefused, proof_argument
from sidecar.store.outcomes import ActorChanged, NoUser, Position, Stale
from sidecar.store.rate_limiter import Rate
from sidecar.store.scripting import milliseconds, run_read, run_write
from sidecar.tokens.ids import account_of

ABSOLUTE_TTL = 90 * 86400
GRACE = 10
REFRESHES = Rate(units=120, seconds=5)
"""Refresh rate per session, retries included. A client needs one per access token; concurrent tabs need one each."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """Session to open. Times in seconds. ``address`` and ``agent`` are shown in the user's session list.

    ``proofs``: given at the sign-in. ``mailed_link``: the session begins by a link that only a mail contained (R37).
    ``browser``: its tokens are cookies.
    """

    id: SessionId
    ttl: float
    absolute_ttl: float = ABSOLUTE_TTL
    address: str = ""
    agent: str = ""
    request_id: str = ""
    proofs: tuple[NewProof, ...] = ()
    mailed_link: bool = False
    browser: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Session as shown to its user. Times in Unix seconds."""

    id: SessionId
    created_at: int
    refreshed_at: int
    expires_at: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Result of a sign-in. ``ended``: an older session was ended (R15), and the caller must wait for ``position``."""

    record: UserRecord
    position: Position
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Rotated:
    """Result of a refresh. ``counter``: of the next refresh token; the same for a retry within the grace period."""

    record: UserRecord
    counter: int
    position: Position


@dataclass(frozen=True, slots=True)
class SessionGone:
    """The user has no such live session: it is ended or expired, or the user is signed out, suspended or removed.

    ``position``: of the last change that may have ended it. The caller waits for it before it reports the end.
    """

    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reused:
    """Reuse of an older refresh token. The session has been ended (R14)."""

    position: Position


@dataclass(frozen=True, slots=True)
class RefreshLimited:
    """Refresh rate exceeded; nothing was changed. ``seconds``: time until the next refresh is permitted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StoreBehind:
    """Authentic token with a counter above the stored one: the store lost writes. Always a failure."""


@dataclass(frozen=True, slots=True)
class SteppedUp:
    """Result of a step-up. ``record``: with the session's new proofs.

    ``counter``: of the session's current refresh token. ``ends_at``: end of the session, in Unix seconds.
    """

    record: UserRecord
    position: Position
    counter: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Result of ending sessions. ``sessions``: the ended ones."""

    record: UserRecord
    sessions: tuple[SessionId, ...]
    position: Position


class Sessions:
    """Session operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(
        self, uid: UserId, *, expected_epoch: int, session: NewSession, proof: FactorProof | None = None
    ) -> Opened | Stale | NoUser | FactorRequired | ProofRefused:
        """Open a session after a correct password. Returns Stale when the epoch has changed, NoUser when not active.

        ``proof``: of a second factor, used up in the same script. FactorRequired: the user has one, and it is missing.
        """
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(
            self._store,
            "session_open",
            account,
            Actor.bearer(uid, address=session.address, request_id=session.request_id),
            uid=uid,
            epoch=str(expected_epoch),
            session=session_argument(session),
            proof=proof_argument(proof),
        )
        match reply["o"]:
            case "opened":
                return Opened(record_of(account, reply["r"]), position_of(reply), ended=reply["ended"] == "1")
            case "stale":
                return Stale(integer(reply["tv"]))
            case "factor_required":
                return FactorRequired()
            case "spent" | "wrong" | "replayed" | "counter":
                return ProofRefused()
            case _:
                return NoUser()

    async def rotate(
        self, uid: UserId, sid: SessionId, counter: int, *, ttl: float, address: str = "", request_id: str = ""
    ) -> Rotated | SessionGone | Reused | RefreshLimited | StoreBehind:
        """Redeem the refresh token of ``counter``. The script compares epoch and status.

        The caller has verified the token's origin. ``ttl``: seconds until the session expires without a refresh.
        """
        if (account := account_of(uid)) is None:
            return SessionGone()
        reply = await run_write(
            self._store,
            "session_rotate",
            account,
            Actor.bearer(uid, address=address, request_id=request_id),
            uid=uid,
            sid=sid,
            counter=str(counter),
            ttl=milliseconds(ttl),
            grace=milliseconds(GRACE),
            burst=REFRESHES.units,
            interval=milliseconds(REFRESHES.seconds),
        )
        match reply["o"]:
            case "rotated":
                return Rotated(record_of(account, reply["r"]), integer(reply["c"]), position_of(reply))
            case "reused":
                return Reused(position_of(reply))
            case "limited":
                return RefreshLimited(integer(reply["wait"]) / 1000)
            case "behind":
                return StoreBehind()
            case _:
                return SessionGone()

    async def step_up(
        self, actor: Actor, *proofs: NewProof, proof: FactorProof | None = None, rotate: bool = False
    ) -> SteppedUp | SessionGone | ActorChanged | FactorRequired | ProofRefused:
        """Add verified proofs to the actor's own session. Its end is unchanged (R41).

        ``proof``: of a second factor, used up in the same script (R34). FactorRequired: the user has one, and it is
        missing. ``rotate``: the refresh tokens so far are replaced by the one of the returned counter.
        Raises ValueError without a proof, and for an actor without a session.
        """
        if not proofs or actor.user is None or not actor.session:
            raise ValueError("a step-up needs a session and at least one proof")
        if (account := account_of(actor.user)) is None:
            return SessionGone()
        words = {"proofs": proofs_argument(proofs), "proof": proof_argument(proof), "rotate": rotate or None}
        reply = await run_write(self._store, "session_step_up", account, actor, **words)
        match reply["o"]:
            case "raised":
                record = record_of(account, reply["r"])
                return SteppedUp(record, position_of(reply), integer(reply["c"]), seconds(reply["ends"]))
            case "factor_required":
                return FactorRequired()
            case "spent" | "wrong" | "replayed" | "counter":
                return ProofRefused()
            case "actor_changed":
                return ActorChanged()
            case _:
                return SessionGone()

    async def end(self, uid: UserId, sids: Sequence[SessionId], actor: Actor) -> Ended | SessionGone | ActorChanged:
        """End these sessions. Returns SessionGone when none of them is live."""
        return await self._end(uid, actor, sids=list(sids)) if sids else SessionGone()

    async def end_others(self, uid: UserId, keep: SessionId, actor: Actor) -> Ended | SessionGone | ActorChanged:
        """End all sessions of the user except ``keep``."""
        return await self._end(uid, actor, keep=keep)

    async def _end(self, uid: UserId, actor: Actor, **which: object) -> Ended | SessionGone | ActorChanged:
        if (account := account_of(uid)) is None:
            return SessionGone()
        reply = await run_write(self._store, "session_end", account, actor, uid=uid, **which)
        match reply["o"]:
            case "ended":
                ended = tuple(SessionId(sid) for sid in items(reply["sids"]))
                return Ended(record_of(account, reply["r"]), ended, position_of(reply))
            case "actor_changed":
                return ActorChanged()
            case _:
                return SessionGone(position_of(reply))

    async def listing(self, uid: UserId) -> list[Session]:
        """Return the live sessions, newest first."""
        if (account := account_of(uid)) is None:
            return []
        reply = await run_read(self._store, "sessions", account, uid=uid)
        sessions = [
            Session(SessionId(sid), seconds(created), seconds(refreshed), seconds(ends), address, agent)
            for sid, ends, created, refreshed, address, agent in items(reply["all"])
        ]
        return sorted(sessions, key=lambda session: (session.created_at, session.id), reverse=True)


def session_argument(session: NewSession | None) -> dict[str, object] | None:
    """Return the session as ``open_session`` in prelude.lua reads it."""
    if session is None:
        return None
    return {
        "id": session.id,
        "ttl": milliseconds(session.ttl),
        "abs": milliseconds(session.absolute_ttl),
        "addr": session.address,
        "agent": session.agent[:200],
        "proofs": proofs_argument(session.proofs),
        "link": session.mailed_link,
        "browser": session.browser,
    }


def proofs_argument(proofs: Sequence[NewProof]) -> list[list[str]]:
    """Return the proofs as the scripts read them."""
    return [[proof.method, proof.factor] for proof in proofs]
