"""Headers with which a client claims an identity or another request. ``evil`` must not reach the back end."""

from collections.abc import Iterator

from tests.gateways.rig.outcomes import ANONYMOUS, BAD, BILLING, MARKETER, MEDIA, NOT_THEIRS, REFUSED
from tests.gateways.rig.rows import Outcome, Public, Row, request
from tests.gateways.rig.trusted_names import ALIASES, OURS, TRUSTED

SIX = ("User", "Email", "Role", "Account", "Section", "Action")


def at(name: str, target: str, expect: Outcome, *headers: str, method: str = "GET", **but: Outcome) -> Row:
    return Row(f"spoofed {name}", request(target, *headers, token="marketer", method=method), expect, but)


def underscored(name: str, target: str, expect: Outcome, *headers: str) -> Row:
    """Envoy rejects a header with an underscore; the others drop it or forward it only to a back end that
    ignores it.
    """
    return at(name, target, expect, *headers, envoy=REFUSED)


def spoofed() -> Iterator[Row]:
    yield from identity()
    yield from trusted()
    yield from original_request()
    yield from shortcuts()
    yield from connection()


def identity() -> Iterator[Row]:
    for word in SIX:
        yield at(f"X-Auth-{word}", MEDIA, MARKETER, f"X-Auth-{word}: evil")
        yield underscored(f"x_auth_{word.lower()}", MEDIA, MARKETER, f"X_Auth_{word}: evil")
    yield at("all six", MEDIA, MARKETER, *(f"X-Auth-{word}: evil" for word in SIX))
    twice = (f"X-AUTH-{word.upper()}: evil" for word in SIX * 2)
    yield at("all six in upper case, twice", MEDIA, MARKETER, *twice)
    yield underscored("half an underscore", MEDIA, MARKETER, "X-Auth_User: evil", "X_Auth-Role: evil")
    yield at("reason and generation", MEDIA, MARKETER, "X-Auth-Reason: evil", "X-Auth-Generation: evil")
    yield at("an empty identity", MEDIA, MARKETER, "X-Auth-User:", "X-Auth-Email:")
    yield at("where denied", BILLING, NOT_THEIRS, *(f"X-Auth-{word}: account-administrator" for word in SIX))
    everything = tuple(f"X-Auth-{word}: evil" for word in SIX)
    yield Row("spoofed on a public path", request("/login", *everything), Public())
    yield Row("spoofed by nobody", request(MEDIA, *everything), ANONYMOUS)


def trusted() -> Iterator[Row]:
    """Identity headers of other products, in every spelling that a back end may read alike."""
    for number in range(0, len(TRUSTED), 32):
        names = TRUSTED[number : number + 32]
        which = f"trusted headers {number // 32}"
        yield at(which, MEDIA, MARKETER, *(f"{name}: evil" for name in names))
        yield at(f"{which} in lower case, twice", MEDIA, MARKETER, *(f"{name.lower()}: evil" for name in names * 2))
        yield at(f"{which} in upper case", MEDIA, MARKETER, *(f"{name.upper()}: evil" for name in names))
        under = (f"{name.replace('-', '_')}: evil" for name in names)
        yield underscored(f"{which} with underscores", MEDIA, MARKETER, *under)
        yield Row(f"spoofed {which} by nobody", request("/login", *(f"{name}: evil" for name in names)), Public())
    for alias in ALIASES:
        names = tuple(name.replace("-", alias) for name in (*OURS, "Remote-User", "X-Forwarded-User"))
        lines = (*(f"{name}: evil" for name in names), f"X-Remote{alias}User: evil")
        kind = underscored if alias == "_" else at
        yield kind(f"names with {alias} for a hyphen", MEDIA, MARKETER, *lines)


def original_request() -> Iterator[Row]:
    """Both header families and those that back ends know, in both directions, and spelt with underscores."""
    for name in ("X-Forwarded-Uri", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path"):
        yield at(f"{name} to billing", MEDIA, MARKETER, f"{name}: {BILLING}")
        yield at(f"{name} to the library", BILLING, NOT_THEIRS, f"{name}: {MEDIA}")
        yield underscored(f"{name} with underscores", BILLING, NOT_THEIRS, f"{name.replace('-', '_')}: {MEDIA}")
    methods = ("X-Forwarded-Method: GET", "X-Original-Method: GET")
    yield at("method", BILLING, NOT_THEIRS, *methods, method="POST")
    uris = (f"X-Forwarded-Uri: {MEDIA}", f"X-Original-URI: {MEDIA}")
    yield at("both families", BILLING, NOT_THEIRS, *methods, *uris)
    yield at("both families twice", BILLING, NOT_THEIRS, *methods, *uris, *methods, *uris)
    yield at("prefix", MEDIA, MARKETER, "X-Forwarded-Prefix: /dashboard/billing")
    for name in ("X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "x-http-method-override"):
        yield at(f"override {name}", MEDIA, BAD, f"{name}: DELETE")


def shortcuts() -> Iterator[Row]:
    yield at("host and proto", MEDIA, MARKETER, "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")
    addresses = ("X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6")
    yield at("address", MEDIA, MARKETER, *addresses)
    yield at("address of ours", BILLING, NOT_THEIRS, "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1")
    yield at("Envoy's removals", MEDIA, MARKETER, "x-envoy-auth-headers-to-remove: x-auth-role,x-auth-user")
    yield at("Envoy's original path", MEDIA, MARKETER, f"x-envoy-original-path: {BILLING}")
    yield at("Envoy's open failure", MEDIA, MARKETER, "x-envoy-auth-failure-mode-allowed: true")
    yield at("a probe", BILLING, NOT_THEIRS, "User-Agent: kube-probe/1.33")
    yield at("a load balancer's probe", BILLING, NOT_THEIRS, "User-Agent: GoogleHC/1.0")
    yield at("a fresher view", MEDIA, MARKETER, "X-Sidecar-At-Least: 999999999")


def connection() -> Iterator[Row]:
    """A client that declares our headers to be hop-by-hop, so that a gateway removes them behind the check."""
    for name in ("X-Auth-User", "X-Auth-Role", "X-Forwarded-Uri", "X-Original-URI", "X-Forwarded-Method"):
        yield at(f"Connection: {name}", BILLING, NOT_THEIRS, f"Connection: close, {name}")
        yield at(f"Connection: {name} where allowed", MEDIA, MARKETER, f"Connection: close, {name}")
    # These lose their token on the way to the check, which is then anonymous.
    lost: dict[str, Outcome] = {"traefik": ANONYMOUS, "envoy": ANONYMOUS}
    yield at("Connection: Authorization", BILLING, NOT_THEIRS, "Connection: close, Authorization", **lost)
    raw = request(BILLING, "Connection: close, Cookie", cookie="marketer")
    yield Row("spoofed Connection: Cookie", raw, NOT_THEIRS, lost)
