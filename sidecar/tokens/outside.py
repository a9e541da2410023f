"""Believe a token of a trusted outside issuer, or say why not (R10). Pure: keys and time are arguments.

It may say who its user is over there, and nothing else: ``acct``, ``tv``, ``sid``, roles and scopes in it are not
looked at. The e-mail counts only where ``email_verified`` is JSON true. Read as strictly as our own tokens, but for
what OpenID providers differ in: ``typ`` may be missing, ``aud`` may be a list, other claims may be anything.
"""

from dataclasses import dataclass, field
from typing import Final

from sidecar.tokens.jwk_set import OutsideKey
from sidecar.tokens.strict import MalformedError, any_object, integer, segments, text
from sidecar.vocabulary.decision import Reason

_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""Not ``logout+jwt``, ``secevent+jwt`` and kin: signed with the same keys, and no proof of a user's presence."""

_REFUSED: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})
"""Header members that bring a key along, or change how the rest is read. ``x5t`` only names a certificate: ignored."""

_MAX_SUBJECT: Final = 255  # OpenID Connect Core section 2
_MAX_ISSUER: Final = 512


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed of one issuer: tokens for this audience, signed with these algorithms. ``issuer`` as in iss."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    email_claim: str = "email"


@dataclass(frozen=True, slots=True)
class Outsider:
    """A token that names a trusted issuer as its own; nothing of it is believed yet."""

    token: str = field(repr=False)
    issuer: str


@dataclass(frozen=True, slots=True)
class Presented:
    """A token taken apart, not believed."""

    kid: str
    algorithm: str
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    payload: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutsideClaims:
    """What an authentic token says. Unix seconds; ``email`` is None unless its issuer has verified it."""

    issuer: str
    subject: str
    audience: str
    issued_at: int
    expires_at: int
    not_before: int | None
    jti: str
    email: str | None = field(repr=False)


def issuer_named(token: str) -> str | None:
    """Whose token it claims to be; None when that cannot be read."""
    try:
        _, _, payload, _ = segments(token)
        issuer = any_object(payload).get("iss")
    except (ValueError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) and len(issuer) <= _MAX_ISSUER else None


def read(token: str, trust: Trust) -> Presented | Reason:
    """The token taken apart, by the issuer's own rules."""
    try:
        signed, header_bytes, payload, signature = segments(token)
        header = any_object(header_bytes)
        kind, algorithm = header.get("typ", "jwt"), header.get("alg")
        if not isinstance(kind, str) or kind.lower() not in _TYPES or not _REFUSED.isdisjoint(header):
            raise MalformedError
        if not isinstance(algorithm, str) or algorithm not in trust.algorithms:
            raise MalformedError
        return Presented(text(header, "kid"), algorithm, signed, signature, any_object(payload))
    except (ValueError, RecursionError):
        return Reason.MALFORMED_TOKEN


def believe(presented: Presented, key: OutsideKey | None, trust: Trust) -> OutsideClaims | Reason:
    """All that follows from the bytes and the key alone; ``key`` is what the issuer has under the token's kid."""
    if key is None:
        return Reason.UNKNOWN_KEY
    if presented.algorithm not in key.algorithms:
        return Reason.MALFORMED_TOKEN
    if not key.signed(presented.signed, presented.signature, presented.algorithm):
        return Reason.INVALID_SIGNATURE
    try:
        if text(presented.payload, "iss") != trust.issuer:
            return Reason.WRONG_ISSUER
        if trust.audience not in _audiences(presented.payload):
            return Reason.WRONG_AUDIENCE
        return _claims(presented.payload, trust)
    except MalformedError:
        return Reason.MALFORMED_TOKEN


def timely(claims: OutsideClaims, *, now: int, leeway: int) -> Reason | None:
    """Why these authentic claims are not good at ``now``, or None."""
    horizon = now + leeway
    if claims.issued_at > horizon or (claims.not_before is not None and claims.not_before > horizon):
        return Reason.NOT_YET_VALID
    return Reason.EXPIRED if now >= claims.expires_at + leeway else None


def _audiences(payload: dict[str, object]) -> list[str]:
    named = payload.get("aud")
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise MalformedError
    return listed


def _claims(payload: dict[str, object], trust: Trust) -> OutsideClaims:
    subject = text(payload, "sub")
    if len(subject) > _MAX_SUBJECT or not subject.isprintable():
        raise MalformedError
    email, jti = payload.get(trust.email_claim), payload.get("jti", "")
    verified = payload.get("email_verified") is True and isinstance(email, str)
    return OutsideClaims(
        issuer=trust.issuer,
        subject=subject,
        audience=trust.audience,
        issued_at=integer(payload, "iat"),
        expires_at=integer(payload, "exp"),
        not_before=integer(payload, "nbf") if "nbf" in payload else None,
        jti=jti if isinstance(jti, str) else "",
        email=str(email) if verified else None,
    )
