"""Requests as bytes, one dialect per target. The gateway's check has the twelve headers of a real one."""

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse

from tests.bench.users import CheckCase

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send, with the status and the word in the body of the right response."""

    raw: bytes
    status: int = 200
    body: bytes = b""


def gateway_check(asked: CheckCase, **further: str) -> Request:
    """Build a check as a gateway forwards it: ``GET /check`` with the original method and path in headers.

    ``further``: headers of a gateway that traces.
    """
    headers = {
        "X-Forwarded-Method": asked.spot.method,
        "X-Forwarded-Uri": asked.spot.path,
        **browser_headers(asked),
        **further,
    }
    return Request(_head("GET", "/check", headers), 200 if asked.allowed else 403)


def direct(asked: CheckCase) -> Request:
    """Build the user's own request, for a filter inside the proxy."""
    headers = browser_headers(asked)
    if asked.spot.method != "GET":
        headers["Content-Length"] = "0"
    return Request(_head(asked.spot.method, asked.spot.path, headers), 200 if asked.allowed else 403)


def json_check(asked: CheckCase) -> Request:
    """Build ``POST /v1/check`` of one."""
    body = {"section": asked.spot.section, "action": asked.spot.action}
    return _post("/v1/check", body, _decision(asked), asked.token)


def json_check_many(asked: CheckCase, others: Sequence[CheckCase]) -> Request:
    """Build ``POST /v1/check`` of many; the first response is compared."""
    checks = [{"section": each.spot.section, "action": each.spot.action} for each in (asked, *others)]
    return _post("/v1/check", {"checks": checks}, b'[{"decision":%b' % _boolean(asked), asked.token)


def authzen(asked: CheckCase, pep: str) -> Request:
    """Build an AuthZEN evaluation by the account's PEP."""
    return _post("/access/v1/evaluation", _evaluation(asked, "section"), _decision(asked), pep)


def cerbos_authzen(asked: CheckCase) -> Request:
    """Build the same request for Cerbos, which has no user records: the request has the roles."""
    told = _evaluation(asked, asked.spot.section)
    told["subject"]["properties"] = {"cerbos.roles": [asked.person.role]}
    return _post("/access/v1/evaluation", told, _decision(asked))


def cerbos_check(asked: CheckCase, *, token: bool) -> Request:
    """Build ``CheckResources``; with ``token`` it also verifies the user's JWT (auxData)."""
    told: dict[str, object] = {
        "principal": {"id": asked.person.id, "roles": [asked.person.role]},
        "resources": [{"actions": [asked.spot.action], "resource": {"kind": asked.spot.section, "id": "4711"}}],
    }
    if token:
        told["auxData"] = {"jwt": {"token": asked.token, "keySetId": "bench"}}
    return _post("/api/check/resources", told, b"EFFECT_ALLOW" if asked.allowed else b"EFFECT_DENY")


def _evaluation(asked: CheckCase, kind: str) -> dict[str, dict[str, object]]:
    return {
        "subject": {"type": "user", "id": asked.person.id},
        "resource": {"type": kind, "id": asked.spot.section},
        "action": {"name": asked.spot.action},
    }


def _decision(asked: CheckCase) -> bytes:
    return b'"decision":%b' % _boolean(asked)


def _boolean(asked: CheckCase) -> bytes:
    return b"true" if asked.allowed else b"false"


def browser_headers(asked: CheckCase) -> dict[str, str]:
    return {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "dashboard.example.com",
        "X-Forwarded-For": "203.0.113.7",
        "User-Agent": AGENT,
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "Authorization": f"Bearer {asked.token}",
        "X-Request-ID": asked.person.id[4:],
    }


def _post(path: str, told: Mapping[str, object], expected: bytes, bearer: str = "") -> Request:
    content = json.dumps(told, separators=(",", ":"))
    headers = {"User-Agent": "bench/1", "Content-Type": "application/json", "Content-Length": str(len(content))}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    return Request(_head("POST", path, headers) + content.encode(), 200, expected)


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(port: int, request: Request, *, timeout: float = 10) -> tuple[int, bytes]:
    """Send one on a connection of its own: status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request.raw)
        response = HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def is_right(request: Request, status: int, body: bytes) -> bool:
    return status == request.status and request.body in body.replace(b": ", b":").replace(b", ", b",")
