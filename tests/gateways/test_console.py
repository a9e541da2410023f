"""The console through every gateway: its files, every call of its pages, and the way to its sign-in page and back."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast
from urllib.parse import unquote, urlsplit

import pytest

from sidecar.api.console import CONTENT_SECURITY_POLICY
from sidecar.api.endpoints import API
from sidecar.sources.console_files import read_console
from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.outcomes import BILLING, MEDIA
from tests.gateways.rig.people import SidecarProcess
from tests.gateways.rig.relay import Relay
from tests.gateways.rig.rows import request
from tests.gateways.rig.wire import Response

HTML = "Accept: text/html,application/xhtml+xml;q=0.9"
PROBLEM = "application/problem+json"
"""Type of the API's errors. A gateway's denial has another."""

CALLS = sorted({(row.method, row.path) for row in API if row.path.startswith("/v1/")})
"""Every call of a user: a new endpoint that a gateway does not pass fails here."""

FOREIGN = ["/consoles", "/console.js", "/console/a/b", "/v1/policyx", "/v1/audits", "/v1/check", "/tokens", "/revoked"]
"""Paths beside the sidecar's own."""

OWN = ["token", "console/users", "v1/me", "v1/policy/matrix", ".well-known/jwks.json"]
BEFORE = (
    "check/..",
    "check/nginx/../..",
    "check/./../.",
    "check/%2e%2e",
    "check/.%2E",
    "check/..;",
    "check%2f/..",
    "/x/..",
)
BEHIND = ("../../../check/nginx", "../../check", "%2e%2e/%2e%2e/check", "x/./../../../check/sections/media-library")
DOTTED = [
    *(f"/{before}/{own}" for own in OWN for before in BEFORE),
    *(f"/{own}/{behind}" for own in OWN for behind in BEHIND),
    *("/v1/users/..%2f..%2fcheck", "/v1//check/../me", "/v1/%6de", "/console/..", "/console/.", "/v1/users/./x"),
]
"""Paths below the sidecar's own or below ``/check``, depending on which program removes dots, dashes and escapes."""


@pytest.fixture
def lane(bench: Bench, gateway: str) -> Lane:
    return bench.lane(gateway)


def paths() -> Iterator[tuple[str, bytes]]:
    for name, content in read_console().items():
        path = "" if name == "index.html" else name.removesuffix(".html")
        yield f"/console/{path}", content


def own(lane: Lane, raw: bytes) -> Response:
    """Return the sidecar's response. The back end sees nothing of the request."""
    response, arrivals = lane.ask(raw)
    assert arrivals == []
    return response


def test_every_file_arrives_whole_with_its_headers(lane: Lane) -> None:
    for path, content in paths():
        response = own(lane, request(path + "?rd=/dashboard/", HTML))
        assert (path, response.status, response.body) == (path, 200, content)
        assert [v for n, v in response.headers if n == "content-security-policy"] == [CONTENT_SECURITY_POLICY]
        assert response.value("cross-origin-opener-policy") == "same-origin"
        assert response.value("cache-control") == "no-cache"
        tag = response.value("etag") or ""
        assert own(lane, request(path, f"If-None-Match: {tag}")).status == 304


def test_the_root_of_the_console_is_found(lane: Lane) -> None:
    response = own(lane, request("/console", HTML))
    assert (response.status, response.value("location")) == (302, "/console/")
    for accept, content_type in ((HTML, "text/html; charset=utf-8"), ("Accept: application/json", PROBLEM)):
        missing = own(lane, request("/console/nothing", accept))
        assert (missing.status, missing.value("content-type")) == (404, content_type)
        assert missing.value("content-security-policy") == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_of_the_pages_is_the_sidecars(lane: Lane, method: str, path: str) -> None:
    target = path.replace("{", "").replace("}", "")
    body = "{}" if method in {"POST", "PATCH", "PUT"} else ""
    response = own(lane, request(target, "Content-Type: application/json", method=method, body=body))
    assert response.status == 204 or response.value("content-type") in {PROBLEM, "application/json"}
    if response.status >= 400:
        assert json.loads(response.body)["code"] not in {"not_found", "method_not_allowed"}


@pytest.mark.parametrize("path", FOREIGN)
def test_paths_beside_them_are_checked(lane: Lane, path: str) -> None:
    response, arrivals = lane.ask(request(path))
    assert (response.status in {401, 403}, arrivals) == (True, [])
    assert response.value("content-type") != PROBLEM
    assert response.value("content-security-policy") is None


def has_one_reading(path: str) -> bool:
    segments = path.split("/")[1:]
    return "%" not in path and not {".", ".."} & set(segments) and "" not in segments[:-1]


def test_no_dot_segment_reaches_the_sidecar(bench: Bench, gateway: str) -> None:
    """Its listener gets the gateway's checks, and own paths that have one reading: never ``/check/../v1/me``."""
    seen = Relay(bench.sidecar.port)
    bench.loop.run(seen.start())
    headers = (f"X-Original-URI: {MEDIA}", f"X-Forwarded-Uri: {MEDIA}", "X-Original-Method: GET")
    try:  # a missing gateway skips the test: the relay is closed then, too
        stand_in = SimpleNamespace(port=seen.port, grpc_port=bench.sidecar.grpc_port)
        lane = bench.start(gateway, sidecar=cast("SidecarProcess", stand_in))
        found = []
        token = bench.cast.tokens["marketer"]
        for target in DOTTED:
            seen.heads.clear()
            response, arrivals = lane.ask(request(target, f"Authorization: Bearer {token}", *headers))
            assert arrivals == [], (target, response)
            lines = [head.split(b"\r\n")[0].decode() for head in seen.heads]
            paths = [line.split()[1].partition("?")[0] for line in lines]
            found += [(target, path) for path in paths if not has_one_reading(path)]
        assert found == []
        seen.heads.clear()
        assert lane.ask(request("/v1/me", f"Authorization: Bearer {token}"))[0].status == 200
        assert [head.split()[1] for head in seen.heads] == [b"/v1/me"], "the relay sees what the sidecar gets"
    finally:
        bench.loop.run(seen.stop())


@pytest.mark.parametrize("query", ["", "?a=1&b=%2F%0d%0a", "?rd=//evil.example&x=%", "?next=https://evil.example/"])
def test_a_page_leads_to_sign_in_and_back(lane: Lane, query: str) -> None:
    response = own(lane, request(BILLING + query, HTML))
    location = urlsplit(response.value("location") or "")
    assert (response.status, location.path) == (302, "/console/sign-in")
    assert location.netloc in {"", "dash.example"}
    _, _, rd = location.query.partition("rd=")
    assert (rd if rd.startswith("/") else unquote(rd)) == BILLING + query


def test_the_sign_in_page_never_leads_to_itself(lane: Lane) -> None:
    for path in ("/console/sign-in", "/console/", "/console/users"):
        assert own(lane, request(path + "?rd=/dashboard/billing/", HTML)).status in {200, 404}
