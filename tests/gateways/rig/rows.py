"""A row of the table: one raw request, and the expected outcome at each gateway."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.expected_cells import expected_cells

ROOT = Path(__file__).resolve().parents[3]
HOST = "dash.example"
ORIGIN = "https://dash.example"
COOKIE = "__Host-sidecar"


@dataclass(frozen=True, slots=True)
class Allow:
    """Reaches the back end as ``target`` (as sent when None), with the identity of ``role`` and nothing else."""

    role: str
    section: str
    action: str
    target: str | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Public:
    """Reaches the back end without an identity."""

    target: str | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Deny:
    """Never reaches the back end. ``reason``: the sidecar's, None if the gateway rejects by itself or hides it.

    Status 0: the gateway closes the connection without a response.
    """

    status: int
    reason: str | None = None


Outcome = Allow | Public | Deny


@dataclass(frozen=True, slots=True)
class Row:
    """``raw`` holds ``<<name>>`` in place of the token of that name. ``but``: gateways with another outcome."""

    name: str
    raw: bytes
    expect: Outcome
    but: Mapping[str, Outcome] = field(default_factory=dict)
    settle: float = 0.0
    """Seconds to wait for further effects of the bytes: a second request hidden in them."""
    hidden: bool = False
    """Another request without a token follows. Its decision does not count."""

    def outcome(self, gateway: str) -> Outcome:
        """Return the outcome. Envoy over gRPC has Envoy's, unless the row has its own."""
        family = "envoy" if gateway == "envoy-grpc" else gateway
        return self.but.get(gateway, self.but.get(family, self.expect))

    def bytes(self, tokens: Mapping[str, str]) -> bytes:
        raw = self.raw
        for name, token in tokens.items():
            raw = raw.replace(f"<<{name}>>".encode(), token.encode())
        return raw

    @property
    def target(self) -> str:
        return self.raw.split(b"\r\n", 1)[0].split(b" ")[1].decode("latin-1")


def request(
    target: str | bytes,
    *headers: str,
    method: str = "GET",
    token: str = "",
    cookie: str = "",
    body: str = "",
    host: str = HOST,
) -> bytes:
    """A request as bytes, written as given: not encoded, sorted or completed, except for Host and Content-Length."""
    raw_target = target.encode("latin-1") if isinstance(target, str) else target
    lines = [f"Host: {host}"] if host else []
    if token:
        lines.append(f"Authorization: Bearer <<{token}>>")
    if cookie:
        lines.append(f"Cookie: {COOKIE}=<<{cookie}>>")
    lines.extend(headers)
    if body or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body)}")
    head = method.encode() + b" " + raw_target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode("latin-1")
    return head + b"\r\n\r\n" + body.encode()


def websocket(target: str, *headers: str, token: str = "", cookie: str = "") -> bytes:
    handshake = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    return request(target, *handshake, *headers, token=token, cookie=cookie)


def read_csv(name: str) -> Iterable[list[str]]:
    """Return the lines of one of the policy's own tests."""
    with (ROOT / "policy" / name).open() as lines:
        yield from csv.reader((line for line in lines if line.strip() and line[0] != "#"), skipinitialspace=True)


def permitted(role: str) -> set[tuple[str, str]]:
    """Return the sections and actions that the policy's expectations allow to a role."""
    return {
        (section, action) for (who, section, action), allowed in expected_cells().items() if who == role and allowed
    }
