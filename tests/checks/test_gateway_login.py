"""Redirects of a browser that must sign in, and the clients that are never redirected."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gateways.ext_authz import answer_check, gateway_call
from sidecar.gateways.login_redirect import is_navigation
from sidecar.http.context import AppContext
from sidecar.http.headers import RawHeaders
from sidecar.http.login_page import MAX_URI, login_page
from sidecar.http.response import RawResponse
from tests.pdp_fixture import app, token

HTML = (b"Accept", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
PUBLIC = "https://dash.example"
PAGE = login_page(f"{PUBLIC}/login", PUBLIC)
CONSOLE = login_page(f"{PUBLIC}/console/sign-in", PUBLIC)


def context(**changed: Any) -> AppContext:
    shared = app()
    return replace(shared, public_config=replace(shared.public_config, **{"login_page": PAGE, **changed}))


def forwarded(method: str = "GET", uri: str = "/dashboard/billing?year=2026") -> tuple[tuple[bytes, bytes], ...]:
    return ((b"X-Forwarded-Method", method.encode()), (b"X-Forwarded-Uri", uri.encode()))


async def ask(
    *headers: tuple[bytes, bytes], path: str = "/check", method: str = "GET", on: AppContext | None = None
) -> RawResponse:
    path, _, query = path.partition("?")
    return await answer_check(on or context(), gateway_call(method, path, query, headers), "r")


async def test_a_page_that_is_opened_leads_to_the_sign_in_page() -> None:
    answer = await ask(*forwarded(), HTML)
    headers = dict(answer.headers)
    assert answer.status == 302
    assert headers["Location"] == "https://dash.example/login?rd=%2Fdashboard%2Fbilling%3Fyear%3D2026"
    assert headers["X-Auth-Reason"] == "missing_token"
    assert headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in headers


async def test_envoy_is_told_with_the_path_of_the_request_line() -> None:
    answer = await ask(HTML, path="/check/envoy/dashboard/billing?year=2026")
    assert answer.status == 302
    assert dict(answer.headers)["Location"].endswith("?rd=%2Fdashboard%2Fbilling%3Fyear%3D2026")


async def test_nginx_gets_no_redirect_because_it_would_make_it_a_500() -> None:
    original = ((b"X-Original-Method", b"GET"), (b"X-Original-URI", b"/dashboard/billing"))
    assert (await ask(*original, HTML, path="/check/nginx")).status == 401


async def test_an_endpoint_that_any_gateway_may_use_sends_none() -> None:
    assert (await ask(HTML, path="/check/sections/billing")).status == 401


async def test_without_a_sign_in_page_it_is_a_401() -> None:
    assert (await ask(*forwarded(), HTML, on=context(login_page=None))).status == 401


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "OPTIONS"])
async def test_only_a_get_is_led(method: str) -> None:
    assert (await ask(*forwarded(method), HTML)).status == 401
    assert (await ask(HTML, path="/check/envoy/dashboard/billing", method=method)).status == 401


async def test_only_who_is_not_known_is_led() -> None:
    cookie = (b"Cookie", f"sidecar={token('c')}".encode())
    assert (await ask(*forwarded(), HTML, cookie)).status == 403
    assert (await ask(*forwarded(uri="/dashboard/../x"), HTML)).status == 403
    assert (await ask(*forwarded(uri="/login"), HTML)).status == 200


async def test_a_dead_cookie_leads_to_the_page() -> None:
    assert (await ask(*forwarded(), HTML, (b"Cookie", b"sidecar=dead"))).status == 302


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([HTML], True),
        ([(b"accept", b"TEXT/HTML")], True),
        ([(b"Accept", b"application/json"), HTML], True),
        ([HTML, (b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document")], True),
        ([], False),
        ([(b"Accept", b"*/*")], False),
        ([(b"Accept", b"application/json")], False),
        ([(b"Accept", b"text/htmlx, xtext/html")], False),
        ([HTML, (b"Sec-Fetch-Mode", b"cors")], False),
        ([HTML, (b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Mode", b"cors")], False),
        ([HTML, (b"Sec-Fetch-Dest", b"iframe")], False),
        ([HTML, (b"X-Requested-With", b"XMLHttpRequest")], False),
        ([HTML, (b"Authorization", b"Bearer x")], False),
        ([HTML, (b"Upgrade", b"websocket")], False),
        ([HTML, (b"Sec-WebSocket-Key", b"x")], False),
        ([(b"Accept", b"," * 100 + b"text/html")], True),
        ([(b"Accept", b"," * 2000), HTML], False),
    ],
)
def test_navigation(headers: RawHeaders, expected: bool) -> None:
    assert is_navigation(headers) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://dash.example/login", "https://dash.example/login?rd=%2Fa"),
        ("https://dash.example/login?theme=dark", "https://dash.example/login?theme=dark&rd=%2Fa"),
        ("https://dash.example/#/login", "https://dash.example/?rd=%2Fa#/login"),
        ("https://dash.example/console/sign-in", "https://dash.example/console/sign-in?rd=%2Fa"),
        ("https://dash.example/login?", "https://dash.example/login?&rd=%2Fa"),
    ],
)
def test_the_way_back_is_put_where_the_page_can_read_it(url: str, expected: str) -> None:
    assert login_page(url, PUBLIC).location("/a") == expected


@pytest.mark.parametrize("public", [PUBLIC, "https://dash.example:443", "https://DASH.example"])
@pytest.mark.parametrize("query", ["", "?rd=/dashboard", "?rd=" + "a" * MAX_URI])
def test_the_login_page_itself_is_never_redirected(public: str, query: str) -> None:
    """A gateway that checks the login page would redirect to it forever."""
    assert login_page(f"{PUBLIC}/login", public).location("/login" + query) is None
    for path in ("/console/", "/console/sign-in", "/console/users", "/console/shell.js"):
        assert login_page(f"{PUBLIC}/console/sign-in", public).location(path + query) is None


@pytest.mark.parametrize("uri", ["/console", "/consoles/", "/dashboard?next=/console/sign-in", "/a/console/sign-in"])
def test_other_paths_are_redirected_to_the_console(uri: str) -> None:
    assert (CONSOLE.location(uri) or "").startswith(f"{PUBLIC}/console/sign-in?rd=%2F")


def test_a_login_page_of_another_origin_excepts_no_path() -> None:
    for url in ("https://sso.example/login", "https://dash.example:8443/login", "http://dash.example/login"):
        assert login_page(url, PUBLIC).location("/login") == f"{url}?rd=%2Flogin"


@pytest.mark.parametrize("path", ["/console/", "/console/sign-in?rd=%2Fdashboard%2F", "/console/users"])
async def test_a_gateway_that_checks_the_console_gets_no_loop(path: str) -> None:
    on = context(login_page=CONSOLE)
    assert (await ask(*forwarded(uri=path), HTML, on=on)).status == 401
    assert (await ask(HTML, path=f"/check/envoy{path}", on=on)).status == 401
    led = await ask(*forwarded(), HTML, on=on)
    assert dict(led.headers)["Location"].startswith(f"{PUBLIC}/console/sign-in?rd=%2Fdashboard%2F")


def test_a_request_that_is_too_long_is_not_returned_to() -> None:
    assert PAGE.location("/" + "a" * MAX_URI) == PAGE.url
    assert PAGE.location(None) == PAGE.url


@given(st.text(max_size=60))
def test_the_return_address_is_one_parameter_of_the_same_host(tail: str) -> None:
    uri = "/dashboard?" + tail
    location = PAGE.location(uri) or ""
    app = urlsplit(location)
    assert (app.scheme, app.netloc, app.path, app.fragment) == ("https", "dash.example", "/login", "")
    assert location.isascii()
    assert location.isprintable()
    assert parse_qs(app.query, encoding="utf-8", errors="surrogateescape") == {"rd": [uri]}
