"""Gateway responses: exactly 200, 401, 403 or the status for "undetermined" (R1).

A gateway treats 2xx as an allow regardless of the body, so only an allow may be 200. A denial has no identity header,
because Traefik and Caddy copy a denial's headers to the client (measured).
"""

from http import HTTPStatus

import msgspec

from sidecar.domain.decision import Decision, Reason, Verdict

REALM = "sidecar"
IDENTITY = ("X-Auth-User", "X-Auth-Email", "X-Auth-Role", "X-Auth-Account", "X-Auth-Section", "X-Auth-Action")
ENVOY_REMOVES = "x-envoy-auth-headers-to-remove"


class RawResponse(msgspec.Struct, frozen=True, gc=False):
    """Status, headers and body, ready to be written."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


class DenialBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of a 401, 403 or 503 from a gateway endpoint. ``detail``: the operator's remedy.

    ``unmet``: conditions that would do. ``enrol``: kinds of second factors, one of which the user has to enrol first.
    """

    decision: bool
    reason: str
    message: str
    generation: str
    detail: str = ""
    unmet: tuple[str, ...] = ()
    enrol: tuple[str, ...] = ()


def gateway_response(decision: Decision, *, unavailable: int, detail: str = "") -> RawResponse:
    """Return the response to a decision.

    ``unavailable``: status of "undetermined", 403 or 503 (SIDECAR_UNAVAILABLE_STATUS).
    """
    reason = decision.reason
    common = (
        ("Cache-Control", "no-store"),
        ("X-Auth-Reason", reason.value),
        ("X-Auth-Generation", decision.generation),
    )
    match reason.verdict:
        case Verdict.ALLOW:
            return RawResponse(HTTPStatus.OK, common + identity_headers(decision))
        case Verdict.UNAUTHENTICATED:
            return _denial(HTTPStatus.UNAUTHORIZED, (*common, ("WWW-Authenticate", challenge_of(decision))), decision)
        case Verdict.DENY:
            return _denial(HTTPStatus.FORBIDDEN, common, decision, detail)
        case Verdict.UNKNOWN:
            return _denial(unavailable, (*common, ("Retry-After", "1")), decision)


def rewritten(answer: RawResponse, cookie: str) -> RawResponse:
    """Add the back end's Cookie header to an allow. If it is absent, a gateway that copies it removes the client's."""
    if not cookie:
        return answer
    return RawResponse(answer.status, (*answer.headers, ("Cookie", cookie)), answer.body)


def with_removals(answer: RawResponse, cookie: str) -> RawResponse:
    """Add the list of request headers that Envoy must remove from an allowed request.

    An empty header from the sidecar would still reach the back end, and an absent one would leave the client's
    (measured).
    """
    names = [name.lower() for name, value in answer.headers if name in IDENTITY and not value]
    if not cookie:
        names.append("cookie")
    if not names:
        return answer
    return RawResponse(answer.status, (*answer.headers, (ENVOY_REMOVES, ",".join(names))), answer.body)


def redirected(answer: RawResponse, location: str) -> RawResponse:
    """Turn a 401 for a browser navigation into a redirect to the login page."""
    headers = tuple(header for header in answer.headers if header[0] != "WWW-Authenticate")
    return RawResponse(HTTPStatus.FOUND, (*headers, ("Location", location)), answer.body)


def identity_headers(decision: Decision) -> tuple[tuple[str, str], ...]:
    """Return all six identity headers, empty if unknown. An absent one would leave the client's (Envoy, measured)."""
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
    """Return the challenge of RFC 6750 section 3, without ``error`` if the request had no token."""
    if reason is Reason.MISSING_TOKEN:
        return f'Bearer realm="{REALM}"'
    return f'Bearer realm="{REALM}", error="invalid_token", error_description="{reason.message}"'


def challenge_of(decision: Decision) -> str:
    """Return the challenge of a decision: that of RFC 9470 section 3 if a step-up would do."""
    if decision.missing is None:
        return challenge(decision.reason)
    return step_up_challenge(decision.reason.message, decision.missing.max_age, decision.missing.acr_values)


def step_up_name(decision: Decision) -> str:
    """Return the condition that a login page should let the user meet, or an empty string."""
    missing = decision.missing
    if missing is None or decision.reason is not Reason.STEP_UP_REQUIRED:
        return ""
    return missing.acr_values or missing.names[0]


def step_up_challenge(description: str, max_age: int | None, acr_values: str | None) -> str:
    """Return the challenge of RFC 9470 section 3. ``max_age`` in seconds."""
    text = f'Bearer realm="{REALM}", error="insufficient_user_authentication", error_description="{description}"'
    if acr_values is not None:
        text += f', acr_values="{acr_values}"'
    return text if max_age is None else f'{text}, max_age="{max_age}"'


def is_header_safe(value: str) -> bool:
    """Return True for printable ASCII, which no proxy re-encodes and no back end splits into a second header (R9)."""
    return value.isascii() and value.isprintable()


def _denial(status: int, headers: tuple[tuple[str, str], ...], decision: Decision, detail: str = "") -> RawResponse:
    reason = decision.reason
    missing = decision.missing
    unmet, enrol = (missing.names, missing.enrol) if missing else ((), ())
    denial = DenialBody(False, reason.value, reason.message, decision.generation, detail, unmet, enrol)
    body = msgspec.json.encode(denial)
    return RawResponse(status, (*headers, ("Content-Type", "application/json")), body)
