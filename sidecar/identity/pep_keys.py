"""PEP keys (R20): created and revoked by operators, presented by gateways and services.

A key is proven by its digest in the store. Responses reveal nothing about a key before that. Look-ups of never-seen
keys are limited by a budget. A key with this deployment's mark has its own budget. Invented keys have no mark and share
one budget, so they cannot starve a key created here.
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
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.sessions import Entropy
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, NoAccount
from sidecar.store.peps import NoPep, PepCopies, PepCreated, PepExists, PepRevoked, Peps, TooManyPeps
from sidecar.tokens.opaque import Pepper, SecretKind, digest, has_mark, new_pep_secret, read_secret, with_mark

UNPROVEN_A_SECOND: Final = 200
"""Look-ups per second and process, also the burst. All never-seen keys without a mark share one budget; each key with a
mark has its own. Keys proven earlier do not count."""

PROVEN: Final = 10_000
CLOCK_ERROR: Final = 1e-6
ENTROPY: Final = 28


@dataclass(frozen=True, slots=True)
class InvalidKey:
    """Rejected key: malformed, unknown, revoked, expired or suspended; with OVERLOADED, not looked up."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """Valid key without the required scope."""

    needed: Scope


@dataclass(frozen=True, slots=True)
class RateExceeded:
    """Key exceeded its decisions per second. ``retry_after``: seconds."""

    retry_after: int


@dataclass(slots=True)
class RateMeter:
    """Rate meter (GCRA). The burst is one second of the rate. Excess units delay the next one."""

    due: float = float("-inf")

    def wait(self, rate: float, now: float) -> float:
        """Return the seconds until one more unit is available; 0: now."""
        wait = self.due + 1 / rate - 1.0 - now
        return wait if wait > CLOCK_ERROR else 0.0

    def spend(self, count: int, rate: float, now: float) -> None:
        self.due = max(self.due, now) + count / rate


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """Key as presented: its claimed id, and the digest that the store must contain. ``marked``: created here."""

    pep: PepId
    digest: str = field(repr=False)
    marked: bool = False


class PepKeys:
    """Verifier of PEP keys, their scopes and rates. ``clock`` returns Unix seconds; ``monotonic`` is for rates."""

    def __init__(
        self, copies: PepCopies, pepper: Pepper, *, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._copies = copies
        self._pepper = pepper
        self._clock = clock
        self._monotonic = monotonic
        self._proven: FifoCache[str, PresentedKey] = FifoCache(PROVEN)
        self._meters: FifoCache[PepId, RateMeter] = FifoCache(PROVEN)
        self._marked: FifoCache[str, RateMeter] = FifoCache(PROVEN)
        self._unproven = RateMeter()

    async def admit(self, key: str, scope: Scope) -> Pep | InvalidKey | OutOfScope | RateExceeded:
        """Verify ``key`` (the text after ``Bearer``) for ``scope``; charge one decision. Raises
        StoreUnavailableError."""
        presented = self._proven.get(key)
        pep = None if presented is None else self._copies.peek(presented.pep)
        if presented is None or pep is None:
            read = await self._look_up(key, presented)
            if isinstance(read, InvalidKey):
                return read
            pep = read
        elif pep.digest != presented.digest:  # the same id with another key: not created here
            return InvalidKey(Reason.REVOKED)
        return self._validate(pep, scope)

    def charge(self, pep: Pep, decisions: int) -> None:
        """Charge the decisions of a batch beyond the admitted one. They delay the key's next request."""
        self._meter(pep.id).spend(decisions, pep.rate, self._monotonic())

    def _validate(self, pep: Pep, scope: Scope) -> Pep | InvalidKey | OutOfScope | RateExceeded:
        if pep.expires_at <= self._clock():
            return InvalidKey(Reason.EXPIRED)
        if pep.suspended:
            return InvalidKey(Reason.SUSPENDED)
        if scope not in pep.scopes:
            return OutOfScope(scope)
        now, meter = self._monotonic(), self._meter(pep.id)
        wait = meter.wait(pep.rate, now)
        if wait > 0:
            return RateExceeded(int(wait) + 1)
        meter.spend(1, pep.rate, now)
        return pep

    async def _look_up(self, key: str, presented: PresentedKey | None) -> Pep | InvalidKey:
        """Verify a key in the store if it is new or has no cached record."""
        seen = presented is not None
        presented = presented or self._read(key)
        if presented is None:
            return InvalidKey(Reason.MALFORMED_TOKEN)
        pep = self._copies.peek(presented.pep)
        if pep is None:
            if not seen and not self._may_look_up(key, presented):
                return InvalidKey(Reason.OVERLOADED)
            pep = await self._copies.read(presented.pep)
        if pep is None or not hmac.compare_digest(pep.digest, presented.digest):
            self._proven.pop(key, None)
            return InvalidKey(Reason.REVOKED)
        self._remember(key, presented)
        return pep

    def _may_look_up(self, key: str, presented: PresentedKey) -> bool:
        """Spend one look-up of the key's own budget if it has a mark, else of the shared budget."""
        meter = self._unproven
        if presented.marked:
            held = self._marked.get(key)
            meter = RateMeter() if held is None else held
            self._marked.set(key, meter)
        now = self._monotonic()
        if meter.wait(UNPROVEN_A_SECOND, now) > 0:
            return False
        meter.spend(1, UNPROVEN_A_SECOND, now)
        return True

    def _read(self, key: str) -> PresentedKey | None:
        secret = read_secret(SecretKind.PEP, key)
        if secret is None:
            return None
        pep = PepId(f"pep_{secret.account[4:]}_{secret.owner}")
        return PresentedKey(pep, digest(self._pepper, secret), has_mark(self._pepper, secret))

    def _remember(self, key: str, presented: PresentedKey) -> None:
        self._proven.set(key, presented)

    def _meter(self, pep: PepId) -> RateMeter:
        meter = self._meters.get(pep)
        if meter is None:
            meter = RateMeter()
            self._meters.set(pep, meter)
        return meter


# -- creation and revocation -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewPep:
    """Operator's input for a new key. ``ttl``: seconds. ``rate``: decisions per second and sidecar process."""

    name: str
    scopes: frozenset[Scope]
    ttl: float
    rate: int


@dataclass(frozen=True, slots=True)
class PepMade:
    """Created key. ``key`` is shown once and stored nowhere."""

    pep: Pep
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvalidPepName:
    """Invalid key name: empty, too long, with unprintable characters, or shaped like a key's id."""


MakeOutcome = PepMade | InvalidPepName | PepExists | TooManyPeps | NoAccount | ActorChanged


@dataclass(frozen=True, slots=True)
class PepRevokedEverywhere:
    """Revoked key. ``revocation``: extent of the revocation in the live sidecars."""

    pep: Pep
    revocation: Revocation


async def make(
    peps: Peps, pepper: Pepper, account: AccountId, wanted: NewPep, *, actor: Actor, entropy: Entropy
) -> MakeOutcome:
    """Create a key of ``account``. Raises StoreUnavailableError."""
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
) -> PepRevokedEverywhere | NoPep | ActorChanged:
    """Revoke a key of ``account``, named by name or id. Returns once no sidecar accepts it. Raises
    StoreUnavailableError."""
    held = await peps.listing(account)
    wanted = next((pep for pep in held if named in (pep.id, pep.name)), None)
    if wanted is None:
        return NoPep()
    outcome = await peps.revoke(actor, wanted.id)
    if isinstance(outcome, PepRevoked):
        return PepRevokedEverywhere(outcome.pep, await wait_until_applied(fleet, outcome.position))
    return outcome
