"""The token client against a real sidecar: single flight, early renewal, a new sign-in after a revocation."""

import asyncio
from collections import Counter
from itertools import count
from traceback import walk_tb

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.client import Password, RefreshSession, SignInRejectedError, TokenClient, TokenUnavailableError
from tests.conftest import Clock
from tests.live.support import PASSWORD

NAMES = count()
NEW = "six green bottles on a shelf"


@pytest.fixture
async def bob(api, ada):
    return await api.join(ada, f"bob{next(NAMES)}@example.com", "accountant")


@pytest.fixture
def asked(monkeypatch):
    """Every grant that the client requests."""
    kinds = Counter()
    ask = TokenClient._request

    async def counted(self, form):
        kinds[form["grant_type"]] += 1
        return await ask(self, form)

    monkeypatch.setattr(TokenClient, "_request", counted)
    return kinds


async def me(client, sidecar):
    async with client.request("GET", f"{sidecar.url}/v1/me") as response:
        return response.status, await response.json()


async def test_it_signs_in_once_and_keeps_the_token(sidecar, bob, asked):
    async with TokenClient(sidecar.url, Password(bob.email, PASSWORD, "Acme")) as client:
        assert asked == {}
        tokens = {await client.token() for _ in range(5)}
        assert len(tokens) == 1
        assert (await me(client, sidecar))[1]["email"] == bob.email
    assert asked == {"password": 1}


async def test_a_hundred_callers_share_one_flight(sidecar, bob, asked):
    async with TokenClient(sidecar.url, Password(bob.email, PASSWORD)) as client:
        tokens = await asyncio.gather(*(client.token() for _ in range(100)))
    assert len(set(tokens)) == 1
    assert asked == {"password": 1}


async def test_a_caller_that_gives_up_takes_nobody_along(sidecar, bob, asked):
    async with TokenClient(sidecar.url, Password(bob.email, PASSWORD)) as client:
        impatient = asyncio.create_task(client.token())
        patient = asyncio.create_task(client.token())
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient
        with pytest.raises(asyncio.CancelledError):
            await impatient
    assert asked == {"password": 1}


async def test_it_renews_ahead_of_the_end_and_nobody_waits(sidecar, bob, asked):
    clock = Clock()
    async with TokenClient(sidecar.url, Password(bob.email, PASSWORD), clock=clock.monotonic) as client:
        first = await client.token()
        clock.advance(900 - 61)
        assert await client.token() == first
        assert asked == {"password": 1}
        clock.advance(2)
        assert await client.token() == first, "the old one is still valid"
        await client._refresh_task
        second = await client.token()
        assert second != first
        assert asked == {"password": 1, "refresh_token": 1}
        assert (await me(client, sidecar))[0] == 200


async def test_past_the_end_it_waits_for_the_new_one(sidecar, bob, asked):
    clock = Clock()
    async with TokenClient(sidecar.url, Password(bob.email, PASSWORD), clock=clock.monotonic) as client:
        first = await client.token()
        clock.advance(900)
        tokens = await asyncio.gather(*(client.token() for _ in range(20)))
        assert len({first, *tokens}) == 2
    assert asked == {"password": 1, "refresh_token": 1}


async def test_revoked_it_fetches_anew_once_for_all(sidecar, api, bob, asked):
    async with TokenClient(sidecar.url, Password(bob.email, NEW)) as client:
        change = {"old_password": PASSWORD, "new_password": NEW}
        assert (await api.ask("POST", "/v1/me/password", token=bob.access, json=change)).status == 200
        first = await client.token()
        change = {"old_password": NEW, "new_password": PASSWORD}
        mine = await api.sign_in(bob.email, NEW)
        assert (await api.ask("POST", "/v1/me/password", token=mine.access, json=change)).status == 200
        client._grant = Password(bob.email, PASSWORD)  # the operator has configured the new one
        asked.clear()
        answers = await asyncio.gather(*(me(client, sidecar) for _ in range(10)))
        assert {status for status, _ in answers} == {200}
        assert await client.token() != first
    assert asked == {"refresh_token": 1, "password": 1}


async def test_it_fetches_anew_only_once_a_request(sidecar, api, bob, asked):
    """A service that rejects every token causes no repeated grants."""
    refused = web.Application()
    tries = []

    async def no(request):
        tries.append(request.headers["Authorization"])
        return web.Response(status=401, headers={"X-Auth-Reason": "revoked"})

    refused.router.add_get("/", no)
    async with TestServer(refused) as service, TokenClient(sidecar.url, Password(bob.email, PASSWORD)) as client:
        async with client.request("GET", service.make_url("/")) as response:
            assert response.status == 401
        assert len(tries) == len(set(tries)) == 2


@pytest.mark.parametrize(
    ("status", "headers", "tries"),
    [
        (401, {"X-Auth-Reason": "session_ended"}, 2),
        (401, {"WWW-Authenticate": 'Bearer realm="x", error="invalid_token"'}, 2),
        (401, {"X-Auth-Reason": "suspended", "WWW-Authenticate": 'Bearer error="invalid_token"'}, 1),
        (401, {"WWW-Authenticate": "Basic"}, 1),
        (401, {}, 1),
        (403, {"X-Auth-Reason": "revoked"}, 1),
        (200, {"X-Auth-Reason": "revoked"}, 1),
    ],
)
async def test_which_answers_mean_that_a_new_token_may_help(sidecar, bob, status, headers, tries):
    came = []

    async def answer(request):
        came.append(await request.read())
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/", answer)
    async with (
        TestServer(app) as service,
        TokenClient(sidecar.url, Password(bob.email, PASSWORD)) as client,
        client.request("POST", service.make_url("/"), json={"a": 1}) as response,
    ):
        assert response.status == status
    assert came == [b'{"a": 1}'] * tries


async def test_a_body_that_flows_is_not_sent_twice(sidecar, bob):
    came = []

    async def refuse(request):
        came.append(await request.read())
        return web.Response(status=401, headers={"X-Auth-Reason": "revoked"})

    async def flow():
        yield b"once"

    app = web.Application()
    app.router.add_post("/", refuse)
    async with (
        TestServer(app) as service,
        TokenClient(sidecar.url, Password(bob.email, PASSWORD)) as client,
        client.request("POST", service.make_url("/"), data=flow()) as response,
    ):
        assert response.status == 401
    assert came == [b"once"]


async def test_a_wrong_password_is_reported_once_and_not_retried(sidecar, bob, asked):
    clock = Clock()
    async with TokenClient(sidecar.url, Password(bob.email, "wrong"), clock=clock.monotonic) as client:
        for _ in range(3):
            with pytest.raises(SignInRejectedError) as refused:
                await client.token()
        assert refused.value.error == "invalid_grant"
        assert asked == {"password": 1}
        clock.advance(11)
        with pytest.raises(SignInRejectedError):
            await client.token()
    assert asked == {"password": 2}


async def test_a_failure_that_is_told_to_many_keeps_none_of_them(asked):
    """A service that requests a token a thousand times per second while the sidecar is down must not grow by it."""
    clock = Clock()
    async with TokenClient("http://127.0.0.1:9", Password("bob@example.com", "x"), clock=clock.monotonic) as client:
        told = []
        for _ in range(50):
            with pytest.raises(TokenUnavailableError) as unavailable:
                await client.token()
            told.append(unavailable.value)
        assert asked == {"password": 1}
        assert {(str(one), one.retry_after) for one in told} == {(str(told[0]), 1.0)}
        assert len(list(walk_tb(client._failure[1].__traceback__))) < 10
        assert max(len(list(walk_tb(one.__traceback__))) for one in told) < 10


async def test_a_refresh_token_alone_serves_until_the_session_ends(sidecar, api, bob, asked):
    clock = Clock()
    async with TokenClient(sidecar.url, RefreshSession(bob.refresh), clock=clock.monotonic) as client:
        first = await client.token()
        assert client.refresh_token not in (None, bob.refresh)
        assert (await me(client, sidecar))[0] == 200
        await api.ask("POST", "/revoke", data={"token": client.refresh_token})
        with pytest.raises(SignInRejectedError):
            await me(client, sidecar)
        assert first
    assert asked == {"refresh_token": 2}


async def test_close_ends_its_own_session_and_no_given_one(sidecar, api, bob):
    async with TokenClient(sidecar.url, Password(bob.email, PASSWORD)) as client:
        token = await client.token()
    gone = await api.ask("GET", "/v1/me", token=token)
    assert (gone.status, gone.body["reason"]) == (401, "session_ended")
    async with TokenClient(sidecar.url, RefreshSession(bob.refresh)) as client:
        token = await client.token()
    assert (await api.ask("GET", "/v1/me", token=token)).status == 200


class Scripted:
    """A scripted sidecar: (status, headers, body), or a connection error."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.forms = []

    async def token(self, request):
        self.forms.append(dict(await request.post()))
        answer = self.answers.pop(0)
        if answer is None:
            request.transport.abort()
            return web.Response()
        status, headers, body = answer
        return (
            web.json_response(body, status=status, headers=headers) if body is not None else web.Response(status=status)
        )

    async def revoke(self, request):
        return web.Response()

    def server(self):
        app = web.Application()
        app.router.add_post("/token", self.token)
        app.router.add_post("/revoke", self.revoke)
        return TestServer(app)


def granted(name, seconds=100):
    return (200, {}, {"access_token": f"a-{name}", "refresh_token": f"r-{name}", "expires_in": seconds})


async def test_a_sidecar_that_wants_to_be_left_alone_is(asked):
    clock = Clock()
    limited = (429, {"Retry-After": "30"}, {"error": "rate_limited", "error_description": "…"})
    script = Scripted(limited, granted(1))
    async with (
        script.server() as server,
        TokenClient(str(server.make_url("")), Password("a", "b"), clock=clock.monotonic) as client,
    ):
        for _ in range(3):
            with pytest.raises(TokenUnavailableError) as left:
                await client.token()
        assert left.value.retry_after == 30
        clock.advance(29)
        with pytest.raises(TokenUnavailableError):
            await client.token()
        clock.advance(2)
        assert await client.token() == "a-1"
    assert asked == {"password": 2}


async def test_a_renewal_that_fails_beside_the_callers_disturbs_nobody():
    clock = Clock()
    script = Scripted(granted(1), (503, {"Retry-After": "1"}, {}), granted(2))
    async with (
        script.server() as server,
        TokenClient(str(server.make_url("")), Password("a", "b"), clock=clock.monotonic) as client,
    ):
        assert await client.token() == "a-1"
        clock.advance(80)
        assert await client.token() == "a-1"
        await asyncio.wait([client._refresh_task])
        assert await client.token() == "a-1", "no request for a second"
        assert len(script.forms) == 2
        clock.advance(2)
        assert await client.token() == "a-1"
        await client._refresh_task
        assert await client.token() == "a-2"


async def test_R14_a_lost_response_is_retried_with_the_same_token():
    clock = Clock()
    script = Scripted(granted(1), None, granted(2))
    async with (
        script.server() as server,
        TokenClient(str(server.make_url("")), Password("a", "b"), clock=clock.monotonic) as client,
    ):
        await client.token()
        clock.advance(100)
        assert await client.token() == "a-2"
    assert [form.get("refresh_token") for form in script.forms] == [None, "r-1", "r-1"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, {}),
        (200, {}, []),
        (200, {}, {"access_token": 1, "expires_in": 100}),
        (200, {}, {"access_token": "x", "expires_in": 0}),
        (200, {}, {"access_token": "x", "expires_in": "100"}),
        (200, {}, None),
        (307, {"Location": "http://127.0.0.1:1/"}, {}),
        (500, {}, {}),
        None,
    ],
)
async def test_an_answer_that_is_no_grant_is_no_token(answer):
    script = Scripted(answer)
    async with script.server() as server, TokenClient(str(server.make_url("")), Password("a", "geheim")) as client:
        with pytest.raises(TokenUnavailableError) as error:
            await client.token()
    assert "geheim" not in str(error.value)


async def test_nobody_listening_is_unavailable_and_no_secret_shows():
    client = TokenClient("http://127.0.0.1:9", Password("a", "geheim"))
    with pytest.raises(TokenUnavailableError):
        await client.token()
    await client.close()
    assert "geheim" not in repr(Password("a", "geheim"))
    assert "geheim" not in repr(RefreshSession("geheim"))


async def test_the_password_may_come_from_a_function_at_each_sign_in(sidecar, bob, asked):
    said = []

    def plain():
        said.append("plain")
        return PASSWORD

    async def slow():
        await asyncio.sleep(0)
        said.append("slow")
        return PASSWORD

    for password in (plain, slow):
        async with TokenClient(sidecar.url, Password(bob.email, password)) as client:
            assert "Password(" in repr(client._grant)
            assert PASSWORD not in repr(client._grant)
            assert (await me(client, sidecar))[0] == 200
            client._cached = client._refresh_token = None  # as after the session's end
            assert (await me(client, sidecar))[0] == 200
    assert said == ["plain", "plain", "slow", "slow"]


@pytest.mark.parametrize(
    ("password", "told"),
    [
        (lambda: (_ for _ in ()).throw(OSError(PASSWORD)), "the password function failed: OSError"),
        (lambda: b"bytes", "the password function failed: TypeError"),
        (lambda: asyncio.sleep(0, 7), "the password function returned int instead of str"),
    ],
)
async def test_a_failing_password_function_is_an_outage_and_no_leak(sidecar, bob, password, told):
    async with TokenClient(sidecar.url, Password(bob.email, password)) as client:
        with pytest.raises(TokenUnavailableError) as failed:
            await client.token()
        assert str(failed.value) == told
        assert PASSWORD not in str(failed.value)
