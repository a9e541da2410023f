"""Recorded checks of real gateways, replayed on both paths: the response equals the recorded one."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.domain.users import UserId, UserRecord
from sidecar.http.context import AppContext
from sidecar.http.login_page import login_page
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.tokens.verify import Verifier
from tests.checks.both_paths import both_paths
from tests.golden import every, load, named, raw_of
from tests.pdp_fixture import ACCOUNT, ISSUER, KEYS, NOW, USERS, app, token

MAX_HEAD = 32 * 1024
TOKENS = {"marketer": token("c"), "accountant": token("b"), "garbage": "not-a-token"}
IDS = {uid: "id" for uid in USERS} | {ACCOUNT: "account"}
GOLDEN = list(every())


class Unverified:
    """Users of the rig without a verified e-mail."""

    def peek(self, uid: UserId) -> UserRecord | None:
        record = USERS.get(uid)
        return None if record is None else replace(record, email_verified=False)

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        return self.peek(uid)


def context() -> AppContext:
    shared = app()
    tokens = TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900))
    public_config = replace(
        shared.public_config,
        cookie="__Host-sidecar",
        origins=frozenset({"https://dash.example"}),
        login_page=login_page("https://dash.example/console/sign-in", "https://dash.example"),
    )
    pdp = DecisionPoint(shared.policy, tokens, Unverified(), clock=lambda: float(NOW))  # type: ignore[arg-type]
    return replace(shared, public_config=public_config, pdp=pdp)


@pytest.fixture
async def ports() -> AsyncIterator[tuple[int, int]]:
    """Ports of the fast path, and of aiohttp alone."""
    async with both_paths(context(), max_head=MAX_HEAD) as found:
        yield found


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = b"" if raw.startswith(b"HEAD ") or length is None else await reader.readexactly(int(length[1]))
    finally:
        writer.close()
    return head + body


def test_there_are_some_of_every_gateway() -> None:
    assert {path.parent.name for path in GOLDEN} == {"nginx", "traefik", "caddy", "envoy", "haproxy"}
    assert len(GOLDEN) > 100


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_golden(ports: tuple[int, int], path: Path) -> None:
    golden = load(path)
    for port in ports:
        for _ in range(3):  # a repetition is served from the response cache
            assert named(await ask(port, raw_of(golden.check, TOKENS)), TOKENS, IDS) == golden.answer
