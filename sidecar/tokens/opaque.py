"""Secrets that are not JWTs: refresh tokens, invitations, password resets, PEP keys. Their form, and what proves them.

A **refresh token** carries user, session and counter and an HMAC over them under the pepper, so nothing secret is
stored, a retry gets the same successor without keeping it, and an older token is provably one of ours (R14); garbage
is only garbage. **Invitation, reset and PEP secrets** are random, of distinct kinds, and the store keeps a keyed digest
(R19): who reads Redis can neither use nor replace them. Pure: entropy is an argument. No secret shows in a repr.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from sidecar.domain.users import AccountId, SessionId, UserId
from sidecar.tokens.ids import account_of, letters

PEPPER_BYTES: Final = 32
SECRET_ENTROPY_BYTES: Final = 20
"""160 bits: an even number of base32 characters, and no search is possible."""


class Purpose(StrEnum):
    """What a key derived from the pepper is for. One key a purpose: no MAC of one kind passes as another."""

    PASSWORD = "password"  # noqa: S105 (a name, not a secret)
    REFRESH = "refresh"
    INVITATION = "inv"
    RESET = "rst"
    PEP = "pep"
    IDENTITY = "identity"
    LIMITS = "limits"
    AUDIT = "audit"
    DATA_SET = "data_set"


class Pepper:
    """The 32 secret bytes of a deployment. Only keys derived from it are ever used."""

    __slots__ = ("_keys", "identity")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != PEPPER_BYTES:
            raise ValueError(f"a pepper has {PEPPER_BYTES} bytes, not {len(secret)}")
        self._keys = {
            purpose: hmac.digest(secret, b"sidecar/1/" + purpose.value.encode("ascii"), hashlib.sha256)
            for purpose in Purpose
        }
        self.identity = self._keys[Purpose.IDENTITY].hex()[:32]
        """Names the pepper without betraying it: kept beside what was made with it, so that a wrong one is noticed."""

    def mac(self, purpose: Purpose, *parts: str | bytes) -> bytes:
        """HMAC-SHA256 over ``parts``, each with its length, so that no two lists of parts are the same bytes."""
        mac = hmac.new(self._keys[purpose], digestmod=hashlib.sha256)
        for part in parts:
            raw = part.encode("utf-8") if isinstance(part, str) else part
            mac.update(len(raw).to_bytes(8, "big"))
            mac.update(raw)
        return mac.digest()

    def __repr__(self) -> str:
        return "Pepper(…)"


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh token says: the ``counter``-th of its session."""

    user: UserId
    session: SessionId
    counter: int


_REFRESH: Final = re.compile(r"rt_([a-z2-7]{12})_([a-z2-7]{12})_([a-z2-7]{26})_(0|[1-9][0-9]{0,14})_([a-z2-7]{52})")


def refresh_token(pepper: Pepper, refresh: Refresh) -> str:
    """The one token of this session and counter: the same arguments give the same text (that is R14's grace)."""
    return f"rt_{refresh.user[4:]}_{refresh.session[4:]}_{refresh.counter}_{_proof(pepper, refresh)}"


def read_refresh(pepper: Pepper, token: str) -> Refresh | None:
    """What a refresh token says, or None when we did not make it. Only a proven one may end a session (R14)."""
    match = _REFRESH.fullmatch(token)
    if match is None:
        return None
    account, own, session, counter, proof = match.groups()
    refresh = Refresh(UserId(f"usr_{account}_{own}"), SessionId(f"ses_{session}"), int(counter))
    return refresh if hmac.compare_digest(proof, _proof(pepper, refresh)) else None


def _proof(pepper: Pepper, refresh: Refresh) -> str:
    mac = pepper.mac(Purpose.REFRESH, refresh.user, refresh.session, str(refresh.counter))
    return base64.b32encode(mac).decode("ascii").rstrip("=").lower()


class Kind(StrEnum):
    """The kinds of random secrets. Each starts with its kind, so that none is ever taken for another."""

    INVITATION = "inv"
    RESET = "rst"
    PEP = "pep"


@dataclass(frozen=True, slots=True)
class Secret:
    """A random secret, taken apart. ``account`` and ``owner`` are claims until the digest has been compared.

    ``owner`` is 12 characters: of the user's id for invitations and resets, of the PEP's own for a PEP key.
    """

    kind: Kind
    account: AccountId
    owner: str
    secret: str = field(repr=False)

    @property
    def user(self) -> UserId:
        """Whom an invitation or a reset is for."""
        return UserId(f"usr_{self.account[4:]}_{self.owner}")

    @property
    def text(self) -> str:
        """The word that its holder gets, once."""
        return f"{self.kind.value}_{self.account[4:]}_{self.owner}_{self.secret}"


_MARK: Final = 8  # characters: 40 bits of MAC
_SECRET: Final = re.compile(r"(inv|rst|pep)_([a-z2-7]{12})_([a-z2-7]{12})_([a-z2-7]{32})")


def new_secret(kind: Kind, user: UserId, entropy: bytes) -> Secret:
    """A fresh invitation or reset secret for ``user``."""
    account = account_of(user)
    if account is None:
        raise ValueError("a secret needs a well-formed user id")
    return Secret(kind, account, user[-12:], letters(entropy, 32))


def new_pep_secret(account: AccountId, entropy: bytes) -> Secret:
    """A fresh PEP key of ``account``; the first bytes of ``entropy`` name it, the rest are its secret."""
    return Secret(Kind.PEP, account, letters(entropy[:8], 12), letters(entropy[8:], 32))


def with_mark(pepper: Pepper, secret: Secret) -> Secret:
    """The same secret with its last characters replaced by a MAC over the rest: 120 bits of chance remain.

    A mark shows without the store that this deployment made the secret. It does not show that the secret is in force.
    """
    return replace(secret, secret=secret.secret[:-_MARK] + _mark(pepper, secret))


def has_mark(pepper: Pepper, secret: Secret) -> bool:
    """Report whether ``secret`` ends in its mark. A made-up one does once in 2**40 tries."""
    return hmac.compare_digest(secret.secret[-_MARK:], _mark(pepper, secret))


def _mark(pepper: Pepper, secret: Secret) -> str:
    rest = secret.secret[:-_MARK]
    return letters(pepper.mac(Purpose(secret.kind.value), "mark", secret.account, secret.owner, rest), _MARK)


def read_secret(kind: Kind, text: str) -> Secret | None:
    """``text`` taken apart, or None when it is not a secret of this kind. Believed only after its digest."""
    match = _SECRET.fullmatch(text)
    if match is None or match[1] != kind.value:
        return None
    return Secret(kind, AccountId("acc_" + match[2]), match[3], match[4])


def digest(pepper: Pepper, secret: Secret) -> str:
    """What the store keeps of a secret: 64 hex digits, bound to kind, account and owner (R19)."""
    return pepper.mac(Purpose(secret.kind.value), secret.account, secret.owner, secret.secret).hex()
