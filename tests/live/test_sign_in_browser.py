"""A browser's session over two real sidecars: sign-in by cookie, renewal, and sign-out everywhere at once."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.live.conftest import Start
from tests.live.support import PASSWORD, Answer, Http, Process, found_account

PUBLIC = "http://127.0.0.1:9181"
OURS = {"Origin": PUBLIC}
NEW = "six green bottles on a shelf"


def jar(answer: Answer) -> dict[str, str]:
    headers: Any = answer.headers
    pairs = [line.partition(";")[0] for line in headers.getall("Set-Cookie")]
    assert {pair.partition("=")[0] for pair in pairs} == {"sidecar", "sidecar-refresh"}
    return {"Cookie": "; ".join(pairs)}


async def test_R5_a_browsers_session_from_sign_in_to_sign_out(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    pair = [start(REDIS_URL=real_redis_url, PUBLIC_URL=PUBLIC) for _ in range(2)]
    found_account(pair[0])
    api = http(pair[0])
    first, second = (process.url for process in pair)

    async def check(cookie: Mapping[str, str], method: str = "GET", **more: str) -> list[str]:
        asked = {"X-Forwarded-Method": method, "X-Forwarded-Uri": "/dashboard/media-library/a", **cookie, **more}
        answers = [await api.ask("GET", "/check", url=url, headers=asked) for url in (first, second)]
        return [answer.headers["X-Auth-Reason"] for answer in answers]

    body = {"username": "ada@example.com", "password": PASSWORD}
    signed_in = await api.ask("POST", "/v1/session", json=body, headers=OURS)
    assert (signed_in.status, signed_in.body) == (204, b"")
    cookie = jar(signed_in)
    assert await check(cookie) == ["allowed", "allowed"]
    assert await check(cookie, "DELETE") == ["cross_site", "cross_site"]
    assert await check(cookie, "DELETE", Origin=PUBLIC) == ["allowed", "allowed"]

    renewed = await api.ask("POST", "/v1/session/refresh", url=second, headers={**cookie, **OURS})
    assert renewed.status == 204
    assert await check(jar(renewed)) == ["allowed", "allowed"]

    change = {"old_password": PASSWORD, "new_password": NEW}
    changed = await api.ask("POST", "/v1/me/password", json=change, headers={**jar(renewed), **OURS})
    assert changed.status == 200
    assert not {"access_token", "refresh_token"} & set(changed.body)
    assert await check(jar(renewed)) == ["revoked", "revoked"]
    cookie = jar(changed)
    assert await check(cookie) == ["allowed", "allowed"]

    out = await api.ask("DELETE", "/v1/session", url=second, headers={**cookie, **OURS})
    assert out.status == 204
    assert await check(cookie) == ["session_ended", "session_ended"]
    assert (await api.ask("POST", "/v1/session/refresh", headers={**cookie, **OURS})).status == 401
