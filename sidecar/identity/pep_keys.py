"""PEP keys (R20): made and revoked by operators, presented by gateways and services.

A key proves itself by the digest that the store keeps. Refuses to say anything about a key before that; and to ask the
store about more never-seen keys than the budget allows. A key that bears this deployment's mark has a budget of its
own: made-up keys, which bear none, share one and starve no key that was made here.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import Reason
from sidecar.domain.peps import Pep, PepId, Scope
from sidecar.domain.users import AccountId, Actor
from sidecar.identity.display_names import clean
from sidecar.identity.revocation_wait import everywhere
from sidecar.identity.sessions import Entropy
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, NoAccount
from sidecar.store.peps import NoPep, PepCopies, PepCreated, PepExists, PepRevoked, Peps, TooManyPeps
from sidecar.tokens.opaque import Kind, Pepper, digest, has_mark, new_pep_secret, read_secret, with_mark

UNPROVEN_A_SECOND: Final = 200
"""Look-ups per process for all never-seen keys without a mark together, and for each one with a mark; as many at once.
Keys that were proven before do not count."""

PROVEN: Final = 10_000
CLOCK_ERROR: Final = 1e-6
ENTROPY: Final = 28


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """No key, not one, not one any more; or, with OVERLOADED, nobody could look."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """The key is good, but not for this."""

    needed: Scope


@dataclass(frozen=True, slots=True)
class RateExceeded:
    """The key asks for more decisions a second than it may."""

    retry_after: int


@dataclass(slots=True)
class Meter:
    """So many a second, and as many at once (GCRA). What is spent beyond is paid before the next."""

    due: float = float("-inf")

    def wait(self, rate: float, now: float) -> float:
        """Seconds until one more may be spent; 0 when it may be now."""
        wait = self.due + 1 / rate - 1.0 - now
        return wait if wait > CLOCK_ERROR else 0.0

    def spend(self, count: int, rate: float, now: float) -> None:
        self.due = max(self.due, now) + count / rate


@dataclass(frozen=True, slots=True)
class Presented:
    """A key as it came: whose it claims to be, and what must stand in the store for that. ``marked``: made here."""

    pep: PepId
    digest: str = field(repr=False)
    marked: bool = False


class PepKeys:
    """Whose key is it, and may it be used for this, now? ``clock``: Unix seconds, ``monotonic``: for rates."""

    def __init__(
        self, copies: PepCopies, pepper: Pepper, *, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._copies = copies
        self._pepper = pepper
        self._clock = clock
        self._monotonic = monotonic
        self._proven: FifoCache[str, Presented] = FifoCache(PROVEN)
        self._meters: FifoCache[PepId, Meter] = FifoCache(PROVEN)
        self._marked: FifoCache[str, Meter] = FifoCache(PROVEN)
        self._unproven = Meter()

    async def admit(self, key: str, scope: Scope) -> Pep | KeyRefused | OutOfScope | RateExceeded:
        """``key`` as it stood behind ``Bearer``. Raises StoreUnavailable when nobody can tell."""
        presented = self._proven.get(key)
        pep = None if presented is None else self._copies.peek(presented.pep)
        if presented is None or pep is None:
            read = await self._look_up(key, presented)
            if isinstance(read, KeyRefused):
                return read
            pep = read
        elif pep.digest != presented.digest:  # the same id with another key: never made by us
            return KeyRefused(Reason.REVOKED)
        return self._judge(pep, scope)

    def charge(self, pep: Pep, decisions: int) -> None:
        """``decisions`` more than the one that was admitted: a batch. Paid for before the key's next question."""
        self._meter(pep.id).spend(decisions, pep.rate, self._monotonic())

    def _judge(self, pep: Pep, scope: Scope) -> Pep | KeyRefused | OutOfScope | RateExceeded:
        if pep.expires_at <= self._clock():
            return KeyRefused(Reason.EXPIRED)
        if pep.suspended:
            return KeyRefused(Reason.SUSPENDED)
        if scope not in pep.scopes:
            return OutOfScope(scope)
        now, meter = self._monotonic(), self._meter(pep.id)
        wait = meter.wait(pep.rate, now)
        if wait > 0:
            return RateExceeded(int(wait) + 1)
        meter.spend(1, pep.rate, now)
        return pep

    async def _look_up(self, key: str, presented: Presented | None) -> Pep | KeyRefused:
        """The store's word on a key of which there is no live copy, or which was never seen."""
        seen = presented is not None
        presented = presented or self._read(key)
        if presented is None:
            return KeyRefused(Reason.MALFORMED_TOKEN)
        pep = self._copies.peek(presented.pep)
        if pep is None:
            if not seen and not self._may_look_up(key, presented):
                return KeyRefused(Reason.OVERLOADED)
            pep = await self._copies.read(presented.pep)
        if pep is None or not hmac.compare_digest(pep.digest, presented.digest):
            self._proven.pop(key, None)
            return KeyRefused(Reason.REVOKED)
        self._remember(key, presented)
        return pep

    def _may_look_up(self, key: str, presented: Presented) -> bool:
        """Spend one look-up of the key's own budget if it bears a mark, else of the budget that all others share."""
        meter = self._unproven
        if presented.marked:
            held = self._marked.get(key)
            meter = Meter() if held is None else held
            self._marked.set(key, meter)
        now = self._monotonic()
        if meter.wait(UNPROVEN_A_SECOND, now) > 0:
            return False
        meter.spend(1, UNPROVEN_A_SECOND, now)
        return True

    def _read(self, key: str) -> Presented | None:
        secret = read_secret(Kind.PEP, key)
        if secret is None:
            return None
        pep = PepId(f"pep_{secret.account[4:]}_{secret.owner}")
        return Presented(pep, digest(self._pepper, secret), has_mark(self._pepper, secret))

    def _remember(self, key: str, presented: Presented) -> None:
        self._proven.set(key, presented)

    def _meter(self, pep: PepId) -> Meter:
        meter = self._meters.get(pep)
        if meter is None:
            meter = Meter()
            self._meters.set(pep, meter)
        return meter


# -- made and revoked --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewPep:
    """What an operator asks for. ``ttl`` in seconds, ``rate`` in decisions a second for each sidecar process."""

    name: str
    scopes: frozenset[Scope]
    ttl: float
    rate: int


@dataclass(frozen=True, slots=True)
class PepMade:
    """``key`` is shown once; nobody, the store included, has it afterwards."""

    pep: Pep
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvalidPepName:
    """Empty, over-long, with characters that no list can show, or like a key's id."""


MakeOutcome = PepMade | InvalidPepName | PepExists | TooManyPeps | NoAccount | ActorChanged


@dataclass(frozen=True, slots=True)
class PepDead:
    """Revoked; ``revocation`` says whether no sidecar can take it any more."""

    pep: Pep
    revocation: Revocation


async def make(
    peps: Peps, pepper: Pepper, account: AccountId, wanted: NewPep, *, actor: Actor, entropy: Entropy
) -> MakeOutcome:
    """A new key of ``account``."""
    name = clean(wanted.name)
    if not name or name.startswith("pep_"):
        return InvalidPepName()
    secret = with_mark(pepper, new_pep_secret(account, entropy(ENTROPY)))
    outcome = await peps.create(
        actor,
        PepId(f"pep_{account[4:]}_{secret.owner}"),
        name=name,
        scopes=wanted.scopes,
        digest=digest(pepper, secret),
        ttl=wanted.ttl,
        rate=wanted.rate,
    )
    if isinstance(outcome, PepCreated):
        return PepMade(outcome.pep, secret.text)
    return outcome


async def revoke(
    peps: Peps, fleet: Fleet, account: AccountId, named: str, *, actor: Actor
) -> PepDead | NoPep | ActorChanged:
    """``named``: a key's name or its id, of this account alone. Returns once no sidecar takes it any more."""
    held = await peps.listing(account)
    wanted = next((pep for pep in held if named in (pep.id, pep.name)), None)
    if wanted is None:
        return NoPep()
    outcome = await peps.revoke(actor, wanted.id)
    if isinstance(outcome, PepRevoked):
        return PepDead(outcome.pep, await everywhere(fleet, outcome.position))
    return outcome
