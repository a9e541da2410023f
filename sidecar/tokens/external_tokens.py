"""Verification of tokens from external issuers (R10). Pure: keys and time are arguments.

The token only identifies its user at the issuer. ``acct``, ``tv``, ``sid``, roles and scopes in it are ignored. The
issuer's entry defines when an e-mail is verified (``EmailProof``).

Parsing is as strict as for the sidecar's own tokens, except where OpenID providers differ. ``typ`` and ``kid`` may be
missing, ``aud`` may be a list, dates may have a fraction, and other claims may have any value. A token with ``events``
is a security event (for example a logout, RFC 8417) and is rejected as a bearer token.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sidecar.domain.decision import Reason
from sidecar.domain.sessions import Method, Proof
from sidecar.tokens.jwk_set import IssuerKey, WantedKey
from sidecar.tokens.strict_json import MalformedJsonError, any_object, number, segments, text

_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""Accepted values of ``typ``.

``logout+jwt``, ``secevent+jwt`` and similar types are excluded. The same keys sign them, but they do not prove a user's
presence.
"""

_REFUSED: Final = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})
"""Rejected header members: they supply a key or change how the rest is parsed.

``x5t`` is accepted, because it only names a certificate.
"""

_MAX_SUBJECT: Final = 255  # OpenID Connect Core section 2
_MAX_ISSUER: Final = 512
_MAX_TIME: Final = 253_402_300_800  # the year 10000


class EmailProof(StrEnum):
    """Rule of an issuer's entry for a verified e-mail. An explicit false always means unverified."""

    CLAIM = "claim"
    """``email_verified`` is JSON true."""

    CLAIM_OR_TEXT = "claim-or-text"
    """``email_verified`` is JSON true or the string "true" (Apple, Cognito)."""

    VOUCHED = "vouched"
    """The operator vouches for every e-mail of ``email_domains``: the issuer sends no such claim (Entra, AD FS)."""


@dataclass(frozen=True, slots=True)
class IssuerTrust:
    """Accepted audience, algorithms and e-mail rule of one issuer. ``issuer`` is compared with ``iss``.

    ``email_domains`` (ASCII, lower case) apply to ``EmailProof.VOUCHED``. ``amr`` and ``acr`` map values of these
    claims to the proof that the issuer vouches for.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    email_claim: str = "email"
    audience_claim: str = "aud"
    email_verified: EmailProof = EmailProof.CLAIM
    email_domains: frozenset[str] = frozenset()
    amr: Mapping[str, Method] = field(default_factory=dict, hash=False)
    acr: Mapping[str, Method] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ExternalToken:
    """Unverified token whose ``iss`` names a trusted issuer."""

    token: str = field(repr=False)
    issuer: str


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """Parsed, unverified token."""

    wanted: WantedKey
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    payload: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ExternalClaims:
    """Claims of a token with a valid signature. Times are Unix seconds.

    ``email`` is None unless it is verified by the rule of the issuer's entry. ``unproven`` is then the reason, for the
    operator; otherwise it is empty.

    ``auth_time`` is None if the token has none that can be read. ``methods``: proofs by the issuer's entry.
    """

    issuer: str
    subject: str
    audience: str
    issued_at: int
    expires_at: int
    not_before: int | None
    jti: str
    email: str | None = field(repr=False)
    unproven: str = ""
    auth_time: int | None = None
    methods: tuple[Method, ...] = ()


def peek_issuer(token: str) -> str | None:
    """Return the unverified ``iss`` of ``token``, or None if it cannot be read."""
    try:
        _, _, payload, _ = segments(token)
        issuer = any_object(payload).get("iss")
    except (ValueError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) and len(issuer) <= _MAX_ISSUER else None


def read(token: str, trust: IssuerTrust) -> ParsedToken | Reason:
    """Parse ``token`` by the rules of its issuer. Return the unverified token or the Reason of the rejection."""
    try:
        signed, header_bytes, payload, signature = segments(token)
        header = any_object(header_bytes)
        kind, algorithm = header.get("typ", "jwt"), header.get("alg")
        if not isinstance(kind, str) or kind.lower() not in _TYPES or not _REFUSED.isdisjoint(header):
            raise MalformedJsonError
        if not isinstance(algorithm, str) or algorithm not in trust.algorithms:
            raise MalformedJsonError
        kid = text(header, "kid") if "kid" in header else None
        thumbprint = header.get("x5t", "")
        wanted = WantedKey(kid, algorithm, thumbprint if isinstance(thumbprint, str) else "")
        return ParsedToken(wanted, signed, signature, any_object(payload))
    except (ValueError, RecursionError):
        return Reason.MALFORMED_TOKEN


def verify_external(presented: ParsedToken, key: IssuerKey | None, trust: IssuerTrust) -> ExternalClaims | Reason:
    """Verify signature, issuer, audience and claims. Return the claims or the Reason of the rejection.

    ``key`` is the issuer's key for ``presented.wanted``, or None. The result does not depend on the time.
    """
    if key is None:
        return Reason.UNKNOWN_KEY
    algorithm = presented.wanted.algorithm
    if algorithm not in key.algorithms:
        return Reason.MALFORMED_TOKEN
    if not key.signed(presented.signed, presented.signature, algorithm):
        return Reason.INVALID_SIGNATURE
    try:
        if text(presented.payload, "iss") != trust.issuer:
            return Reason.WRONG_ISSUER
        if trust.audience not in _audiences(presented.payload, trust.audience_claim):
            return Reason.WRONG_AUDIENCE
        return _claims(presented.payload, trust)
    except MalformedJsonError:
        return Reason.MALFORMED_TOKEN


def check_times(claims: ExternalClaims, *, now: int, leeway: int) -> Reason | None:
    """Return the Reason why authentic claims are invalid at ``now`` (Unix seconds), or None. ``leeway`` is seconds."""
    horizon = now + leeway
    if claims.issued_at > horizon or (claims.not_before is not None and claims.not_before > horizon):
        return Reason.NOT_YET_VALID
    return Reason.EXPIRED if now >= claims.expires_at + leeway else None


def sign_in_of(claims: ExternalClaims, *, now: int, leeway: int) -> tuple[tuple[Proof, ...], int | None]:
    """Return the proofs of an external token and the time of its sign-in, or None if that is not known.

    ``OUTSIDE`` is always one of them. An ``auth_time`` in the future, or after the token was issued, is not known; the
    proofs then have the time 0 and meet no limit of age.
    """
    at = claims.auth_time
    if at is not None and at > min(now, claims.issued_at) + leeway:
        at = None
    return tuple([Proof(method, "", at or 0) for method in (Method.OUTSIDE, *claims.methods)]), at


def _audiences(payload: dict[str, object], claim: str) -> list[str]:
    named = payload.get(claim)
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise MalformedJsonError
    return listed


def _claims(payload: dict[str, object], trust: IssuerTrust) -> ExternalClaims:
    subject, jti = text(payload, "sub"), payload.get("jti", "")
    if len(subject) > _MAX_SUBJECT or not subject.isprintable() or "events" in payload:
        raise MalformedJsonError
    issued_at = number(payload, "iat")
    email, unproven = _proven_email(payload, trust)
    return ExternalClaims(
        issuer=trust.issuer,
        subject=subject,
        audience=trust.audience,
        issued_at=math.floor(issued_at),
        expires_at=math.floor(number(payload, "exp")),
        not_before=_not_before(payload, issued_at),
        jti=jti if isinstance(jti, str) else "",
        email=email,
        unproven=unproven,
        auth_time=_auth_time(payload.get("auth_time")),
        methods=_methods(payload, trust),
    )


def _auth_time(value: object) -> int | None:
    """Return Unix seconds; None for anything else. It is optional, so a malformed one does not reject the token."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MAX_TIME:
        return None
    return math.floor(value)


def _methods(payload: dict[str, object], trust: IssuerTrust) -> tuple[Method, ...]:
    """Return the proofs to which the entry maps ``amr`` and ``acr``. Other values and forms prove nothing."""
    references, context = payload.get("amr"), payload.get("acr")
    named = references if isinstance(references, list) else ()
    found = {trust.amr[one] for one in named if isinstance(one, str) and one in trust.amr}
    if isinstance(context, str) and context in trust.acr:
        found.add(trust.acr[context])
    return tuple(sorted(found))


def _not_before(payload: dict[str, object], issued_at: float) -> int | None:
    """Return the first second at which the token is valid, or None.

    Fractions (RFC 7519 section 2) count against the bearer. ``exp`` and ``iat`` are rounded down, ``iat`` because it is
    compared with the last change of epoch. The later of ``nbf`` and a fractional ``iat`` is therefore returned, rounded
    up.
    """
    starts = [number(payload, "nbf")] if "nbf" in payload else []
    if issued_at != math.floor(issued_at):
        starts.append(issued_at)
    return math.ceil(max(starts)) if starts else None


def _proven_email(payload: dict[str, object], trust: IssuerTrust) -> tuple[str | None, str]:
    """Return the verified e-mail and an empty string, or None and the reason."""
    email, verified = payload.get(trust.email_claim), payload.get("email_verified", ...)
    if not isinstance(email, str):
        return None, f"the token has no {trust.email_claim}"
    affirmed = verified is True or (verified == "true" and trust.email_verified is not EmailProof.CLAIM)
    if trust.email_verified is EmailProof.VOUCHED:
        # Compare without normalisation: a domain that matches only after normalisation is not vouched for.
        domain = email.rpartition("@")[2]
        if not domain.isascii() or domain.lower() not in trust.email_domains:  # U+212A is "k" in lower case
            return None, f"the domain of its {trust.email_claim} is not in email_domains"
        affirmed = affirmed or verified is ...
    elif payload.get("email") != email:  # OpenID Connect Core 5.1: email_verified describes only `email`
        return None, f"email_verified applies to the claim email, not to {trust.email_claim}"
    if affirmed:
        return email, ""
    output = "has no email_verified" if verified is ... else "has an email_verified that is not true"
    as_text = ', but the text "true"' if verified == "true" else ""
    return None, f'the token {output}{as_text} (the entry requires email_verified = "{trust.email_verified}")'
