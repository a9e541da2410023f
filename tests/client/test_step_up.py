"""Step-ups of the token client against a real sidecar: a callback proves the user, and the same token goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.client import Password, StepUpChallenge, StepUpError, TokenClient
from tests.live.support import PASSWORD, Http, Person, Process

NAMES = count()
CHALLENGE = (
    'Bearer realm="sidecar", error="insufficient_user_authentication", error_description="Again.", '
    'acr_values="recent-sign-in", max_age="900"'
)


@pytest.fixture
async def bob(api: Http, ada: Person) -> Person:
    return await api.join(ada, f"eve{next(NAMES)}@example.com", "accountant")


@asynccontextmanager
async def service(sidecar: Process, api: Http, challenge: str = CHALLENGE) -> AsyncIterator[tuple[str, list[str]]]:
    """A service that asks for a new proof until the sidecar has counted another step-up. Yields its URL and tokens."""
    before = await step_ups(sidecar, api)
    tokens: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        if await step_ups(sidecar, api) > before:
            return web.Response(text=await request.text())
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    app = web.Application()
    app.router.add_route("*", "/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/")), tokens


async def step_ups(sidecar: Process, api: Http) -> float:
    async with api.session.get(f"{sidecar.ops}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('sidecar_step_ups_total{outcome="raised"'))


async def test_the_same_token_passes_after_the_callback(sidecar: Process, api: Http, bob: Person) -> None:
    asked: list[StepUpChallenge] = []

    async def prove(challenge: StepUpChallenge) -> dict[str, str]:
        asked.append(challenge)
        return {"password": PASSWORD}

    async with (
        service(sidecar, api) as (url, tokens),
        TokenClient(sidecar.url, Password(bob.email, PASSWORD), step_up=prove) as client,
    ):
        for _ in range(2):
            async with client.request("POST", url, json={"plan": "pro"}) as response:
                assert (response.status, await response.json(content_type=None)) == (200, {"plan": "pro"})
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
    [challenge] = asked
    assert (challenge.condition, challenge.max_age) == ("recent-sign-in", 900)
    assert PASSWORD not in repr(challenge)


async def test_requests_at_once_share_one_step_up(sidecar: Process, api: Http, bob: Person) -> None:
    calls = 0

    async def prove(_challenge: StepUpChallenge) -> dict[str, str]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return {"password": PASSWORD}

    async def status(client: TokenClient, url: str) -> int:
        async with client.request("GET", url) as response:
            return response.status

    async with (
        service(sidecar, api) as (url, _),
        TokenClient(sidecar.url, Password(bob.email, PASSWORD), step_up=prove) as client,
    ):
        await client.token()
        assert await asyncio.gather(*(status(client, url) for _ in range(8))) == [200] * 8
    assert calls == 1


@pytest.mark.parametrize("callback", [None, lambda _challenge: None], ids=["no callback", "no proof"])
async def test_without_a_proof_the_denial_is_the_callers(
    sidecar: Process, api: Http, bob: Person, callback: Any
) -> None:
    async with (
        service(sidecar, api) as (url, tokens),
        TokenClient(sidecar.url, Password(bob.email, PASSWORD), step_up=callback) as client,
        client.request("GET", url) as response,
    ):
        assert (response.status, len(tokens)) == (401, 1)
        assert response.headers["WWW-Authenticate"] == CHALLENGE


def _fails(_challenge: StepUpChallenge) -> dict[str, str]:
    raise OSError("the secret hunter2")


@pytest.mark.parametrize(
    ("callback", "code", "told"),
    [
        (lambda _: {"password": "hunter2 is wrong here"}, "wrong_password", "the password is wrong"),
        (lambda _: {"code": "000000"}, "wrong_code", "wrong"),
        (_fails, "", "the step-up function failed: OSError"),
        (lambda _: {"password": "hunter2", "code": "1"}, "", "must return None or one of"),
        (lambda _: {"hunter2": "x"}, "", "must return None or one of"),
        (lambda _: "hunter2", "", "must return None or one of"),
    ],
)
async def test_a_rejected_proof_is_an_error_without_secrets(
    sidecar: Process, api: Http, bob: Person, callback: Callable[..., Any], code: str, told: str
) -> None:
    async with (
        service(sidecar, api) as (url, tokens),
        TokenClient(sidecar.url, Password(bob.email, PASSWORD), step_up=callback) as client,
    ):
        with pytest.raises(StepUpError) as raised:
            async with client.request("GET", url):
                pytest.fail("no response")
        assert raised.value.code == code
        assert told in str(raised.value)
        assert "hunter2" not in str(raised.value)
        assert len(tokens) == 1


async def test_a_body_that_flows_is_never_repeated(sidecar: Process, api: Http, bob: Person) -> None:
    async def flowing() -> AsyncIterator[bytes]:
        yield b"once"

    async with (
        service(sidecar, api) as (url, tokens),
        TokenClient(sidecar.url, Password(bob.email, PASSWORD), step_up=lambda _: {"password": PASSWORD}) as client,
        client.request("POST", url, data=flowing()) as response,
    ):
        assert (response.status, len(tokens)) == (401, 1)


@pytest.mark.parametrize(
    ("challenge", "condition", "max_age"),
    [
        ('Bearer error="insufficient_user_authentication"', "", None),
        ('Bearer error="insufficient_user_authentication", max_age=60', "", 60),
        ('Bearer error="insufficient_user_authentication", acr_values="second-factor"', "second-factor", None),
    ],
)
async def test_a_challenge_may_ask_for_less(
    sidecar: Process, api: Http, bob: Person, challenge: str, condition: str, max_age: int | None
) -> None:
    asked: list[StepUpChallenge] = []

    def prove(wanted: StepUpChallenge) -> dict[str, str]:
        asked.append(wanted)
        return {"password": PASSWORD}

    async with (
        service(sidecar, api, challenge) as (url, _),
        TokenClient(sidecar.url, Password(bob.email, PASSWORD), step_up=prove) as client,
        client.request("GET", url) as response,
    ):
        assert response.status == 200
    assert [(one.condition, one.max_age) for one in asked] == [(condition, max_age)]
