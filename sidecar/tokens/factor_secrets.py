"""Secrets of second factors: how they are sealed for the store, and recovery codes (R35).

A sealed secret is bound to account, user and factor, so that it cannot be moved to another one. Recovery codes are
stored as keyed digests. The functions are pure: entropy is an argument.
"""

import base64
import binascii
import re
from typing import Final

from cryptography.exceptions import InvalidTag

from sidecar.domain.factors import FactorId, FactorKind
from sidecar.domain.users import UserId
from sidecar.tokens.ids import account_of, letters
from sidecar.tokens.opaque import Pepper, Purpose

NONCE_BYTES: Final = 12
"""Bytes of the AES-GCM nonce."""

RECOVERY_CODES: Final = 10
RECOVERY_CODE_BYTES: Final = 10
"""Bytes of one recovery code: 80 bits, 16 characters."""

_FACTOR: Final = re.compile(r"(totp|passkey)_[a-z2-7]{16}")
_CODE: Final = re.compile(r"[a-z2-7]{16}")
_MAX_TYPED: Final = 64


def new_factor_id(kind: FactorKind, entropy: bytes) -> FactorId:
    """Return a new id: the kind, and 16 characters of ``entropy``."""
    return FactorId(f"{kind.value}_{letters(entropy, 16)}")


def is_factor_id(text: str) -> bool:
    """Return True if ``text`` has the form of a factor id."""
    return _FACTOR.fullmatch(text) is not None


def seal(pepper: Pepper, user: UserId, factor: FactorId, secret: bytes, nonce: bytes) -> str:
    """Return ``secret`` as it is stored: AES-256-GCM, in base64url.

    ``nonce``: 12 random bytes. Raises ValueError if ``user`` is not a user id.
    """
    sealed = pepper.cipher.encrypt(nonce, secret, _owner(user, factor))
    return base64.urlsafe_b64encode(nonce + sealed).decode("ascii")


def unseal(pepper: Pepper, user: UserId, factor: FactorId, sealed: str) -> bytes | None:
    """Return the secret of this user's factor, or None for one that is damaged or of another owner or pepper."""
    try:
        raw = base64.urlsafe_b64decode(sealed.encode("ascii"))
        return pepper.cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _owner(user, factor))
    except (InvalidTag, binascii.Error, ValueError):
        return None


def _owner(user: UserId, factor: FactorId) -> bytes:
    """Return the associated data. None of the ids contains a space."""
    account = account_of(user)
    if account is None or not is_factor_id(factor):
        raise ValueError("a sealed secret needs a well-formed user id and factor id")
    return f"factor {account} {user} {factor}".encode("ascii")


def recovery_code(entropy: bytes) -> str:
    """Return a recovery code for display, four groups of four characters. ``entropy``: 10 random bytes."""
    code = letters(entropy, 16)
    return "-".join(code[start : start + 4] for start in range(0, 16, 4))


def recovery_digest(pepper: Pepper, user: UserId, typed: str) -> str | None:
    """Return the stored form of a typed code, bound to its user. None: it cannot be a code.

    Case, spaces and hyphens are ignored.
    """
    if len(typed) > _MAX_TYPED:
        return None
    code = typed.replace("-", "").replace(" ", "").lower()
    if _CODE.fullmatch(code) is None:
        return None
    return pepper.mac(Purpose.RECOVERY_CODE, user, code).hex()
