"""Middleware of an aiohttp application with a real sidecar: decisions, and fail-closed behaviour."""

import asyncio
from itertools import count

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sidecar.client import GUARD, IDENTITY, Denied, guard, public, requires

NAMES = count()


@requires("billing")
async def invoices(request):
    who = request[IDENTITY]
    return web.json_response({"user": who.user, "role": who.role, "account": who.account, "email": who.email})


@requires("billing", "change-plan")
async def change_plan(request):
    return web.Response(text="changed")


@public
async def health(request):
    assert IDENTITY not in request
    return web.Response(text="well")


async def forgotten(request):
    return web.Response(text="nobody guards this")


@requires("media-library")
class Media(web.View):
    async def get(self):
        return web.Response(text="pictures")

    @requires("media-library", "upload")
    async def post(self):
        return web.Response(text="uploaded")


async def depends(request):
    answer = await request.app[GUARD].decide(request, "analytics")
    return web.json_response({"sees": not isinstance(answer, Denied)})


def application(url):
    app = web.Application()
    guard(app, url, timeout=1)
    app.router.add_get("/invoices", invoices)
    app.router.add_post("/invoices", invoices)
    app.router.add_post("/plan", change_plan)
    app.router.add_get("/health", health)
    app.router.add_get("/forgotten", forgotten)
    app.router.add_view("/media", Media)
    app.router.add_get("/depends", public(depends))
    inner = web.Application()
    inner.router.add_get("/invoices", invoices)
    inner.router.add_get("/forgotten", forgotten)
    app.add_subapp("/inner", inner)
    return app


@pytest.fixture
async def service(sidecar):
    async with TestClient(TestServer(application(sidecar.url)), cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield client


@pytest.fixture
async def accountant(api, ada):
    return await api.join(ada, f"acc{next(NAMES)}@example.com", "accountant")


@pytest.fixture
async def marketer(api, ada):
    return await api.join(ada, f"mkt{next(NAMES)}@example.com", "marketer")


def bearer(person):
    return {"Authorization": f"Bearer {person.access}"}


async def test_who_may_gets_in_and_the_handler_knows_who_it_is(service, accountant):
    answer = await service.get("/invoices", headers=bearer(accountant))
    assert answer.status == 200
    assert await answer.json() == {
        "user": accountant.id,
        "role": "accountant",
        "account": accountant.account,
        "email": "",
    }
    assert (await service.post("/plan", headers=bearer(accountant))).status == 200
    assert (await service.get("/inner/invoices", headers=bearer(accountant))).status == 200


async def test_who_may_not_is_told_why(service, marketer):
    answer = await service.get("/invoices", headers={**bearer(marketer), "X-Request-ID": "r-77"})
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "no_rule")
    assert answer.headers["X-Request-ID"] == "r-77"
    assert answer.headers["Cache-Control"] == "no-store"
    body = await answer.json()
    assert (body["decision"], body["reason"]) == (False, "no_rule")
    assert not any(name.startswith("X-Auth-User") for name in answer.headers)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_token"),
        ({"Authorization": "Bearer x"}, "malformed_token"),
        ({"Authorization": "x"}, "missing_token"),
    ],
)
async def test_who_are_you_keeps_the_challenge(service, headers, reason):
    answer = await service.get("/invoices", headers=headers)
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (401, reason)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="sidecar"')


async def test_public_handlers_send_no_check_and_undeclared_ones_deny(service, ada, caplog):
    assert (await service.get("/health")).status == 200
    for path in ("/forgotten", "/inner/forgotten"):
        answer = await service.get(path, headers=bearer(ada))
        assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "unguarded")
    assert "forgotten" in caplog.text
    assert (await service.get("/nowhere")).status == 404
    assert (await service.delete("/invoices")).status == 405


async def test_a_view_and_its_methods(service, marketer, accountant):
    assert (await service.get("/media", headers=bearer(marketer))).status == 200
    assert (await service.post("/media", headers=bearer(marketer))).status == 200
    assert (await service.get("/media", headers=bearer(accountant))).status == 403
    assert (await service.post("/media", headers=bearer(accountant))).status == 403


async def test_a_handler_may_ask_on_its_way(service, accountant, marketer):
    assert await (await service.get("/depends", headers=bearer(accountant))).json() == {"sees": True}
    assert await (await service.get("/depends", headers=bearer(marketer))).json() == {"sees": False}


async def test_a_role_change_is_in_force_at_the_next_request(service, api, ada, marketer):
    assert (await service.get("/invoices", headers=bearer(marketer))).status == 403
    changed = await api.ask("PATCH", f"/v1/users/{marketer.id}", token=ada.access, json={"role": "accountant"})
    assert changed.status == 200
    assert (await service.get("/invoices", headers=bearer(marketer))).status == 200
    assert (await api.ask("DELETE", f"/v1/users/{marketer.id}", token=ada.access)).status == 204
    gone = await service.get("/invoices", headers=bearer(marketer))
    assert (gone.status, gone.headers["X-Auth-Reason"]) == (401, "unknown_user")


async def test_R4_two_authorization_headers_are_the_sidecars_to_refuse(service, accountant):
    headers = [("Authorization", f"Bearer {accountant.access}")] * 2
    answer = await service.get("/invoices", headers=headers)
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "bad_request")


async def test_R5_a_cookie_changes_state_from_own_pages_only(service, accountant):
    cookie = {"Cookie": f"sidecar={accountant.access}"}
    evil = {**cookie, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert (await service.get("/invoices", headers=cookie)).status == 200
    assert (await service.get("/invoices", headers=evil)).status == 403
    mailed = {**cookie, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await service.get("/invoices", headers=mailed)).status == 200, (
        "a link from a mail works for a signed-in user"
    )
    for path in ("/plan", "/invoices"):
        for headers in (cookie, evil, {**cookie, "Origin": "null"}):
            answer = await service.post(path, headers=headers)
            assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "cross_site"), (path, headers)
        ours = {**cookie, "Sec-Fetch-Site": "same-origin"}
        assert (await service.post(path, headers=ours)).status == 200
    own = {**cookie, "Origin": f"http://{service.host}:{service.port}"}
    assert (await service.post("/invoices", headers=own)).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_R5_a_cross_site_request_with_the_own_Origin_is_denied(service, accountant, site):
    """A page of http://HOST, which a man in the middle can write, posts a form to https://HOST."""
    form = {
        "Cookie": f"sidecar={accountant.access}",
        "Origin": f"http://{service.host}:{service.port}",
        "Sec-Fetch-Site": site,
        "Sec-Fetch-Mode": "navigate",
    }
    answer = await service.post("/invoices", headers=form)
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "cross_site")


async def test_R2_a_method_override_is_refused(service, accountant):
    answer = await service.get("/invoices", headers={**bearer(accountant), "X-HTTP-Method-Override": "DELETE"})
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (403, "bad_request")


async def answered_by(handler):
    """The same application with another program in the sidecar's place."""
    fake = web.Application()
    fake.router.add_route("*", "/{rest:.*}", handler)
    return fake


YES = {
    "X-Auth-Reason": "allowed",
    "X-Auth-User": "usr_a",
    "X-Auth-Section": "billing",
    "X-Auth-Action": "view",
}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {**YES, "X-Auth-Reason": "public"}),
        (200, {**YES, "X-Auth-User": ""}),
        (200, {**YES, "X-Auth-Section": "media-library"}),
        (200, {**YES, "X-Auth-Action": "change-plan"}),
        (201, YES),
        (204, YES),
        (302, {**YES, "Location": "/"}),
        (404, {}),
        (403, {}),
        (500, YES),
        (502, {}),
    ],
)
async def test_whatever_is_no_sidecars_yes_is_a_no(status, headers):
    async def answer(request):
        return web.Response(status=status, headers=headers)

    async with (
        TestServer(await answered_by(answer)) as fake,
        TestClient(TestServer(application(str(fake.make_url(""))))) as service,
    ):
        refused = await service.get("/invoices", headers={"Authorization": "Bearer x"})
        assert (refused.status, refused.headers["X-Auth-Reason"]) == (503, "sidecar_unavailable")
        assert refused.headers["Retry-After"] == "1"


async def test_a_yes_in_full_is_a_yes():
    async def answer(request):
        assert request.path == "/check/sections/billing/view"
        return web.Response(headers=YES)

    async with (
        TestServer(await answered_by(answer)) as fake,
        TestClient(TestServer(application(str(fake.make_url(""))))) as service,
    ):
        assert (await service.get("/invoices")).status == 200


@pytest.mark.parametrize("way", ["refused", "silent", "cut"])
async def test_a_sidecar_that_is_out_lets_nobody_in(way):
    async def silent(request):
        if way == "silent":
            await asyncio.sleep(1.5)
        request.transport.abort()
        return web.Response()

    async with TestServer(await answered_by(silent)) as fake:
        url = "http://127.0.0.1:9" if way == "refused" else str(fake.make_url(""))
        async with TestClient(TestServer(application(url))) as service:
            answer = await service.get("/invoices", headers={"Authorization": "Bearer x"})
            assert (answer.status, answer.headers["X-Auth-Reason"]) == (503, "sidecar_unavailable")
            assert (await service.get("/health")).status == 200


def test_a_requirement_names_something():
    with pytest.raises(ValueError, match="name"):
        requires("")
