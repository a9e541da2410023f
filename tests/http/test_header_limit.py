"""No head is longer than SIDECAR_MAX_HEAD, finished or not, on either path; and only a head counts as one."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator

import pytest

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.server.connection import HttpServer
from sidecar.http.server.header_limit import HeadTooLongError
from tests.pdp_fixture import app, token

MAX_HEAD = 32 * 1024
LINE = b"X-H: " + b"a" * 8000 + b"\r\n"
BEARER = f"Authorization: Bearer {token('b')}\r\n".encode()
CHECK = b"GET /check HTTP/1.1\r\nHost: s\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /dashboard/billing\r\n" + BEARER
POST = b"POST /v1/check HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n" + BEARER
LAST = b"GET /last HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n"
QUESTION = b'{"section": "billing", "action": "view"}'


@pytest.fixture(params=["fast lane", "aiohttp"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    shared = app()
    slow = HttpServer(
        Dispatcher(shared, CHECKS, checks=True),
        access_log=None,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        max_headers=128,
        auto_decompress=False,
    )
    lanes = FastPathListener(shared, slow, max_head=MAX_HEAD, idle=75) if request.param == "fast lane" else slow
    server = await asyncio.get_running_loop().create_server(lanes, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await slow.shutdown(1)


async def answers(port: int, *pieces: bytes, pause: float = 0.02) -> list[bytes]:
    """Return the status of each response until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came = bytearray()

    async def read() -> None:
        while chunk := await reader.read(65536):
            came.extend(chunk)

    reading = asyncio.create_task(read())
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        await asyncio.wait_for(reading, 20)
    except ConnectionError:
        await asyncio.wait([reading], timeout=20)
    finally:
        reading.cancel()
        writer.close()
    assert (b" 400 " in came) == (b"SIDECAR_MAX_HEAD" in came), "the message names the setting"
    return re.findall(rb"HTTP/1[.][01] (\d{3}) ", came)


@pytest.mark.parametrize("begin", [CHECK, POST])
async def test_a_head_of_many_lines_is_rejected_like_one_long_line(port: int, begin: bytes) -> None:
    assert await answers(port, begin + LINE * 5 + b"\r\n") == [b"400"]
    assert await answers(port, begin + b"X: " + b"a" * MAX_HEAD + b"\r\n\r\n") == [b"400"]
    assert await answers(port, begin, *[LINE] * 5, b"\r\n") == [b"400"]


@pytest.mark.parametrize("begin", [CHECK, POST])
async def test_a_head_that_does_not_end_is_refused_when_it_is_too_long(port: int, begin: bytes) -> None:
    """The connection is closed: 128 such lines would hold 4 MB for as long as it is open."""
    assert await answers(port, begin, *[LINE] * 120, pause=0) == [b"400"]
    assert await answers(port, *[b"\r\n" * 1000] * 20) == [b"400"]


async def test_to_the_byte_where_it_came_alone(port: int) -> None:
    begin = CHECK + LINE * 3 + b"X: "
    fits = begin + b"a" * (MAX_HEAD - len(begin) - 4) + b"\r\n\r\n"
    longer = begin + b"a" * (MAX_HEAD - len(begin) - 3) + b"\r\n\r\n"
    assert len(fits) == MAX_HEAD
    assert await answers(port, fits, LAST) == [b"200", b"404"]
    assert await answers(port, longer, LAST) == [b"400"]


async def test_a_long_head_behind_other_requests_is_refused(port: int) -> None:
    whole = CHECK + LINE * 5 + b"\r\n"
    assert (await answers(port, CHECK + b"\r\n", whole))[-1] == b"400"
    assert (await answers(port, (CHECK + b"\r\n") * 40 + whole))[-1] == b"400"
    assert (await answers(port, POST + b"Content-Length: 40\r\n\r\n" + QUESTION + CHECK + LINE, *[LINE] * 9))[
        -1
    ] == b"400"


async def test_bodies_and_pipelined_requests_do_not_count_as_a_head(port: int) -> None:
    assert len(QUESTION) == 40
    small = CHECK + LINE + b"\r\n"
    assert await answers(port, small * 100 + LAST) == [b"200"] * 100 + [b"404"]
    assert await answers(port, *[small] * 10, *[small + small[:4000], small[4000:]] * 10, LAST, pause=0.005) == [
        *[b"200"] * 30,
        b"404",
    ]
    padded = QUESTION + b" " * 60_000
    post = POST + b"Content-Length: %d\r\n\r\n" % len(padded) + padded
    assert await answers(port, post * 3, LAST) == [b"200"] * 3 + [b"404"]
    pieces = [post[at : at + 10_000] for at in range(0, len(post), 10_000)]
    assert await answers(port, *pieces * 2, small + LAST, pause=0.005) == [b"200", b"200", b"200", b"404"]
    chunk = b"%x\r\n" % len(padded) + padded + b"\r\n0\r\n\r\n"
    assert await answers(port, POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk, LAST) == [b"200", b"404"]
    crumbs = b"".join(b"1\r\n%c\r\n" % byte for byte in padded[:20_000]) + b"0\r\n\r\n"
    assert await answers(port, POST + b"Transfer-Encoding: chunked\r\n\r\n" + crumbs, LAST) == [b"200", b"404"]


async def test_trailers_are_held_to_it_as_well(port: int) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(QUESTION), QUESTION)
    assert await answers(port, chunked + b"X-Sum: 1\r\n\r\n", LAST) == [b"200", b"404"]
    assert await answers(port, chunked, *[LINE] * 120) == []


async def test_what_was_refused_is_not_kept(port: int) -> None:
    """aiohttp keeps the exception in a reference cycle with its bytes: megabytes until a collection."""
    gc.collect()
    gc.disable()
    try:
        assert await answers(port, CHECK + b"".join(b"X-%d: " % n + LINE for n in range(20)), *[LINE] * 50) == [b"400"]
        kept = [one for one in gc.get_objects() if isinstance(one, HeadTooLongError) and one.__traceback__]
    finally:
        gc.enable()
    assert kept == []
