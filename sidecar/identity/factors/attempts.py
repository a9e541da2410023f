"""Challenges of second steps, and the verification of their answers (R36).

Each attempt is claimed in the store before its answer is compared, so that concurrent guesses count. All failures have
the same outcome: a malformed, foreign, expired or used challenge, a wrong code, a forged credential.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sidecar.domain.factors import FactorId, FactorKind
from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import UserId, UserRecord
from sidecar.identity.factors.passkeys import Passkeys, user_of
from sidecar.identity.factors.totp import matching_step
from sidecar.identity.hash_limits import Limited, LoginLimits
from sidecar.identity.security_mails import SecurityChange, SecurityMails
from sidecar.identity.sessions import Client, Clock, Entropy
from sidecar.store.factor_proofs import ChallengeUse, FactorProof
from sidecar.store.factors import AttemptClaimed, AttemptLimited, FactorList, Factors
from sidecar.store.outcomes import NoUser
from sidecar.tokens.challenges import (
    CHALLENGE_SECONDS,
    NONCE_BYTES,
    Challenge,
    ChallengePurpose,
    new_challenge,
    read_challenge,
)
from sidecar.tokens.factor_secrets import recovery_digest, unseal
from sidecar.tokens.opaque import Pepper

USE_SECONDS: Final = CHALLENGE_SECONDS + 60
"""Seconds for which the use of a challenge is remembered: its life, and room for the clocks."""

SHORT_RETRY: Final = 30
"""Retry delay in seconds while the store is low on memory (R16)."""

WRONG_IN_A_ROW: Final = 10
"""Wrong codes of one user after which a mail goes out, and attempts wait."""


@dataclass(frozen=True, slots=True)
class IssuedChallenge:
    """Challenge for a client. ``passkey``: request options, or None. ``expires_at``: Unix seconds."""

    text: str = field(repr=False)
    methods: tuple[Method, ...]
    passkey: Mapping[str, Any] | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """Answer to a challenge, as sent: exactly one of the three."""

    challenge: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)
    credential: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WrongCode:
    """Rejected answer, deliberately without a reason."""


@dataclass(frozen=True, slots=True)
class VerifiedAttempt:
    """Correct answer that the store has not used up yet. ``proof``: for the script that does."""

    record: UserRecord
    proof: FactorProof

    @property
    def new_proof(self) -> NewProof:
        return NewProof(self.proof.method, self.proof.factor)


T = TypeVar("T")
Use = Callable[[VerifiedAttempt], Awaitable[T | WrongCode]]


class FactorAttempts:
    """Issuer and verifier of challenges. ``clock``: Unix seconds. All methods raise StoreUnavailableError."""

    def __init__(
        self,
        *,
        factors: Factors,
        limits: LoginLimits,
        mails: SecurityMails,
        passkeys: Passkeys,
        pepper: Pepper,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.passkeys = passkeys
        self._factors = factors
        self._limits = limits
        self._mails = mails
        self._pepper = pepper
        self._clock = clock
        self._entropy = entropy

    async def issue(self, user: UserId, purpose: ChallengePurpose) -> IssuedChallenge | NoUser:
        """Return a challenge for a user, with the methods that can answer it."""
        held = await self._factors.listing(user)
        if isinstance(held, NoUser):
            return held
        challenge = self._new(purpose, user, held.record.epoch)
        credentials = self._credentials(held) if purpose is not ChallengePurpose.TOKEN else {}
        methods = [
            method
            for method, present in (
                (Method.TOTP, held.of_kind(FactorKind.TOTP)),
                (Method.PASSKEY, credentials),
                (Method.RECOVERY_CODE, held.recovery_codes),
            )
            if present
        ]
        signed = challenge.signed_bytes(self._pepper)
        options = self.passkeys.request_options(signed, list(credentials.values())) if credentials else None
        return IssuedChallenge(challenge.text(self._pepper), tuple(methods), options, challenge.expires_at)

    def issue_anonymous(self) -> IssuedChallenge:
        """Return a challenge for a sign-in by a passkey alone. It names no user and stores nothing."""
        challenge = self._new(ChallengePurpose.PASSKEY, None, 0)
        options = self.passkeys.request_options(challenge.signed_bytes(self._pepper), ())
        return IssuedChallenge(challenge.text(self._pepper), (Method.PASSKEY,), options, challenge.expires_at)

    async def verify(
        self,
        attempt: Attempt,
        purpose: ChallengePurpose,
        client: Client,
        use: Use[T],
        *,
        user: UserId | None = None,
    ) -> T | WrongCode | Limited:
        """Verify an answer and call ``use`` with it, which uses it up and returns WrongCode if the store refuses it.

        ``user``: only a challenge of this user counts. Failures count for user, address and challenge.
        """
        refused = Limited(SHORT_RETRY) if self._limits.memory_low else self._limits.refused(client.address)
        if refused is not None:
            return refused
        challenge = read_challenge(self._pepper, attempt.challenge, purpose, self._clock())
        owner = self._owner(challenge, attempt, user)
        admitted = await self._limits.reserve(owner or "unknown", client.address)
        if isinstance(admitted, Limited):
            return admitted
        failed = True  # also if it ends without an outcome
        try:
            outcome: T | WrongCode | Limited = WrongCode()
            if challenge is not None and owner is not None:
                outcome = await self._try(challenge, owner, attempt, use)
            failed = isinstance(outcome, WrongCode)
        finally:
            await self._limits.settle(admitted, failed=failed)
        return outcome

    def _owner(self, challenge: Challenge | None, attempt: Attempt, user: UserId | None) -> UserId | None:
        if challenge is None:
            return None
        owner = challenge.user or UserId(user_of(attempt.credential or {}))
        return owner if owner and user in {None, owner} else None

    async def _try(self, challenge: Challenge, owner: UserId, attempt: Attempt, use: Use[T]) -> T | WrongCode | Limited:
        held = await self._factors.listing(owner)
        if isinstance(held, NoUser) or not held.record.may_sign_in:
            return WrongCode()
        if challenge.user and challenge.epoch != held.record.epoch:
            return WrongCode()
        once = ChallengeUse(challenge.nonce, USE_SECONDS)
        claimed = await self._factors.claim_attempt(owner, once, code=attempt.credential is None)
        match claimed:
            case AttemptLimited(seconds):
                return Limited(max(1, math.ceil(seconds)))
            case AttemptClaimed(wrong):
                proof = self._prove(held, challenge, attempt, once)
                outcome: T | WrongCode = (
                    WrongCode() if proof is None else await use(VerifiedAttempt(held.record, proof))
                )
                if isinstance(outcome, WrongCode):
                    self._report_wrong(held.record, wrong)
                elif proof is not None and proof.method is Method.RECOVERY_CODE:
                    self._mails.report(held.record, SecurityChange.RECOVERY_CODE_USED)
                return outcome
            case _:
                return WrongCode()

    def _report_wrong(self, record: UserRecord, wrong: int) -> None:
        if wrong == WRONG_IN_A_ROW:
            self._mails.report(record, SecurityChange.WRONG_CODES)

    def _prove(
        self, held: FactorList, challenge: Challenge, attempt: Attempt, once: ChallengeUse
    ) -> FactorProof | None:
        user = held.record.id
        if attempt.credential is not None:
            found = self.passkeys.verify_assertion(
                attempt.credential, challenge.signed_bytes(self._pepper), user, self._credentials(held)
            )
            if found is None:
                return None
            return FactorProof(Method.PASSKEY, found.factor, counter=found.counter, challenge=once)
        if attempt.recovery_code is not None:
            digest = recovery_digest(self._pepper, user, attempt.recovery_code)
            return None if digest is None else FactorProof(Method.RECOVERY_CODE, digest=digest, challenge=once)
        return self._matching_device(held, attempt.code or "", once)

    def _matching_device(self, held: FactorList, code: str, once: ChallengeUse) -> FactorProof | None:
        """Return the proof of the device with this code. Compares all devices, so that the duration reveals nothing."""
        found: FactorProof | None = None
        for stored in held.of_kind(FactorKind.TOTP):
            secret = unseal(self._pepper, held.record.id, stored.factor.id, stored.sealed)
            step = None if secret is None else matching_step(secret, code, self._clock())
            if step is not None:
                found = FactorProof(Method.TOTP, stored.factor.id, step=step, challenge=once)
        return found

    def _credentials(self, held: FactorList) -> dict[FactorId, bytes]:
        """Return the user's passkeys; none where passkeys are off. A secret that does not open is left out."""
        if not self.passkeys.available:
            return {}
        opened = {
            stored.factor.id: unseal(self._pepper, held.record.id, stored.factor.id, stored.sealed)
            for stored in held.of_kind(FactorKind.PASSKEY)
        }
        return {factor: credential for factor, credential in opened.items() if credential is not None}

    def _new(self, purpose: ChallengePurpose, user: UserId | None, epoch: int) -> Challenge:
        return new_challenge(purpose, user, epoch, now=self._clock(), entropy=self._entropy(NONCE_BYTES))
