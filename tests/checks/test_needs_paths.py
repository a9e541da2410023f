"""With needs in force, the fast path and aiohttp respond alike: each head, address and instant, in any order (R40)."""

import asyncio
import random
import re
from ipaddress import ip_network
from itertools import product

import pytest

from sidecar.domain.sessions import Method, Proof
from tests.checks.both_paths import both_paths
from tests.checks.test_needs_lanes import ASKED, ELSEWHERE, FORWARDED, KNOWN, OFFICE, Lines, forwarded
from tests.needs_world import PASSWORD, TOTP, NeedsWorld
from tests.pdp_fixture import NOW

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/24"))
OWN = re.compile(rb"(X-Request-ID|Date): [^\r]+", re.IGNORECASE)


class Path:
    """A connection to one of the two paths."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Path":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, lines: Lines) -> bytes:
        head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        self._writer.write(b"GET /check HTTP/1.1\r\nHost: sidecar\r\n" + head + b"\r\n")
        async with asyncio.timeout(10):
            answer = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", answer)
            answer += await self._reader.readexactly(int(length[1])) if length else b""
        return OWN.sub(b"", answer)

    def close(self) -> None:
        self._writer.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("trusted", [LOOPBACK, ()], ids=["trusted", "untrusted"])
async def test_R40_both_paths_know_the_same_addresses(trusted: tuple) -> None:
    asked = [(*lines, *ASKED) for lines in FORWARDED] * 3
    async with both_paths(NeedsWorld("office", trusted=trusted).app, max_head=32768) as ports:
        paths = [await Path.open(port) for port in ports]
        for number, lines in enumerate(asked):
            fast, slow = [await path.ask(lines) for path in paths]
            assert fast == slow, lines
            assert status(slow) == (200 if trusted and number % len(FORWARDED) in KNOWN else 403), lines
        for path in paths:
            path.close()


@pytest.mark.parametrize("seed", range(4))
async def test_R40_both_paths_agree_while_facts_change(seed: int) -> None:
    """Any order of checks, clock steps and step-ups. The decision without a cache is a third opinion."""
    chance = random.Random(seed)
    world = NeedsWorld("second-factor | office, recent-sign-in | office-hours", trusted=LOOPBACK)
    pages = [(b"X-Forwarded-Uri", b"/dashboard/billing/%d" % number) for number in range(3)]
    heads = [
        (ASKED[0], page, ASKED[2], *lines)
        for page, lines in product(pages, ((), forwarded(OFFICE), forwarded(ELSEWHERE), forwarded(OFFICE, ELSEWHERE)))
    ]
    seen = set()
    async with both_paths(world.app, max_head=32768) as ports:
        paths = [await Path.open(port) for port in ports]
        for _ in range(300):
            match chance.randrange(12):
                case 0:
                    world.now = NOW + chance.choice((0.0, 899.9, 900.0, 900.5, 1800.0, 3599.0, 3600.0, 3604.0))
                case 1:
                    at = NOW + chance.choice((0, 900, 1700))
                    counts_at = NOW + chance.choice((0, 900, 3600))
                    world.enter(PASSWORD, Proof(Method.TOTP, TOTP, at), factors={TOTP: counts_at})
                case 2:
                    world.enter(PASSWORD)
            lines = chance.choice(heads)
            fast, slow = [await path.ask(lines) for path in paths]
            assert fast == slow, (lines, world.now)
            seen.add(status(slow))
        for path in paths:
            path.close()
    assert seen == {200, 401, 403}, "the test has met each verdict"
