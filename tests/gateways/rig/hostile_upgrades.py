"""Upgrades other than one `websocket` (R6). Each is followed by a request that must not come out of a tunnel."""

from collections.abc import Iterator
from dataclasses import replace

from tests.gateways.rig.outcomes import BAD, BILLING, MEDIA
from tests.gateways.rig.rows import Allow, Deny, Outcome, Public, Row, request, websocket

HIDDEN = f"POST {BILLING} HTTP/1.1\r\nHost: dash.example\r\nX-Auth-Role: evil\r\nContent-Length: 0\r\n\r\n".encode()
PUBLIC = "/assets/app.js"
HOP = "Connection: Upgrade"
SETTINGS = "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"

PLAIN, OPENED = "without the upgrade", "as one websocket"
BY_ITSELF, MALFORMED = Deny(403), Deny(400)
"""The gateway denies without a check, or rejects the request as invalid HTTP."""

USUALLY = {"traefik": PLAIN, "envoy": BY_ITSELF, "haproxy": BY_ITSELF}
"""nginx and Caddy send a check, and the sidecar denies. Traefik removes the upgrade before the check."""

Held = str | Deny
WAYS: dict[str, tuple[tuple[str, ...], dict[str, Held]]] = {
    "h2c": (("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", SETTINGS), {"envoy": PLAIN}),
    "h2c without settings": ((HOP, "Upgrade: h2c"), {"envoy": PLAIN}),
    "h2c in upper case": ((HOP, "UPGRADE: H2C", SETTINGS), {"traefik": BAD, "envoy": PLAIN}),
    "h2c, no connection header": (("Upgrade: h2c", SETTINGS), {"traefik": BAD, "envoy": BAD}),
    "h2c on a connection that ends": (("Connection: close, upgrade", "Upgrade: h2c"), {"envoy": PLAIN}),
    "settings alone": ((SETTINGS,), {"traefik": BAD, "envoy": BAD}),
    "settings of the hop": (("Connection: HTTP2-Settings", SETTINGS), {"envoy": BAD}),
    "websocket with settings": (
        (HOP, "Upgrade: websocket", SETTINGS),
        {"traefik": BAD, "envoy": BAD, "haproxy": MALFORMED},
    ),
    "websocket, h2c in one line": ((HOP, "Upgrade: websocket, h2c"), {"haproxy": MALFORMED}),
    "h2c, websocket in one line": ((HOP, "Upgrade: h2c, websocket"), {"haproxy": MALFORMED}),
    "h2c, websocket in two lines": ((HOP, "Upgrade: h2c", "Upgrade: websocket"), {"haproxy": MALFORMED}),
    "another protocol": ((HOP, "Upgrade: TLS/1.0"), {}),
    "websocket of a version": ((HOP, "Upgrade: websocket/13"), {}),
    "more than websocket": ((HOP, "Upgrade: websockets"), {}),
    "Kelvin's k": ((HOP, "Upgrade: websoc\u212aet".encode().decode("latin-1")), {"caddy": PLAIN}),
    "an empty one": ((HOP, "Upgrade:"), {"nginx": PLAIN, "caddy": PLAIN}),
    "an underscore in the settings": (("HTTP2_Settings: x", HOP, "Upgrade: h2c"), {"envoy": MALFORMED}),
}
TWICE: dict[str, tuple[tuple[str, ...], dict[str, Held]]] = {
    "websocket, h2c in two lines": (
        (HOP, "Upgrade: websocket", "Upgrade: h2c"),
        {"nginx": OPENED, "traefik": OPENED, "caddy": PLAIN},
    ),
    "two websockets": (
        (HOP, "Upgrade: websocket", "Upgrade: websocket"),
        {"nginx": OPENED, "traefik": OPENED, "caddy": PLAIN, "haproxy": MALFORMED},
    ),
}
"""nginx 1.22 and Traefik read the first line alone, and forward that one."""


def upgrades() -> Iterator[Row]:
    theirs = Allow("marketer", "media-library", "view")
    for name, (lines, but) in {**WAYS, **TWICE}.items():
        hidden = name in WAYS  # bytes after a WebSocket handshake belong to the tunnel
        yield row(f"of nobody: {name}", request(PUBLIC, *lines), Public(), but, hidden=hidden)
        yield row(f"of a user: {name}", request(MEDIA, *lines, token="marketer"), theirs, but, hidden=hidden)
    yield from websockets()


def row(name: str, raw: bytes, plain: Allow | Public, but: dict[str, Held], *, hidden: bool) -> Row:
    def outcome(held: Held) -> Outcome:
        if isinstance(held, Deny):
            return held
        return plain if held is PLAIN else replace(plain, status=101)

    outcomes = {gateway: outcome(held) for gateway, held in {**USUALLY, **but}.items()}
    settle = 0.05 if hidden else 0.0
    return Row(f"upgrade {name}", raw + (HIDDEN if hidden else b""), BAD, outcomes, settle=settle, hidden=hidden)


def websockets() -> Iterator[Row]:
    """A back end that rejects the handshake responds 426, and the connection is no tunnel."""
    opened = Allow("marketer", "media-library", "view", status=101)
    for value in ("WebSocket", "WEBSOCKET"):
        raw = websocket(MEDIA, token="marketer").replace(b"Upgrade: websocket", f"Upgrade: {value}".encode())
        yield Row(f"upgrade to {value}", raw, opened)
    yield Row("upgrade of nobody on a public path", websocket(PUBLIC), Public(status=101))
    raw = websocket(MEDIA, token="marketer").replace(b"Version: 13", b"Version: 7") + HIDDEN
    refused = replace(opened, status=426)
    yield Row("upgrade to a version that there is not", raw, refused, settle=0.05, hidden=True)
