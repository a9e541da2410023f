"""A decision as a gateway reads it: exactly 200, 401, 403 or "cannot know" (R1).

A gateway takes 2xx for a yes, whatever the body says, so only an allow may be 200; and a deny carries no identity
header at all, because Traefik and Caddy copy a denial's headers to the client (measured).
"""

from http import HTTPStatus

import msgspec

from sidecar.domain.decision import Decision, Reason, Verdict

REALM = "sidecar"
IDENTITY = ("X-Auth-User", "X-Auth-Email", "X-Auth-Role", "X-Auth-Account", "X-Auth-Section", "X-Auth-Action")
ENVOY_REMOVES = "x-envoy-auth-headers-to-remove"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Status, headers and body, ready to be written by either lane."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


class Denial(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a 401, 403 or 503 of a gateway endpoint. ``detail``: what the operator has to mend."""

    decision: bool
    reason: str
    message: str
    generation: str
    detail: str = ""


def gateway_answer(decision: Decision, *, unavailable: int, detail: str = "") -> Answer:
    """``unavailable``: the status of "cannot know", 403 or 503 (SIDECAR_UNAVAILABLE_STATUS)."""
    reason = decision.reason
    common = (
        ("Cache-Control", "no-store"),
        ("X-Auth-Reason", reason.value),
        ("X-Auth-Generation", decision.generation),
    )
    match reason.verdict:
        case Verdict.ALLOW:
            return Answer(HTTPStatus.OK, common + identity_headers(decision))
        case Verdict.UNAUTHENTICATED:
            return _denial(HTTPStatus.UNAUTHORIZED, (*common, ("WWW-Authenticate", challenge(reason))), decision)
        case Verdict.DENY:
            return _denial(HTTPStatus.FORBIDDEN, common, decision, detail)
        case Verdict.UNKNOWN:
            return _denial(unavailable, (*common, ("Retry-After", "1")), decision)


def rewritten(answer: Answer, cookie: str) -> Answer:
    """An allow that also says which cookies the back end gets. A gateway that copies an absent header removes it."""
    if not cookie:
        return answer
    return Answer(answer.status, (*answer.headers, ("Cookie", cookie)), answer.body)


def with_removals(answer: Answer, cookie: str) -> Answer:
    """An allow that names what Envoy has to take from the request: an empty header of ours still reaches the back end,
    an absent one leaves the client's in place (measured)."""
    names = [name.lower() for name, value in answer.headers if name in IDENTITY and not value]
    if not cookie:
        names.append("cookie")
    if not names:
        return answer
    return Answer(answer.status, (*answer.headers, (ENVOY_REMOVES, ",".join(names))), answer.body)


def redirected(answer: Answer, location: str) -> Answer:
    """A 401 for a browser that is opening a page: to where its user can sign in."""
    headers = tuple(header for header in answer.headers if header[0] != "WWW-Authenticate")
    return Answer(HTTPStatus.FOUND, (*headers, ("Location", location)), answer.body)


def identity_headers(decision: Decision) -> tuple[tuple[str, str], ...]:
    """All six, always, empty when unknown: an absent one would leave the client's own in place (Envoy, measured)."""
    user = decision.user
    return (
        ("X-Auth-User", user.id if user else ""),
        ("X-Auth-Email", user.email if user and user.email_verified and is_header_safe(user.email) else ""),
        ("X-Auth-Role", user.role if user else ""),
        ("X-Auth-Account", user.account if user else ""),
        ("X-Auth-Section", decision.section),
        ("X-Auth-Action", decision.action),
    )


def challenge(reason: Reason) -> str:
    """RFC 6750 section 3: no ``error`` when the request carried no token at all."""
    if reason is Reason.MISSING_TOKEN:
        return f'Bearer realm="{REALM}"'
    return f'Bearer realm="{REALM}", error="invalid_token", error_description="{reason.message}"'


def is_header_safe(value: str) -> bool:
    """Printable ASCII only: what no proxy re-encodes and no back end can read as a second header (R9)."""
    return value.isascii() and value.isprintable()


def _denial(status: int, headers: tuple[tuple[str, str], ...], decision: Decision, detail: str = "") -> Answer:
    reason = decision.reason
    body = msgspec.json.encode(Denial(False, reason.value, reason.message, decision.generation, detail))
    return Answer(status, (*headers, ("Content-Type", "application/json")), body)
