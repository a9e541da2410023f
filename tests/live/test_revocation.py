"""A password change, a role change and a removal are applied everywhere when the response arrives."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import pytest
import redis

from sidecar.store import keys
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Process, eventually, found_account

pytestmark = pytest.mark.slow

NEW_PASSWORD = "six green bottles on a shelf"
BILLING = "/dashboard/billing/invoices?year=2026"


async def test_a_password_change_kills_older_tokens_on_every_sidecar(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    first, second = start(REDIS_URL=real_redis_url), start(REDIS_URL=real_redis_url)
    found_account(first)
    api = http(first)
    old = await api.sign_in("ada@example.com")
    for process in (first, second):
        assert (await api.check(BILLING, token=old.access, url=process.url)).status == 200

    changed = await api.ask(
        "POST",
        "/v1/me/password",
        token=old.access,
        json={"old_password": PASSWORD, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD},
    )
    assert changed.status == 200, changed
    assert changed.body["revocation"]["complete"] is True

    for process in (first, second):
        denied = await api.check(BILLING, token=old.access, url=process.url)
        assert (denied.status, denied.body["reason"]) == (401, "revoked")
        assert (await api.check(BILLING, token=changed.body["access_token"], url=process.url)).status == 200
        refresh = {"grant_type": "refresh_token", "refresh_token": old.refresh}
        dead = await api.ask("POST", "/token", url=process.url, data=refresh)
        assert (dead.status, dead.body["error"]) == (400, "invalid_grant")
    refresh = {"grant_type": "refresh_token", "refresh_token": changed.body["refresh_token"]}
    assert (await api.ask("POST", "/token", url=second.url, data=refresh)).status == 200
    assert (await api.sign_in("ada@example.com", NEW_PASSWORD)).id == old.id


async def test_R31_a_sidecar_that_is_stopping_answers_from_no_copy(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    """A client that keeps the ops listener busy keeps the public one open after the sidecar has left the fleet."""
    first, second = (start(REDIS_URL=real_redis_url, DRAIN="0s", LEASE="2s") for _ in range(2))
    found_account(first)
    api = http(first)
    ada, other = [await api.sign_in("ada@example.com", url=second.url) for _ in range(2)]
    await asyncio.sleep(2.5)  # from then on no change waits for the lease of an unknown sidecar
    assert (await api.check(BILLING, token=ada.access)).status == 200
    ops = first.ops.removeprefix("http://").partition(":")
    with socket.create_connection((ops[0], int(ops[2]))) as held:
        held.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n")
        held.recv(1000)
        first.popen.send_signal(signal.SIGTERM)
        with redis.Redis(unix_socket_path=real_redis_url.removeprefix("unix://")) as store:
            await eventually(lambda: store.zcard(keys.sidecars(0)) == 1)
        ended = await api.ask("DELETE", "/v1/me/sessions", token=other.access, url=second.url)
        assert ended.headers["X-Sidecar-Revocation"] == "complete"
        assert first.popen.poll() is None
        with suppress(aiohttp.ClientConnectionError):  # the listener may be closed already
            late = await api.check(BILLING, token=ada.access)
            assert (late.status, late.body["reason"]) == (401, "session_ended")


async def test_a_failed_password_change_changes_nothing(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    for body, status, code in (
        ({"old_password": "not the right one!", "new_password": NEW_PASSWORD}, 403, "wrong_password"),
        ({"old_password": PASSWORD, "new_password": "short"}, 422, "weak_password"),
        ({"old_password": PASSWORD, "new_password": PASSWORD}, 422, "same_password"),
        (
            {"old_password": PASSWORD, "new_password": NEW_PASSWORD, "confirm_password": "other"},
            422,
            "password_mismatch",
        ),
    ):
        refused = await api.ask("POST", "/v1/me/password", token=ada.access, json=body)
        assert (refused.status, refused.body["code"]) == (status, code)
    assert (await api.check(BILLING, token=ada.access)).status == 200
    assert (await api.sign_in("ada@example.com")).id == ada.id


async def test_a_role_change_applies_at_the_next_decision(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    first, second = start(REDIS_URL=real_redis_url), start(REDIS_URL=real_redis_url)
    found_account(first)
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    for role, expected in (("marketer", 403), ("accountant", 200), ("developer", 403)):
        for process in (first, second):
            await api.check(BILLING, token=eve.access, url=process.url)
        changed = await api.ask("PATCH", f"/v1/users/{eve.id}", token=ada.access, json={"role": role})
        assert changed.status == 200
        for process in (first, second):
            answer = await api.check(BILLING, token=eve.access, url=process.url)
            assert answer.status == expected, (role, process.url, answer)


async def test_suspended_and_removed_users_are_out_at_the_next_check(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    first, second = start(REDIS_URL=real_redis_url), start(REDIS_URL=real_redis_url)
    found_account(first)
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    for process in (first, second):
        assert (await api.check(BILLING, token=eve.access, url=process.url)).status == 200
    path = f"/v1/users/{eve.id}"
    assert (await api.ask("PATCH", path, token=ada.access, json={"status": "suspended"})).status == 200
    for process in (first, second):
        answer = await api.check(BILLING, token=eve.access, url=process.url)
        assert (answer.status, answer.body["reason"]) == (401, "suspended")
    assert (await api.ask("DELETE", path, token=ada.access)).status == 204
    for process in (first, second):
        answer = await api.check(BILLING, token=eve.access, url=process.url)
        assert (answer.status, answer.body["reason"]) == (401, "unknown_user")
