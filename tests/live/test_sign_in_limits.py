"""R16 over real processes: rejected users and the duration, unaffected users, and denials while the store is down."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.identity.login_rate_limits import PAIR
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Process, found_account
from tests.live.test_lifecycle import RedisServer

pytestmark = pytest.mark.slow

WRONG = "not the right one!"
ATTACKER, OWNER = {"X-Forwarded-For": "203.0.113.66"}, {"X-Forwarded-For": "203.0.113.1"}


@pytest.fixture
def pair(start: Start, real_redis_url: str) -> tuple[Process, Process]:
    settings = {"REDIS_URL": real_redis_url, "TRUSTED_PROXIES": "127.0.0.1", "PUBLIC_URL": "http://127.0.0.1"}
    first, second = start(**settings), start(**settings)
    found_account(first)
    return first, second


def form(password: str, username: str = "ada@example.com") -> dict[str, str]:
    return {"grant_type": "password", "username": username, "password": password}


async def test_R16_guessing_is_429_on_every_sidecar_and_at_every_door(
    pair: tuple[Process, Process], http: Callable[[Process], Http]
) -> None:
    api = http(pair[0])
    for number in range(PAIR.units):
        url = pair[number % 2].url
        answer = await api.ask("POST", "/token", url=url, data=form(WRONG), headers=ATTACKER)
        assert answer.status == 400, number
    browser = {**ATTACKER, "Origin": "http://127.0.0.1"}
    body = {"username": "ada@example.com", "password": PASSWORD}
    for process in pair:
        limited = await api.ask("POST", "/token", url=process.url, data=form(PASSWORD), headers=ATTACKER)
        assert limited.status == 429
        assert 1 <= int(limited.headers["Retry-After"]) <= PAIR.seconds
        limited = await api.ask("POST", "/v1/session", url=process.url, json=body, headers=browser)
        assert (limited.status, limited.body["code"]) == (429, "rate_limited")
        assert "Set-Cookie" not in limited.headers
        assert int(limited.headers["Retry-After"]) >= 1
    for process in pair:
        granted = await api.ask("POST", "/token", url=process.url, data=form(PASSWORD), headers=OWNER)
        assert granted.status == 200, "no lockout of another user"
    other = await api.ask("POST", "/token", data=form(WRONG, "nobody@example.com"), headers=ATTACKER)
    assert other.status == 400


async def test_R16_a_stolen_token_does_not_guess_the_password(
    pair: tuple[Process, Process], http: Callable[[Process], Http]
) -> None:
    api = http(pair[0])
    ada = await api.sign_in("ada@example.com")

    async def change(old: str, headers: dict[str, str]) -> Any:
        body = {"old_password": old, "new_password": "six green bottles on a shelf"}
        return await api.ask("POST", "/v1/me/password", token=ada.access, json=body, headers=headers)

    for _ in range(PAIR.units):
        assert (await change(WRONG, ATTACKER)).body["code"] == "wrong_password"
    limited = await change(PASSWORD, ATTACKER)
    assert (limited.status, limited.body["code"]) == (429, "rate_limited")
    assert int(limited.headers["Retry-After"]) >= 1
    assert (await change(PASSWORD, OWNER)).status == 200


async def test_R16_a_store_that_is_out_is_503_and_never_no_limit(
    start: Start, http: Callable[[Process], Http], redis_server_binary: str, tmp_path: Any
) -> None:
    server = RedisServer(redis_server_binary, tmp_path)
    server.start()
    process = start(REDIS_URL=server.url)
    found_account(process)
    api = http(process)
    assert server.popen is not None
    server.signal(signal.SIGKILL)
    server.popen.wait(10)
    for password in (WRONG, PASSWORD):
        answer = await api.ask("POST", "/token", data=form(password))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        body = {"username": "ada@example.com", "password": password}
        answer = await api.ask("POST", "/v1/session", json=body, headers={"Origin": process.url})
        assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
