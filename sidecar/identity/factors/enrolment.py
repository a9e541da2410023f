"""Factors of the signed-in user: add, confirm, rename, remove, and recovery codes.

The API asks for a fresh sign-in first. A factor counts once it is confirmed by a code or a signature of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.domain.factors import Factor, FactorId, FactorKind, kind_of
from sidecar.domain.users import Actor, UserId, UserRecord
from sidecar.identity.factors.attempts import WrongCode
from sidecar.identity.factors.passkeys import Passkeys
from sidecar.identity.factors.totp import SECRET_BYTES, matching_step, provisioning_uri, qr_svg, secret_text
from sidecar.identity.hash_limits import Limited, LoginLimits
from sidecar.identity.revocation_wait import already_everywhere, wait_until_applied
from sidecar.identity.security_mails import SecurityChange, SecurityMails
from sidecar.identity.sessions import Clock, Entropy
from sidecar.store.accounts import Accounts
from sidecar.store.factors import (
    FactorConfirmed,
    FactorGone,
    FactorList,
    FactorRemoved,
    Factors,
    PendingFactor,
    TooManyFactors,
)
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, NoUser
from sidecar.tokens.factor_secrets import (
    NONCE_BYTES,
    RECOVERY_CODE_BYTES,
    RECOVERY_CODES,
    is_factor_id,
    new_factor_id,
    recovery_code,
    recovery_digest,
    seal,
    unseal,
)
from sidecar.tokens.opaque import Pepper, Purpose

PENDING_SECONDS: Final = 600
"""Seconds in which an added factor must be confirmed."""

DEFAULT_NAMES: Final = {FactorKind.TOTP: "Authenticator app", FactorKind.PASSKEY: "Passkey"}


@dataclass(frozen=True, slots=True)
class NewTotp:
    """Secret of a device that is not confirmed. Shown once. ``qr``: an SVG document of ``uri``."""

    id: FactorId
    secret: str = field(repr=False)
    uri: str = field(repr=False)
    qr: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewPasskeyOptions:
    """Creation options of a passkey that is not confirmed."""

    id: FactorId
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FactorProofSent:
    """Proof of an added factor, as sent: a code of the app, or the browser's response."""

    code: str | None = field(default=None, repr=False)
    credential: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FactorEnrolled:
    """Confirmed factor. ``recovery_codes``: of the first factor, shown once; else empty."""

    factor: Factor
    recovery_codes: tuple[str, ...] = field(repr=False)
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class PasskeysUnavailable:
    """The public URL has an IP address (R38)."""


AddRefusal = TooManyFactors | ActorChanged | Limited


class FactorEnrolment:
    """Service for ``/v1/me/factors``. All methods raise StoreUnavailableError."""

    def __init__(  # noqa: PLR0913 (the parts, each from its own place)
        self,
        *,
        factors: Factors,
        accounts: Accounts,
        limits: LoginLimits,
        fleet: Fleet,
        mails: SecurityMails,
        passkeys: Passkeys,
        pepper: Pepper,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._factors = factors
        self._accounts = accounts
        self._limits = limits
        self._fleet = fleet
        self._mails = mails
        self._passkeys = passkeys
        self._pepper = pepper
        self._clock = clock
        self._entropy = entropy

    async def listing(self, user: UserId) -> FactorList | NoUser:
        """Return the confirmed factors, oldest first."""
        return await self._factors.listing(user)

    async def add_totp(self, record: UserRecord, actor: Actor) -> NewTotp | AddRefusal:
        """Add a device, and return its secret once."""
        factor, secret = new_factor_id(FactorKind.TOTP, self._entropy(10)), self._entropy(SECRET_BYTES)
        refused = await self._add(actor, record.id, factor, secret)
        if refused is not None:
            return refused
        account = await self._accounts.find(record.account)
        uri = provisioning_uri(secret, account=account.name if account else "", email=record.email)
        return NewTotp(factor, secret_text(secret), uri, qr_svg(uri))

    async def add_passkey(
        self, record: UserRecord, actor: Actor
    ) -> NewPasskeyOptions | PasskeysUnavailable | AddRefusal:
        """Add a passkey, and return the browser's creation options."""
        if not self._passkeys.available:
            return PasskeysUnavailable()
        held = await self._factors.listing(record.id)
        if isinstance(held, NoUser):
            return ActorChanged()
        factor = new_factor_id(FactorKind.PASSKEY, self._entropy(10))
        refused = await self._add(actor, record.id, factor, b"")
        if refused is not None:
            return refused
        options = self._passkeys.creation_options(
            record.id,
            email=record.email,
            name=record.name,
            challenge=self._creation_challenge(record.id, factor),
            existing=list(self._credentials(held).values()),
        )
        return NewPasskeyOptions(factor, options)

    async def confirm(
        self,
        record: UserRecord,
        actor: Actor,
        factor: str,
        sent: FactorProofSent,
        *,
        name: str = "",
        wait: float,
    ) -> FactorEnrolled | WrongCode | FactorGone | AddRefusal:
        """Confirm an added factor. ``wait``: seconds until a user's first factor counts for needs (R37)."""
        if not is_factor_id(factor):
            return FactorGone()
        if (limited := await self._limits.admit_profile_change(record.id)) is not None:
            return limited
        pending = await self._factors.pending(record.id, FactorId(factor))
        if isinstance(pending, FactorGone):
            return pending
        proof = await self._verify(record.id, FactorId(factor), pending, sent)
        if proof is None:
            return WrongCode()
        codes = self._new_codes()
        name = name or DEFAULT_NAMES[kind_of(FactorId(factor))]
        outcome = await self._factors.confirm(
            actor, FactorId(factor), name=name, codes=self._digests(record.id, codes), wait=wait, **proof
        )
        if not isinstance(outcome, FactorConfirmed):
            return outcome
        self._mails.report(outcome.record, SecurityChange.FACTOR_ADDED, name)
        revocation = await wait_until_applied(self._fleet, outcome.position)
        now = int(self._clock())
        shown = Factor(FactorId(factor), name, now, outcome.record.factors[FactorId(factor)], now)
        return FactorEnrolled(shown, codes if outcome.first else (), revocation)

    async def rename(self, actor: Actor, factor: str, name: str) -> FactorGone | ActorChanged | Limited | None:
        """Rename a factor. Returns None on success."""
        if not is_factor_id(factor):
            return FactorGone()
        limited = None if actor.user is None else await self._limits.admit_profile_change(actor.user)
        return limited or await self._factors.rename(actor, FactorId(factor), name)

    async def remove(self, actor: Actor, factor: str) -> Revocation | FactorGone | ActorChanged:
        """Remove a factor. Returns when no sidecar counts its proofs."""
        if not is_factor_id(factor):
            return FactorGone()
        outcome = await self._factors.remove(actor, FactorId(factor))
        match outcome:
            case FactorRemoved(record, position, name):
                self._mails.report(record, SecurityChange.FACTOR_REMOVED, name)
                return await wait_until_applied(self._fleet, position)
            case FactorGone(position):
                await already_everywhere(self._fleet, position)
                return outcome
            case ActorChanged():
                return outcome

    async def new_recovery_codes(
        self, record: UserRecord, actor: Actor
    ) -> tuple[str, ...] | FactorGone | ActorChanged | Limited:
        """Replace the recovery codes, and return the new ones once. FactorGone: the user has no factor."""
        if (limited := await self._limits.admit_profile_change(record.id)) is not None:
            return limited
        codes = self._new_codes()
        refused = await self._factors.replace_codes(actor, self._digests(record.id, codes))
        if refused is not None:
            return refused
        self._mails.report(record, SecurityChange.RECOVERY_CODES)
        return codes

    async def _add(self, actor: Actor, user: UserId, factor: FactorId, secret: bytes) -> AddRefusal | None:
        if (limited := await self._limits.admit_profile_change(user)) is not None:
            return limited
        sealed = self._seal(user, factor, secret)
        added = await self._factors.add(actor, factor, sealed=sealed, ttl=PENDING_SECONDS)
        return None if isinstance(added, PendingFactor) else added

    async def _verify(
        self, user: UserId, factor: FactorId, pending: PendingFactor, sent: FactorProofSent
    ) -> dict[str, Any] | None:
        """Return the arguments of the confirmation, or None for a wrong proof."""
        if kind_of(factor) is FactorKind.TOTP:
            secret = unseal(self._pepper, user, factor, pending.sealed)
            step = None if secret is None else matching_step(secret, sent.code or "", self._clock())
            return None if step is None else {"step": step}
        made = self._passkeys.verify_registration(sent.credential or {}, self._creation_challenge(user, factor))
        held = await self._factors.listing(user)
        if made is None or isinstance(held, NoUser) or made.credential in self._credentials(held).values():
            return None
        return {"counter": made.counter, "sealed": self._seal(user, factor, made.credential)}

    def _seal(self, user: UserId, factor: FactorId, secret: bytes) -> str:
        return seal(self._pepper, user, factor, secret, self._entropy(NONCE_BYTES))

    def _credentials(self, held: FactorList) -> dict[FactorId, bytes]:
        opened = {
            stored.factor.id: unseal(self._pepper, held.record.id, stored.factor.id, stored.sealed)
            for stored in held.of_kind(FactorKind.PASSKEY)
        }
        return {factor: credential for factor, credential in opened.items() if credential is not None}

    def _creation_challenge(self, user: UserId, factor: FactorId) -> bytes:
        """Return the challenge of one enrolment. The factor's id is random, and confirmed once."""
        return self._pepper.mac(Purpose.ENROLMENT, user, factor)

    def _new_codes(self) -> tuple[str, ...]:
        return tuple(recovery_code(self._entropy(RECOVERY_CODE_BYTES)) for _ in range(RECOVERY_CODES))

    def _digests(self, user: UserId, codes: tuple[str, ...]) -> list[str]:
        digests = [recovery_digest(self._pepper, user, code) for code in codes]
        return [digest for digest in digests if digest is not None]
