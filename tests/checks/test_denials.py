"""A denial with a remedy for the operator contains it: in the response, and in the log once per minute and kind, with a
count.
"""

import json

import pytest
import structlog
from structlog.testing import capture_logs

from sidecar.gateways.ext_authz import HEADERS_READ, answer_check, gateway_call
from sidecar.http import denial_log as report
from sidecar.http.denial_causes import Cause, CauseKind
from sidecar.http.denial_log import DenialLog
from sidecar.telemetry import app_log
from tests.pdp_fixture import ISSUER, app, token

Line = tuple[bytes, bytes]
STAND = app()
BEARER: Line = (b"Authorization", b"Bearer " + token("c").encode())
COOKIE: Line = (b"Cookie", b"sidecar=" + token("c").encode())
METHOD, URI = (b"X-Forwarded-Method", b"GET"), (b"X-Forwarded-Uri", b"/dashboard/media-library")
O_METHOD, O_URI = (b"X-Original-Method", b"GET"), (b"X-Original-URI", b"/dashboard/media-library")
O_URL = (b"X-Original-URL", b"https://dash.example/dashboard/media-library")
INGRESS = (b"X-Sent-From", b"nginx-ingress-controller")
EVIL = b"https://evil.example"

CASES: dict[str, tuple[str, tuple[Line, ...], str, tuple[str, ...]]] = {
    "nothing": ("/check", (), "bad_request", ("missing X-Forwarded-Method and X-Forwarded-Uri",)),
    "no URI": ("/check", (METHOD,), "bad_request", ("missing X-Forwarded-Uri",)),
    "no method": ("/check/nginx", (O_URI,), "bad_request", ("missing X-Original-Method",)),
    "nginx at Traefik's endpoint": ("/check", (O_METHOD, O_URI), "bad_request", ("X-Forwarded-Uri", "/check/nginx")),
    "Traefik at nginx'": (
        "/check/nginx",
        (METHOD, URI),
        "bad_request",
        ("X-Original-URI", ", which /check reads"),
    ),
    "half of nginx at Traefik's": ("/check", (O_URI,), "bad_request", ("/check/nginx", "X-Original-Method")),
    "Authelia's recipe": ("/check/nginx", (O_METHOD, O_URL), "bad_request", ("X-Original-URI", "$request_uri")),
    "Authelia's recipe at /check": ("/check", (O_METHOD, O_URL), "bad_request", ("/check/nginx", "X-Original-URI")),
    "ingress-nginx": ("/check/nginx", (INGRESS, O_METHOD, O_URL), "bad_request", ("auth-method: GET",)),
    "ingress-nginx and a client": (
        "/check/nginx",
        (INGRESS, O_METHOD, (b"X-Original-URI", b"/login"), O_URL),
        "bad_request",
        ("differ", "auth-method"),
    ),
    "a whole URL": ("/check/nginx", (O_METHOD, (b"X-Original-URI", O_URL[1])), "bad_request", ("begin with /",)),
    "an empty method": ("/check", ((b"X-Forwarded-Method", b""), URI), "bad_request", ("Method is empty",)),
    "two URIs": ("/check", (METHOD, URI, URI), "bad_request", ("X-Forwarded-Uri is repeated",)),
    "no such endpoint": ("/check/traefik", (METHOD, URI), "bad_request", (", which /check reads",)),
    "no such endpoint, nothing sent": ("/check/traefik", (), "bad_request", ("/check/nginx", "/check/sections/")),
    "Envoy without a path": ("/check/envoy", (), "bad_request", ("/check/envoy/…",)),
    "a section too many": ("/check/sections/a/b/c", (), "bad_request", ("SECTION/ACTION",)),
    "an override": ("/check", (METHOD, URI, (b"X-HTTP-Method", b"PUT")), "bad_request", ("x-http-method",)),
    "h2c": ("/check", (METHOD, URI, (b"Upgrade", b"h2c")), "bad_request", ("Upgrade", '"websocket"')),
    "a fragment": ("/check/envoy/a%23b", (), "ambiguous_path", ('"#"',)),
    "dots": ("/check/envoy/a/../b", (), "ambiguous_path", ('"/.."',)),
    "a percent sign": ("/check/envoy/100%", (), "ambiguous_path", ("%25",)),
    "no route": ("/check/envoy/nowhere", (BEARER,), "unmatched_path", ("no route in sections.toml",)),
    "no such method": (
        "/check",
        ((b"X-Forwarded-Method", b"PROPFIND"), URI, BEARER),
        "unmatched_path",
        ("sections.toml", "GET", "DELETE"),
    ),
    "no origin": (
        "/check",
        ((b"X-Forwarded-Method", b"POST"), URI, COOKIE),
        "cross_site",
        ("Origin", "Sec-Fetch-Site", "pass both on"),
    ),
    "a foreign origin": (
        "/check/sections/media-library",
        ((b"Origin", EVIL), COOKIE),
        "cross_site",
        ("SIDECAR_PUBLIC_URL", ISSUER, EVIL.decode()),
    ),
}
CLIENTS: dict[str, tuple[str, tuple[Line, ...], str]] = {
    "two tokens": ("/check", (METHOD, URI, BEARER, BEARER), "bad_request"),
    "two tokens at nginx'": ("/check/nginx", (O_METHOD, O_URI, BEARER, BEARER), "bad_request"),
    "two tokens at Envoy's": ("/check/envoy/dashboard/media-library", (BEARER, BEARER), "bad_request"),
    "two tokens for a section": ("/check/sections/media-library", (BEARER, BEARER), "bad_request"),
    "two cookies": ("/check", (METHOD, URI, COOKIE, COOKIE), "bad_request"),
    "a foreign page": ("/check/sections/media-library", ((b"Sec-Fetch-Site", b"cross-site"), COOKIE), "cross_site"),
    "no token": ("/check", (METHOD, URI), "missing_token"),
    "no rule": ("/check/envoy/dashboard/billing", (BEARER,), "no_rule"),
}
"""Reasons without a remedy for the operator."""


async def body_of(path: str, headers: tuple[Line, ...]) -> dict[str, str]:
    answer = await answer_check(STAND, gateway_call("GET", path, "", headers), b"r")
    body: dict[str, str] = json.loads(answer.body)
    return body


@pytest.mark.parametrize("name", CASES)
async def test_what_the_operator_can_mend_is_said(name: str) -> None:
    path, headers, reason, words = CASES[name]
    body = await body_of(path, headers)
    assert body["reason"] == reason
    for word in words:
        assert word in body["detail"], body["detail"]
    read = tuple((low, value) for header, value in headers if (low := header.lower()) in HEADERS_READ)
    assert await body_of(path, read) == body, "a path drops the other headers"


@pytest.mark.parametrize("name", CLIENTS)
async def test_what_the_client_did_has_no_detail(name: str) -> None:
    path, headers, reason = CLIENTS[name]
    body = await body_of(path, headers)
    assert (body["reason"], "detail" in body) == (reason, False)


@pytest.mark.parametrize(
    "origin", [b"null", b"https://evil.example/<script>", b"x" * 300, b"https://" + b"e" * 200, b"\xff", b'https://"']
)
async def test_an_origin_that_is_none_is_not_repeated(origin: bytes) -> None:
    body = await body_of("/check/sections/media-library", ((b"Origin", origin), COOKIE))
    assert body["detail"] == f"Origin does not match SIDECAR_PUBLIC_URL, {ISSUER}"


async def test_no_detail_repeats_the_path_or_a_token() -> None:
    for path, headers, _, _ in CASES.values():
        given = [value.decode() for name, value in headers if name not in (b"Origin", b"X-Forwarded-Method")]
        detail = (await body_of(path, headers))["detail"]
        assert not [value for value in given if len(value) > 6 and value in detail]


def test_one_line_a_minute_per_kind_with_a_count() -> None:
    now = [1000.0]
    report = DenialLog(lambda: now[0])
    missing, route = Cause(CauseKind.MISSING_HEADER, "x"), Cause(CauseKind.NO_ROUTE, "y")
    with capture_logs() as lines:
        for _ in range(5):
            report.cause(missing, "/check")
        report.cause(route, "/check")
        now[0] += 59
        report.cause(missing, "/check")
        now[0] += 1
        report.cause(missing, "/check")
        report.cause(missing, "/check")
    assert [(one["kind"], one["count"], one["detail"]) for one in lines] == [
        ("missing_header", 1, "x"),
        ("no_route", 1, "y"),
        ("missing_header", 6, "x"),
    ]
    assert {one["log_level"] for one in lines} == {"warning"}


async def test_a_denial_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.gateways.ext_authz.DENIAL_LOG", DenialLog())
    with capture_logs() as lines:
        for _ in range(3):
            await body_of("/check", (O_METHOD, O_URI))
    (line,) = lines
    assert (line["endpoint"], line["kind"]) == ("/check", "missing_header")
    assert "/check/nginx" in line["detail"]


async def test_at_debug_level_every_denied_request_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """With method and path, and without the query, which may hold a secret."""
    monkeypatch.setitem(app_log._threshold, "level", 10)
    billing = (METHOD, (b"X-Forwarded-Uri", b"/dashboard/billing/7?secret=x"), BEARER)
    odd = (METHOD, (b"X-Forwarded-Uri", b"/\xff\n" + b"a" * 900))
    with capture_logs() as lines:
        await body_of("/check", billing)
        await body_of("/check", odd)
        await answer_check(STAND, gateway_call("GET", "/check", "", (METHOD, URI, BEARER)), b"r")
    shown = [(one["reason"], one["method"], one["path"]) for one in lines if one["event"] == "request denied"]
    assert shown[0] == ("no_rule", "GET", "/dashboard/billing/7")
    assert shown[1][2].startswith("/\\udcff\\naaa") and len(shown[1][2]) < 600
    assert len(shown) == 2
    assert "secret" not in str(lines)


async def test_at_another_level_no_path_is_in_the_log() -> None:
    assert structlog.get_config()
    with capture_logs() as lines:
        await body_of("/check", (METHOD, (b"X-Forwarded-Uri", b"/dashboard/billing/7"), BEARER))
    assert [one for one in lines if one["event"] == "request denied"] == []
    assert report.SECONDS == 60
