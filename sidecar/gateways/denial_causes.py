"""Causes of `bad_request`, `ambiguous_path`, `unmatched_path` and `cross_site`, for the operator of the gateway.

Pure functions of a denied check. A detail names headers, endpoints and settings. Its only content from the request is a
well-formed origin, or one of a closed set of characters.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.domain.access import RequestPath
from sidecar.domain.decision import Decision, Reason
from sidecar.gateways import envoy_http, forwarded, nginx, section
from sidecar.gateways.adapter import GatewayRequest, has_denied_upgrade, method_overrides
from sidecar.http.context import AppContext
from sidecar.http.denial_causes import Cause, CauseKind, cross_site
from sidecar.http.headers import count_headers, single_header
from sidecar.policy.routes import ambiguity
from sidecar.telemetry.app_log import debugging, logger

EXPLAINED: Final = frozenset({Reason.BAD_REQUEST, Reason.AMBIGUOUS_PATH, Reason.UNMATCHED_PATH, Reason.CROSS_SITE})

FAMILIES: Final = {
    forwarded.PATH: ("X-Forwarded-Method", "X-Forwarded-Uri"),
    nginx.PATH: ("X-Original-Method", "X-Original-URI"),
}
"""Method and path headers per endpoint. Each must occur exactly once."""

ENDPOINTS: Final = "/check, /check/nginx, /check/envoy/… or /check/sections/SECTION[/ACTION]"
ANNOTATION: Final = "nginx.ingress.kubernetes.io/auth-method: GET"
MAX_SHOWN: Final = 512
"""Characters of a path in the log."""

_log = logger("gateways")

Names = Mapping[bytes, int]


def cause_of(app: AppContext, call: GatewayRequest, decision: Decision) -> Cause | None:
    """Return the cause of a denied check, or None if the client alone can have caused it."""
    match decision.reason:
        case Reason.BAD_REQUEST:
            return _bad_request(call)
        case Reason.AMBIGUOUS_PATH | Reason.UNMATCHED_PATH:
            requested = call.family.read(call)
            return _path(app, requested) if isinstance(requested, RequestPath) else None
        case Reason.CROSS_SITE:
            return cross_site(call.headers, app.public_config.origins)
        case _:
            return None


def _bad_request(call: GatewayRequest) -> Cause | None:
    if not isinstance(call.family.read(call), Reason):
        return None  # two tokens, or two session cookies
    names = count_headers(call.headers)
    overrides = sorted(method_overrides(call.headers))
    if overrides:
        text = f"{overrides[0].decode()} overrides the method for the back end: remove the header"
        return Cause(CauseKind.METHOD_OVERRIDE, text)
    if has_denied_upgrade(call.headers):
        return Cause(CauseKind.UPGRADE, 'Upgrade must be "websocket", once, and without HTTP2-Settings')
    label = call.family.label
    if label in FAMILIES:
        return _headers(call, label, names)
    if call.family is section.FAMILY:
        return Cause(CauseKind.WRONG_ENDPOINT, "use /check/sections/SECTION or /check/sections/SECTION/ACTION")
    if label == "/envoy.service.auth.v3.Authorization/Check":
        text = "Envoy's request has no method, no path that begins with /, or more headers than SIDECAR_MAX_HEAD allows"
        return Cause(CauseKind.UNUSABLE_HEADER, text)
    if label == envoy_http.PREFIX:
        return Cause(CauseKind.UNUSABLE_HEADER, "Envoy's request has no method, or no path that begins with /")
    fitting = _fitting(names, but="")
    return Cause(CauseKind.WRONG_ENDPOINT, f"this path is not a check endpoint: {fitting or f'use {ENDPOINTS}'}")


def _headers(call: GatewayRequest, endpoint: str, names: Names) -> Cause | None:
    """Return the fault of the endpoint's two headers: missing, repeated or unusable.

    None: the client caused the denial.
    """
    wanted = FAMILIES[endpoint]
    missing = [name for name in wanted if name.lower().encode() not in names]
    if missing:
        hint = _fitting(names, but=endpoint) or _hint(endpoint, names)
        return Cause(CauseKind.MISSING_HEADER, f"missing {' and '.join(missing)}{hint and f': {hint}'}")
    for name in wanted:
        if names[name.lower().encode()] > 1:
            return Cause(CauseKind.DOUBLED_HEADER, f"{name} is repeated: configure the gateway to replace the client's")
    method, uri = (single_header(call.headers, name.lower().encode()) or "" for name in wanted)
    if not method:
        return Cause(CauseKind.UNUSABLE_HEADER, f"{wanted[0]} is empty")
    if not uri.startswith("/"):
        return Cause(
            CauseKind.UNUSABLE_HEADER, f"{wanted[1]} must begin with /: the path alone, without scheme and host"
        )
    if endpoint == nginx.PATH and not nginx.ingress_agrees(call.headers):
        return Cause(CauseKind.UNUSABLE_HEADER, f"X-Original-URI and X-Original-URL differ: set {ANNOTATION}")
    return None


def _fitting(names: Names, *, but: str) -> str:
    """Return a hint to the endpoint that reads the headers in ``names``."""
    for endpoint, wanted in FAMILIES.items():
        if endpoint != but and all(name.lower().encode() in names for name in wanted):
            return f"received {' and '.join(wanted)}, which {endpoint} reads"
    return ""


def _hint(endpoint: str, names: Names) -> str:
    if nginx.INGRESS[0] in names:
        return f"ingress-nginx sends it with the annotation {ANNOTATION}"
    if b"x-original-url" in names:
        instead = "" if endpoint == nginx.PATH else "use /check/nginx and "
        return f"X-Original-URL is not read, {instead}send X-Original-URI with the path alone ($request_uri)"
    if b"x-original-uri" in names and endpoint != nginx.PATH:
        return "received X-Original-URI, which /check/nginx reads together with X-Original-Method"
    if b"x-forwarded-uri" in names and endpoint != forwarded.PATH:
        return "received X-Forwarded-Uri, which /check reads together with X-Forwarded-Method"
    return ""


def _path(app: AppContext, requested: RequestPath) -> Cause | None:
    named = ambiguity(requested.raw_path)
    if named:
        return Cause(CauseKind.AMBIGUOUS_PATH, f"the path contains {named}, which programs interpret differently")
    generation = app.policy.generation
    methods = () if generation is None else generation.routes.methods_at(requested.raw_path)
    if not methods:
        return Cause(CauseKind.NO_ROUTE, "no route in sections.toml has this path")
    return Cause(CauseKind.NO_METHOD, f"the routes in sections.toml with this path have only {', '.join(methods)}")


def log_denial(call: GatewayRequest, decision: Decision, request_id: bytes) -> None:
    """Log method and path of a denied request at debug level. Its query, headers and user are not logged."""
    if not debugging():
        return
    requested = call.family.read(call)
    method, path = (
        (requested.method, requested.raw_path) if isinstance(requested, RequestPath) else (call.method, call.path)
    )
    _log.debug(
        "request denied",
        reason=decision.reason.value,
        method=_shown(method),
        path=_shown(path),
        endpoint=call.family.label,
        request_id=request_id.decode("ascii", "replace"),
    )


def _shown(text: str) -> str:
    """Return printable ASCII, so that a line end cannot start a new log line."""
    return text[:MAX_SHOWN].encode("unicode_escape").decode("ascii")
