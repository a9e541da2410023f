"""Second factors of users: enrolment, removal, recovery codes, and the attempts at their challenges.

Secrets are sealed before they come here, and recovery codes are digests (R35). Proofs are used up by the scripts that
open or raise a session (sessions.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sidecar.domain.factors import Factor, FactorId, FactorKind, kind_of
from sidecar.domain.users import AccountId, Actor, UserId, UserRecord
from sidecar.store.codec import integer, items, optional_seconds, position_of, record_of, seconds
from sidecar.store.connection import Store
from sidecar.store.factor_proofs import ChallengeUse, challenge_argument
from sidecar.store.outcomes import ActorChanged, Changed, NoUser, Position, Unchanged
from sidecar.store.scripting import milliseconds, run_read, run_write
from sidecar.tokens.ids import account_of


@dataclass(frozen=True, slots=True)
class StoredFactor:
    """Confirmed factor with its sealed secret."""

    factor: Factor
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FactorList:
    """Factors of a user, oldest first, and the number of unused recovery codes, read atomically."""

    record: UserRecord
    factors: tuple[StoredFactor, ...]
    recovery_codes: int

    def of_kind(self, kind: FactorKind) -> tuple[StoredFactor, ...]:
        return tuple(one for one in self.factors if one.factor.kind is kind)


@dataclass(frozen=True, slots=True)
class PendingFactor:
    """Factor that waits for its confirmation. ``created_at``: Unix seconds."""

    sealed: str = field(repr=False)
    created_at: int


@dataclass(frozen=True, slots=True)
class FactorConfirmed:
    """Confirmed factor. ``first``: the user had none, and the given recovery codes are in force."""

    record: UserRecord
    position: Position
    first: bool


@dataclass(frozen=True, slots=True)
class FactorRemoved:
    """Removed factor."""

    record: UserRecord
    position: Position
    name: str


@dataclass(frozen=True, slots=True)
class FactorGone:
    """Unknown, expired or removed factor. ``position``: of the last change that may have removed it."""

    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TooManyFactors:
    """The user has the maximum number of factors."""


@dataclass(frozen=True, slots=True)
class AttemptClaimed:
    """Claimed attempt. ``wrong_in_a_row``: codes of the user since the last right one, this one included."""

    wrong_in_a_row: int


@dataclass(frozen=True, slots=True)
class AttemptLimited:
    """Too many wrong codes of the user in a row (R36). ``seconds``: time until the next attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ChallengeSpent:
    """Challenge that was used, or had its attempts."""


class Factors:
    """Operations of second factors. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def listing(self, uid: UserId) -> FactorList | NoUser:
        """Return the confirmed factors with their sealed secrets."""
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_read(self._store, "factors", account, uid=uid)
        if reply["o"] != "found":
            return NoUser()
        found = sorted((_stored(fields) for fields in items(reply["all"])), key=_age)
        return FactorList(record_of(account, reply["r"]), tuple(found), integer(reply["codes"]))

    async def add(
        self, actor: Actor, factor: FactorId, *, sealed: str, ttl: float
    ) -> PendingFactor | TooManyFactors | ActorChanged:
        """Keep a factor of the actor for ``ttl`` seconds, until it is confirmed."""
        reply = await self._write("factor_add", actor, id=factor, sealed=sealed, ttl=milliseconds(ttl))
        match reply["o"]:
            case "added":
                return PendingFactor(sealed, 0)
            case "too_many":
                return TooManyFactors()
            case _:
                return ActorChanged()

    async def pending(self, uid: UserId, factor: FactorId) -> PendingFactor | FactorGone:
        """Return a factor of the user that waits for its confirmation."""
        if (account := account_of(uid)) is None:
            return FactorGone()
        reply = await run_read(self._store, "factor_pending", account, uid=uid, id=factor)
        if reply["o"] != "found":
            return FactorGone()
        return PendingFactor(reply["sealed"], seconds(reply["created"]))

    async def confirm(
        self,
        actor: Actor,
        factor: FactorId,
        *,
        name: str,
        codes: Sequence[str],
        wait: float,
        step: int | None = None,
        counter: int | None = None,
        sealed: str | None = None,
    ) -> FactorConfirmed | FactorGone | TooManyFactors | ActorChanged:
        """Make a pending factor one of the actor's: one of several concurrent calls succeeds.

        ``codes``: digests of recovery codes, kept for the first factor, which counts for needs after ``wait`` seconds.
        ``step`` or ``counter``: of the proof. ``sealed``: replaces the pending secret (passkeys).
        """
        reply = await self._write(
            "factor_confirm",
            actor,
            id=factor,
            name=name,
            codes=list(codes),
            wait=milliseconds(wait),
            step=None if step is None else str(step),
            count=None if counter is None else str(counter),
            sealed=sealed,
        )
        match reply["o"]:
            case "confirmed":
                return FactorConfirmed(_record(actor, reply), position_of(reply), reply["first"] == "1")
            case "gone":
                return FactorGone()
            case "too_many":
                return TooManyFactors()
            case _:
                return ActorChanged()

    async def rename(self, actor: Actor, factor: FactorId, name: str) -> FactorGone | ActorChanged | None:
        """Rename a factor of the actor. Returns None on success."""
        reply = await self._write("factor_rename", actor, id=factor, name=name)
        if reply["o"] == "renamed":
            return None
        return FactorGone() if reply["o"] == "gone" else ActorChanged()

    async def remove(self, actor: Actor, factor: FactorId) -> FactorRemoved | FactorGone | ActorChanged:
        """Remove a factor of the actor, and its proofs in every session."""
        reply = await self._write("factor_remove", actor, id=factor)
        match reply["o"]:
            case "removed":
                return FactorRemoved(_record(actor, reply), position_of(reply), reply["name"])
            case "gone":
                return FactorGone(position_of(reply))
            case _:
                return ActorChanged()

    async def replace_codes(self, actor: Actor, codes: Sequence[str]) -> FactorGone | ActorChanged | None:
        """Replace the actor's recovery codes by these digests. Returns None on success, FactorGone without a factor."""
        reply = await self._write("recovery_codes", actor, codes=list(codes))
        if reply["o"] == "replaced":
            return None
        return FactorGone() if reply["o"] == "gone" else ActorChanged()

    async def reset(
        self, uid: UserId, actor: Actor, *, expected_role: str | None = None
    ) -> Changed | Unchanged | NoUser | ActorChanged:
        """Remove all factors of a user and end the user's sessions."""
        return await self._of_user("factors_reset", uid, actor, expected_role)

    async def confirm_all(
        self, uid: UserId, actor: Actor, *, expected_role: str | None = None
    ) -> Changed | Unchanged | NoUser | ActorChanged:
        """Let all factors of a user count for needs from now on (R37)."""
        return await self._of_user("factors_confirm", uid, actor, expected_role)

    async def claim_attempt(
        self, uid: UserId, challenge: ChallengeUse, *, code: bool
    ) -> AttemptClaimed | AttemptLimited | ChallengeSpent:
        """Claim an attempt at a challenge before the answer is compared (R36). ``code``: count it for the user, too."""
        if (account := account_of(uid)) is None:
            return ChallengeSpent()
        reply = await run_write(
            self._store,
            "factor_try",
            account,
            Actor.bearer(uid),
            uid=uid,
            challenge=challenge_argument(challenge),
            code=code or None,
        )
        match reply["o"]:
            case "claimed":
                return AttemptClaimed(integer(reply["wrong"]))
            case "limited":
                return AttemptLimited(integer(reply["wait"]) / 1000)
            case _:
                return ChallengeSpent()

    async def _write(self, script: str, actor: Actor, **args: object) -> dict[str, Any]:
        """Run a script about the actor's own factors."""
        account = None if actor.user is None else account_of(actor.user)
        if account is None:
            return {"o": "actor_changed"}
        return await run_write(self._store, script, account, actor, uid=actor.user, **args)

    async def _of_user(
        self, script: str, uid: UserId, actor: Actor, expected_role: str | None
    ) -> Changed | Unchanged | NoUser | ActorChanged:
        if (account := account_of(uid)) is None:
            return NoUser()
        reply = await run_write(self._store, script, account, actor, uid=uid, expected_role=expected_role)
        match reply["o"]:
            case "changed":
                return Changed(record_of(account, reply["r"]), position_of(reply))
            case "unchanged":
                return Unchanged(record_of(account, reply["r"]), position_of(reply))
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoUser()


def _record(actor: Actor, reply: dict[str, Any]) -> UserRecord:
    account = account_of(actor.user or "") or AccountId("")
    return record_of(account, reply["r"])


def _stored(fields: dict[str, Any]) -> StoredFactor:
    factor = Factor(
        FactorId(fields["id"]),
        fields["name"],
        seconds(fields["created"]),
        seconds(fields["counts"]),
        optional_seconds(fields.get("used")),
    )
    kind_of(factor.id)  # raises for an id of another form
    return StoredFactor(factor, fields["sealed"])


def _age(stored: StoredFactor) -> tuple[int, FactorId]:
    return stored.factor.created_at, stored.factor.id
