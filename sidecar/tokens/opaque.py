"""Opaque secrets: refresh tokens, invitations, password resets and PEP keys. Their format and verification.

A **refresh token** contains user, session, counter and an HMAC over them, keyed by the pepper. No secret is stored, a
retry receives the same successor without storing it, and an older token is provably genuine (R14). A forged token has
no effect.

**Invitation, reset and PEP secrets** are random and of distinct kinds. The store has a keyed digest only (R19), so a
reader of Redis can neither use nor replace them.

The functions are pure: entropy is an argument. No secret appears in a repr.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sidecar.domain.users import AccountId, SessionId, UserId
from sidecar.tokens.ids import account_of, letters

PEPPER_BYTES: Final = 32
SECRET_ENTROPY_BYTES: Final = 20
"""Bytes of one secret: 160 bits, an even number of base32 characters, too many to search."""


class Purpose(StrEnum):
    """Use of a key derived from the pepper.

    Each purpose has its own key, so MACs of different kinds cannot be swapped.
    """

    PASSWORD = "password"  # noqa: S105 (a name, not a secret)
    REFRESH = "refresh"
    INVITATION = "inv"
    RESET = "rst"
    PEP = "pep"
    IDENTITY = "identity"
    LIMITS = "limits"
    AUDIT = "audit"
    DATA_SET = "data_set"
    POLICY = "policy"
    LAST_GOOD_POLICY = "last_good_policy"
    CHALLENGE = "challenge"
    RECOVERY_CODE = "recovery_code"
    ENROLMENT = "enrolment"


class Pepper:
    """Root secret of a deployment, 32 bytes. Only keys derived from it are used."""

    __slots__ = ("_keys", "cipher", "identity")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != PEPPER_BYTES:
            raise ValueError(f"a pepper has {PEPPER_BYTES} bytes, not {len(secret)}")
        self._keys = {
            purpose: hmac.digest(secret, b"sidecar/1/" + purpose.value.encode("ascii"), hashlib.sha256)
            for purpose in Purpose
        }
        self.identity = self._keys[Purpose.IDENTITY].hex()[:32]
        """Public name of the pepper. Data made with the pepper carries it, so a wrong pepper is detected."""
        sealing = HKDF(SHA256(), PEPPER_BYTES, salt=None, info=b"sidecar/1/factor-secrets").derive(secret)
        self.cipher = AESGCM(sealing)
        """Cipher of the secrets that the store holds sealed (R35)."""

    def mac(self, purpose: Purpose, *parts: str | bytes) -> bytes:
        """Return the HMAC-SHA256 over ``parts``, each with its length: different lists are different bytes."""
        mac = hmac.new(self._keys[purpose], digestmod=hashlib.sha256)
        for part in parts:
            raw = part.encode("utf-8") if isinstance(part, str) else part
            mac.update(len(raw).to_bytes(8, "big"))
            mac.update(raw)
        return mac.digest()

    def __repr__(self) -> str:
        return "Pepper(…)"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Content of a refresh token: the ``counter``-th of its session."""

    user: UserId
    session: SessionId
    counter: int


_REFRESH: Final = re.compile(r"rt_([a-z2-7]{12})_([a-z2-7]{12})_([a-z2-7]{26})_(0|[1-9][0-9]{0,14})_([a-z2-7]{52})")


def refresh_token(pepper: Pepper, refresh: RefreshToken) -> str:
    """Return the refresh token of this session and counter. Equal arguments give equal text (R14's grace)."""
    return f"rt_{refresh.user[4:]}_{refresh.session[4:]}_{refresh.counter}_{_proof(pepper, refresh)}"


def read_refresh(pepper: Pepper, token: str) -> RefreshToken | None:
    """Return the content of a refresh token, or None if this deployment did not issue it.

    Only a verified token may end a session (R14).
    """
    match = _REFRESH.fullmatch(token)
    if match is None:
        return None
    account, own, session, counter, proof = match.groups()
    refresh = RefreshToken(UserId(f"usr_{account}_{own}"), SessionId(f"ses_{session}"), int(counter))
    return refresh if hmac.compare_digest(proof, _proof(pepper, refresh)) else None


def _proof(pepper: Pepper, refresh: RefreshToken) -> str:
    mac = pepper.mac(Purpose.REFRESH, refresh.user, refresh.session, str(refresh.counter))
    return base64.b32encode(mac).decode("ascii").rstrip("=").lower()


class SecretKind(StrEnum):
    """Kinds of random secrets. Each secret starts with its kind, so kinds cannot be confused."""

    INVITATION = "inv"
    RESET = "rst"
    PEP = "pep"


@dataclass(frozen=True, slots=True)
class Secret:
    """Parsed random secret. ``account`` and ``owner`` are unverified until the digest has been compared.

    ``owner`` is 12 characters: of the user's id for invitations and resets, of the PEP's id for a PEP key.
    ``maker``: of the user's id that made and saw a reset, else empty.
    """

    kind: SecretKind
    account: AccountId
    owner: str
    secret: str = field(repr=False)
    maker: str = ""

    @property
    def user(self) -> UserId:
        """Return the user id of an invitation or a reset."""
        return UserId(f"usr_{self.account[4:]}_{self.owner}")

    @property
    def text(self) -> str:
        """Return the text that is given to the holder once."""
        return f"{self.kind.value}_{self.account[4:]}_{self.owner}_{self.secret}{self.maker}"


_MARK: Final = 8  # characters: 40 bits of MAC
_SECRET: Final = re.compile(r"(inv|rst|pep)_([a-z2-7]{12})_([a-z2-7]{12})_([a-z2-7]{32})([a-z2-7]{12})?")


def new_secret(kind: SecretKind, user: UserId, entropy: bytes) -> Secret:
    """Return a new invitation or reset secret for ``user``.

    ``entropy`` is 20 bytes. Raises ValueError if ``user`` is not a user id.
    """
    account = account_of(user)
    if account is None:
        raise ValueError("a secret needs a well-formed user id")
    return Secret(kind, account, user[-12:], letters(entropy, 32))


def new_pep_secret(account: AccountId, entropy: bytes) -> Secret:
    """Return a new PEP key of ``account``. 8 bytes of ``entropy`` form its id, the rest its secret."""
    return Secret(SecretKind.PEP, account, letters(entropy[:8], 12), letters(entropy[8:], 32))


def with_mark(pepper: Pepper, secret: Secret) -> Secret:
    """Return the secret with its last characters replaced by a MAC over the rest: 120 random bits remain.

    A mark proves without the store that this deployment made the secret. It does not prove that the secret is in force.
    """
    return replace(secret, secret=secret.secret[:-_MARK] + _mark(pepper, secret))


def has_mark(pepper: Pepper, secret: Secret) -> bool:
    """Return True if ``secret`` ends in its mark. A forged secret passes once in 2**40 tries."""
    return hmac.compare_digest(secret.secret[-_MARK:], _mark(pepper, secret))


def _mark(pepper: Pepper, secret: Secret) -> str:
    rest = secret.secret[:-_MARK]
    return letters(pepper.mac(Purpose(secret.kind.value), "mark", secret.account, secret.owner, rest), _MARK)


def read_secret(kind: SecretKind, text: str) -> Secret | None:
    """Return ``text`` parsed, or None if it is not a secret of this kind. Unverified until its digest is compared."""
    match = _SECRET.fullmatch(text)
    if match is None or match[1] != kind.value or (match[5] and kind is not SecretKind.RESET):
        return None
    return Secret(kind, AccountId("acc_" + match[2]), match[3], match[4], match[5] or "")


def digest(pepper: Pepper, secret: Secret) -> str:
    """Return the stored form of a secret: 64 hex digits, bound to kind, account and owner (R19)."""
    return pepper.mac(Purpose(secret.kind.value), secret.account, secret.owner, secret.secret).hex()
