"""Verification of access tokens (R18). Pure: the time is an argument, the store is not used.

Signature and claims are checked here, because PyJWT accepts duplicate members, ``exp`` as a string, ``1e9`` as a time
and any ``typ``, and takes 30 µs. libsodium (PyNaCl) verifies the signature itself, in half the time of OpenSSL (69 and
133 µs on one machine), and rejects each key and signature that is not canonical. One algorithm, one type, three
canonical base64url segments and JSON without duplicate members are accepted; ambiguous input is rejected.

Verification never raises. Reasons are returned in the documented order. Token text does not leave this module.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from sidecar.domain.decision import Reason
from sidecar.domain.users import SessionId, UserId
from sidecar.tokens.claims import Claims
from sidecar.tokens.ids import account_of, is_session_id
from sidecar.tokens.keyset import ALGORITHM, TYPE, KeySet
from sidecar.tokens.strict_json import MAX_TOKEN, MalformedJsonError, integer, segments, text, whole_object

__all__ = ["MAX_TOKEN", "Verifier"]

_MAX_JTI: Final = 128

_KEY_CARRYING: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "b64", "zip", "enc"})
"""Rejected header members: they supply a key or change how the rest is parsed.

Other members are ignored (RFC 7515 section 4).
"""


class Verifier:
    """Verifier of the tokens of one issuer for one audience. Immutable: a new key set needs a new Verifier.

    ``version`` identifies every input of a result except the token and the time (R29).
    """

    __slots__ = ("_audience", "_former", "_issuer", "_keys", "_leeway", "_lifetime", "version")

    def __init__(self, keys: KeySet, issuer: str, audience: str, access_ttl: int, leeway: int = 5) -> None:
        if not 0 <= leeway <= 60:
            raise ValueError(f"a leeway of {leeway} s is outside 0 to 60 s")
        self._keys = {kid: VerifyKey(key.public_bytes_raw()) for kid, key in keys.verifying.items()}
        self._former = keys.former
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._lifetime = access_ttl + leeway
        parts = [keys.version, issuer, audience, access_ttl, leeway]
        self.version = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def verify(self, token: str, *, now: int) -> Claims | Reason:
        """Verify an access token at ``now`` (Unix seconds). Return the claims, or the first Reason to reject it."""
        claims = self.authentic(token)
        if isinstance(claims, Reason):
            return claims
        return self.timely(claims, now=now) or claims

    def authentic(self, token: str) -> Claims | Reason:
        """Verify everything except the times. Return the claims or a Reason; a cache may hold the result."""
        return self._authentic(token, self._keys.get)

    def of_session(self, token: str, *, now: int) -> Claims | Reason:
        """Return the claims of an authentic access token of any age, to renew or end its session (R5).

        This is the only use of former keys. The result alone grants no access.
        """
        claims = self._authentic(token, lambda kid: self._keys.get(kid) or self._former_key(kid, now))
        if isinstance(claims, Claims) and claims.issued_at > now + self._leeway:
            return Reason.NOT_YET_VALID
        return claims

    def _former_key(self, kid: str, now: int) -> VerifyKey | None:
        former = self._former.get(kid)
        return None if former is None or now >= former.until else VerifyKey(former.public.public_bytes_raw())

    def _authentic(self, token: str, find: Callable[[str], VerifyKey | None]) -> Claims | Reason:
        try:
            parsed = _parse(token)
        except (ValueError, RecursionError):  # UnicodeError, JSONDecodeError and binascii.Error are ValueErrors
            return Reason.MALFORMED_TOKEN
        key = find(parsed.kid)
        if key is None:
            return Reason.UNKNOWN_KEY
        if not _signed_by(key, parsed):
            return Reason.INVALID_SIGNATURE
        if parsed.claims.issuer != self._issuer:
            return Reason.WRONG_ISSUER
        if parsed.claims.audience != self._audience:
            return Reason.WRONG_AUDIENCE
        return parsed.claims

    def timely(self, claims: Claims, *, now: int) -> Reason | None:
        """Return the Reason why authentic claims are invalid at ``now`` (Unix seconds), or None.

        Caches call it at each hit (R29). A lifetime longer than this sidecar grants is checked last. A token that is
        also too old is therefore reported as expired, which is clearer to an operator who shortened the lifetime.
        """
        horizon = now + self._leeway
        if claims.issued_at > horizon or (claims.not_before is not None and claims.not_before > horizon):
            return Reason.NOT_YET_VALID
        if now >= claims.expires_at + self._leeway:
            return Reason.EXPIRED
        if claims.expires_at - claims.issued_at > self._lifetime:
            return Reason.MALFORMED_TOKEN
        return None

    def bounds(self, claims: Claims) -> tuple[int, int]:
        """Return the start and the excluded end (Unix seconds) of the time in which timely claims remain timely."""
        return max(claims.issued_at, claims.not_before or 0) - self._leeway, claims.expires_at + self._leeway


@dataclass(frozen=True, slots=True)
class _Parsed:
    kid: str
    claims: Claims
    signed: bytes
    signature: bytes


def _parse(token: str) -> _Parsed:
    signed, header, payload, signature = segments(token)
    kid = _kid(whole_object(header))
    return _Parsed(kid, _claims(whole_object(payload)), signed, signature)


def _signed_by(key: VerifyKey, parsed: _Parsed) -> bool:
    try:
        key.verify(parsed.signed, parsed.signature)
    except (BadSignatureError, ValueError):  # a signature of another length
        return False
    return True


def _kid(header: dict[str, object]) -> str:
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or not _KEY_CARRYING.isdisjoint(header):
        raise MalformedJsonError
    return text(header, "kid")


def _claims(payload: dict[str, object]) -> Claims:
    user = text(payload, "sub")
    account = account_of(user)
    session = text(payload, "sid")
    jti = text(payload, "jti")
    if account is None or text(payload, "acct") != account or text(payload, "client_id") != user:
        raise MalformedJsonError
    if not is_session_id(session):
        raise MalformedJsonError
    if len(jti) > _MAX_JTI or not jti.isascii():
        raise MalformedJsonError
    return Claims(
        issuer=text(payload, "iss"),
        audience=text(payload, "aud"),
        user=UserId(user),
        account=account,
        session=SessionId(session),
        jti=jti,
        issued_at=integer(payload, "iat"),
        expires_at=integer(payload, "exp"),
        epoch=integer(payload, "tv"),
        not_before=integer(payload, "nbf") if "nbf" in payload else None,
    )
