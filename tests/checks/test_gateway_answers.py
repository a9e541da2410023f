"""Parts of a gateway's response besides the status: the cookies to forward, and the headers that Envoy must remove."""

import pytest

from sidecar.domain.decision import Decision, Reason
from sidecar.gateways.ext_authz import (
    HEADERS_READ,
    answer_check,
    decide_now,
    family_of,
    follows_from_decision,
    gateway_call,
    respond,
)
from sidecar.http.context import AppContext
from sidecar.http.headers import RawHeaders
from sidecar.http.response import ENVOY_REMOVES, IDENTITY, RawResponse
from tests.pdp_fixture import app, token

MEDIA = "/dashboard/media-library/"
BEARER = (b"Authorization", f"Bearer {token('c')}".encode())
FORWARDED = ((b"X-Forwarded-Method", b"GET"), (b"X-Forwarded-Uri", MEDIA.encode()))
ORIGINAL = ((b"X-Original-Method", b"GET"), (b"X-Original-URI", MEDIA.encode()))
COOKIES = (b"Cookie", b"a=1; sidecar=x; b=2")


@pytest.fixture(scope="module")
def context() -> AppContext:
    return app()


async def ask(context: AppContext, path: str, *headers: tuple[bytes, bytes]) -> RawResponse:
    return await answer_check(context, gateway_call("GET", path, "", headers), "r")


async def test_R6_an_allow_tells_which_cookies_may_pass(context: AppContext) -> None:
    answer = await ask(context, "/check", *FORWARDED, BEARER, COOKIES)
    assert (answer.status, dict(answer.headers)["Cookie"]) == (200, "a=1; b=2")
    answer = await ask(context, f"/check/envoy{MEDIA}", BEARER, COOKIES)
    assert (answer.status, dict(answer.headers)["Cookie"]) == (200, "a=1; b=2")


@pytest.mark.parametrize("headers", [(), ((b"Cookie", b"sidecar=x"),)])
async def test_R6_no_cookie_is_an_absent_header(context: AppContext, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    answer = await ask(context, "/check", *FORWARDED, BEARER, *headers)
    assert answer.status == 200
    assert "Cookie" not in dict(answer.headers)


async def test_nginx_rewrites_by_itself_and_its_buffer_is_small(context: AppContext) -> None:
    answer = await ask(context, "/check/nginx", *ORIGINAL, BEARER, COOKIES)
    assert answer.status == 200
    assert "Cookie" not in dict(answer.headers)


async def test_a_denial_repeats_no_cookie(context: AppContext) -> None:
    billing = ((b"X-Forwarded-Method", b"GET"), (b"X-Forwarded-Uri", b"/dashboard/billing"))
    answer = await ask(context, "/check", *billing, BEARER, COOKIES)
    assert answer.status == 403
    assert not {"Cookie", ENVOY_REMOVES} & set(dict(answer.headers))


async def test_envoy_is_told_to_remove_every_header_that_is_empty(context: AppContext) -> None:
    answer = await ask(context, "/check/envoy/login", COOKIES)
    headers = dict(answer.headers)
    assert answer.status == 200
    assert all(headers[name] == "" for name in IDENTITY)
    assert headers[ENVOY_REMOVES].split(",") == [name.lower() for name in IDENTITY]


async def test_envoy_removes_the_cookie_if_no_part_may_pass(context: AppContext) -> None:
    answer = await ask(context, f"/check/envoy{MEDIA}", BEARER)
    assert dict(answer.headers)[ENVOY_REMOVES] == "cookie"


async def test_the_others_are_told_nothing_of_the_kind(context: AppContext) -> None:
    assert ENVOY_REMOVES not in dict((await ask(context, "/check", *FORWARDED, BEARER)).headers)
    assert ENVOY_REMOVES not in dict((await ask(context, "/check/nginx", *ORIGINAL, BEARER)).headers)


def test_a_fault_while_answering_is_a_denial(context: AppContext) -> None:
    call = gateway_call("GET", "/check", "", (*FORWARDED, BEARER))
    broken = Decision(Reason.ALLOWED, "g", section=["no section"])  # type: ignore[arg-type]
    answer = respond(context, call, broken, b"r", 0.0)
    assert answer.status == 403
    assert not set(IDENTITY) & set(dict(answer.headers))


def test_a_fault_while_reading_is_a_denial(context: AppContext) -> None:
    call = gateway_call("GET", "/check", "", [(b"X-Forwarded-Uri", None)])  # type: ignore[list-item]
    decision = decide_now(context, call)
    assert isinstance(decision, Decision)
    assert decision.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/check", "/check"),
        ("/check/nginx", "/check/nginx"),
        ("/check/envoy/a/b", "/check/envoy"),
        ("/check/sections/billing", "/check/sections"),
        ("/check/what/ever", "/check/…"),
        ("/check/envoy", "/check/…"),
    ],
)
def test_metrics_and_logs_name_the_family_and_never_the_path(path: str, label: str) -> None:
    assert family_of(path).label == label


@pytest.mark.parametrize(
    "headers",
    [
        (*FORWARDED, *ORIGINAL, BEARER),
        (*FORWARDED, *ORIGINAL, BEARER, COOKIES),
        (*FORWARDED, *ORIGINAL),
        (*FORWARDED, *ORIGINAL, (b"X-HTTP-Method", b"PUT"), BEARER),
    ],
)
@pytest.mark.parametrize("path", ["/check", "/check/nginx", f"/check/envoy{MEDIA}", "/check/sections/media-library"])
async def test_a_lane_may_leave_out_what_no_check_reads(context: AppContext, path: str, headers: RawHeaders) -> None:
    noise = ((b"Host", b"x"), (b"User-Agent", b"curl"), (b"X-Auth-Role", b"evil"), (b"X-Original-URL", b"/login"))
    with_noise = await ask(context, path, *noise, *headers)
    assert with_noise == await ask(context, path, *(line for line in headers if line[0].lower() in HEADERS_READ))
    call = gateway_call("GET", path, "", headers)
    decision = decide_now(context, call)
    assert isinstance(decision, Decision)
    if follows_from_decision(context, call, decision):
        bare = await ask(context, path, *(line for line in headers if line[0].lower() != b"cookie"))
        assert with_noise == bare
