"""Causes of `bad_request`, `ambiguous_path`, `unmatched_path` and `cross_site`, in words for whoever runs the gateway.

Pure functions of a denied call; an allowed one never comes here. A detail names headers, endpoints and settings. It
repeats nothing of the request but an origin that is well formed, and one of a closed set of characters.
"""

import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.domain.access import Route
from sidecar.domain.decision import Decision, Reason
from sidecar.edge.credentials import RawHeaders
from sidecar.edge.gateways import envoy_http, forwarded, nginx, section
from sidecar.edge.original import GatewayCall, method_overrides, only, upgrades_otherwise
from sidecar.edge.parts import Parts
from sidecar.policy.routes import ambiguity


class Kind(StrEnum):
    """Kinds of causes. Their number is closed, so each may be counted and logged by itself."""

    MISSING_HEADER = "missing_header"
    DOUBLED_HEADER = "doubled_header"
    UNUSABLE_HEADER = "unusable_header"
    WRONG_ENDPOINT = "wrong_endpoint"
    METHOD_OVERRIDE = "method_override"
    UPGRADE = "upgrade"
    AMBIGUOUS_PATH = "ambiguous_path"
    NO_ROUTE = "no_route"
    NO_METHOD = "no_method"
    NO_ORIGIN = "no_origin"
    FOREIGN_ORIGIN = "foreign_origin"


class Cause(msgspec.Struct, frozen=True):
    """One cause, with what is wrong and how to mend it."""

    kind: Kind
    detail: str


EXPLAINED: Final = frozenset({Reason.BAD_REQUEST, Reason.AMBIGUOUS_PATH, Reason.UNMATCHED_PATH, Reason.CROSS_SITE})

FAMILIES: Final = {
    forwarded.PATH: ("X-Forwarded-Method", "X-Forwarded-Uri"),
    nginx.PATH: ("X-Original-Method", "X-Original-URI"),
}
"""The headers that an endpoint reads, method and path: each has to come once."""

ENDPOINTS: Final = "/check, /check/nginx, /check/envoy/… or /check/sections/SECTION[/ACTION]"
ANNOTATION: Final = "nginx.ingress.kubernetes.io/auth-method: GET"
ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,100}")

Names = Mapping[bytes, int]


def cause_of(parts: Parts, call: GatewayCall, decision: Decision) -> Cause | None:
    """Return the cause of a denied check; None when the client alone can have caused it."""
    match decision.reason:
        case Reason.BAD_REQUEST:
            return _bad_request(call)
        case Reason.AMBIGUOUS_PATH | Reason.UNMATCHED_PATH:
            asked = call.family.read(call)
            return _path(parts, asked) if isinstance(asked, Route) else None
        case Reason.CROSS_SITE:
            return cross_site(call.headers, parts.surface.origins)
        case _:
            return None


def cross_site(headers: RawHeaders, origins: frozenset[str]) -> Cause | None:
    """Compare Origin with SIDECAR_PUBLIC_URL: a gateway that drops it, or a URL of another scheme, host or port."""
    names = _names(headers)
    if b"origin" not in names:
        if b"sec-fetch-site" in names:
            return None
        return Cause(Kind.NO_ORIGIN, "neither Origin nor Sec-Fetch-Site came: have the gateway pass both on")
    if names[b"origin"] > 1:
        return Cause(Kind.DOUBLED_HEADER, "Origin came more than once")
    origin = only(headers, b"origin")
    if origin in origins:
        return None
    shown = f" {origin}" if origin is not None and ORIGIN.fullmatch(origin) else ""
    return Cause(Kind.FOREIGN_ORIGIN, f"Origin{shown} is not that of SIDECAR_PUBLIC_URL, {', '.join(sorted(origins))}")


def _bad_request(call: GatewayCall) -> Cause | None:
    if not isinstance(call.family.read(call), Reason):
        return None  # two tokens, or two cookies of ours
    names = _names(call.headers)
    overrides = sorted(method_overrides(call.headers))
    if overrides:
        text = f"{overrides[0].decode()} would have the back end run another method than the judged one: leave it out"
        return Cause(Kind.METHOD_OVERRIDE, text)
    if upgrades_otherwise(call.headers):
        return Cause(Kind.UPGRADE, 'an Upgrade has to be "websocket", once, and without HTTP2-Settings')
    label = call.family.label
    if label in FAMILIES:
        return _headers(call, label, names)
    if call.family is section.FAMILY:
        return Cause(Kind.WRONG_ENDPOINT, "write /check/sections/SECTION or /check/sections/SECTION/ACTION")
    if label == "/envoy.service.auth.v3.Authorization/Check":
        text = "Envoy's call has no method, no path that begins with /, or more headers than SIDECAR_MAX_HEAD permits"
        return Cause(Kind.UNUSABLE_HEADER, text)
    if label == envoy_http.PREFIX:
        return Cause(Kind.UNUSABLE_HEADER, "Envoy's call names no method, or no path that begins with /")
    fitting = _fitting(names, but="")
    return Cause(Kind.WRONG_ENDPOINT, f"no gateway asks at this path: {fitting or f'ask {ENDPOINTS}'}")


def _headers(call: GatewayCall, endpoint: str, names: Names) -> Cause | None:
    """Judge the two headers of the endpoint: missing, doubled, unusable. None: the client did something else."""
    wanted = FAMILIES[endpoint]
    missing = [name for name in wanted if name.lower().encode() not in names]
    if missing:
        hint = _fitting(names, but=endpoint) or _hint(endpoint, names)
        return Cause(Kind.MISSING_HEADER, f"{' and '.join(missing)} did not come{hint and f': {hint}'}")
    for name in wanted:
        if names[name.lower().encode()] > 1:
            return Cause(Kind.DOUBLED_HEADER, f"{name} came more than once: have the gateway replace a client's")
    method, uri = (only(call.headers, name.lower().encode()) or "" for name in wanted)
    if not method:
        return Cause(Kind.UNUSABLE_HEADER, f"{wanted[0]} is empty")
    if not uri.startswith("/"):
        return Cause(Kind.UNUSABLE_HEADER, f"{wanted[1]} has to begin with /: the path alone, without scheme and host")
    if endpoint == nginx.PATH and not nginx.ingress_agrees(call.headers):
        return Cause(Kind.UNUSABLE_HEADER, f"X-Original-URI and X-Original-URL differ: set {ANNOTATION}")
    return None


def _fitting(names: Names, *, but: str) -> str:
    """The endpoint that reads the headers that came."""
    for endpoint, wanted in FAMILIES.items():
        if endpoint != but and all(name.lower().encode() in names for name in wanted):
            return f"{' and '.join(wanted)} came, for which {endpoint} is the endpoint"
    return ""


def _hint(endpoint: str, names: Names) -> str:
    if nginx.INGRESS[0] in names:
        return f"ingress-nginx sends it with the annotation {ANNOTATION}"
    if b"x-original-url" in names:
        instead = "" if endpoint == nginx.PATH else "ask /check/nginx and "
        return f"X-Original-URL is not read, {instead}send X-Original-URI with the path alone ($request_uri)"
    if b"x-original-uri" in names and endpoint != nginx.PATH:
        return "X-Original-URI came, for which /check/nginx is the endpoint; it wants X-Original-Method, too"
    if b"x-forwarded-uri" in names and endpoint != forwarded.PATH:
        return "X-Forwarded-Uri came, for which /check is the endpoint; it wants X-Forwarded-Method, too"
    return ""


def _path(parts: Parts, asked: Route) -> Cause | None:
    named = ambiguity(asked.raw_path)
    if named:
        return Cause(Kind.AMBIGUOUS_PATH, f"the path holds {named}, which programs read in more than one way")
    generation = parts.policy.generation
    methods = () if generation is None else generation.routes.methods_at(asked.raw_path)
    if not methods:
        return Cause(Kind.NO_ROUTE, "no route in sections.toml has this path")
    return Cause(Kind.NO_METHOD, f"the routes in sections.toml with this path have only {', '.join(methods)}")


def _names(headers: RawHeaders) -> Names:
    return Counter(name.lower() for name, _ in headers)
