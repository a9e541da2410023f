"""Live sessions: their end, and the proofs by which their user signed in. Conditions of a policy are about the proofs.

Every instant is in Unix seconds. The types are Structs for the reason given in access.py: a record holds several.
"""

from enum import StrEnum

import msgspec


class Method(StrEnum):
    """Kind of a proof. ``OUTSIDE``: a trusted external issuer vouches for the sign-in. ``SECOND_FACTOR``: it also
    vouches for a second factor of an unknown kind. No user of the sidecar can enrol one."""

    PASSWORD = "password"
    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery-code"
    OUTSIDE = "outside"
    SECOND_FACTOR = "second-factor"


SECOND_FACTORS = frozenset({Method.TOTP, Method.PASSKEY, Method.RECOVERY_CODE, Method.SECOND_FACTOR})
"""Methods that count as a second factor."""


class Proof(msgspec.Struct, frozen=True, gc=False):
    """Proof that a session has shown. ``factor``: id of the TOTP device or passkey; empty for other methods."""

    method: Method
    factor: str
    at: int


class NewProof(msgspec.Struct, frozen=True, gc=False):
    """Proof that was just given. The store adds the time."""

    method: Method
    factor: str = ""


class LiveSession(msgspec.Struct, frozen=True, gc=False):
    """Live session of a user record (R15). ``signed_in_at``: the last proof, at sign-in or step-up."""

    ends_at: int
    signed_in_at: int
    methods: tuple[Proof, ...] = ()


_AMR = {
    Method.PASSWORD: ("pwd",),
    Method.TOTP: ("otp", "mfa"),
    Method.PASSKEY: ("swk", "user", "mfa"),
    Method.RECOVERY_CODE: ("otp", "mfa"),
    Method.OUTSIDE: (),
    Method.SECOND_FACTOR: ("mfa",),
}
"""Names of RFC 8176. ``swk``: a passkey may be kept in software; nothing proves the contrary."""


def amr_of(proofs: tuple[Proof, ...]) -> tuple[str, ...]:
    """Return the proofs as authentication method references (RFC 8176), sorted."""
    return tuple(sorted({name for proof in proofs for name in _AMR[proof.method]}))
