"""Fast path and aiohttp path respond identically: status, headers, body; for plain checks, hostile heads, pipelines and
split reads (R33).
"""

import asyncio
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.config.parsers import TcpAddress
from sidecar.domain.users import UserId, UserRecord
from sidecar.gateways.fast_path.protocol import PIPELINE_BYTES, FastPathListener
from sidecar.gateways.fast_path.request_head import key_without_request_id
from sidecar.http.context import AppContext
from sidecar.http.server.connection import HttpServer
from sidecar.server.listeners import Listener
from tests.pdp_fixture import NOW, Memory, app, token

MAX_HEAD = 32 * 1024
LAST = b"GET /last HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n"


@dataclass
class Lane:
    """A listener; ``talk`` sends bytes and returns everything that is received."""

    port: int
    app: AppContext

    async def talk(self, *pieces: bytes, pause: float = 0.0, patience: float = 10.0) -> bytes:
        """Return the bytes received until the server closes. A last request asks for the close, unless the bytes before
        include it.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        received = b""
        try:
            for piece in (*pieces, LAST):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            while chunk := await _read(reader, patience):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
        return received


async def _read(reader: asyncio.StreamReader, patience: float) -> bytes:
    """Raise TimeoutError if nothing is received. Waits in ten parts: a pause of the host uses up one part only, and the
    next part reads the bytes that arrived meanwhile.
    """
    for _ in range(9):
        with suppress(TimeoutError):
            async with asyncio.timeout(patience / 10):
                return await reader.read(65536)
    async with asyncio.timeout(patience / 10):
        return await reader.read(65536)


@pytest.fixture
async def lanes() -> AsyncIterator[tuple[Lane, Lane]]:
    """The fast path, and aiohttp alone."""
    shared = app()
    loop = asyncio.get_running_loop()

    def slow() -> HttpServer:
        return HttpServer(
            Dispatcher(shared, CHECKS, checks=True), access_log=None, max_line_size=MAX_HEAD, max_field_size=MAX_HEAD
        )

    behind, alone = slow(), slow()
    fast = await loop.create_server(FastPathListener(shared, behind, max_head=MAX_HEAD, idle=75), "127.0.0.1", 0)
    plain = await loop.create_server(alone, "127.0.0.1", 0)
    yield tuple(Lane(server.sockets[0].getsockname()[1], shared) for server in (fast, plain))  # type: ignore[misc]
    for server in (fast, plain):
        server.close()
    for handler in (behind, alone):
        await handler.shutdown(1)


@pytest.fixture
async def warm_lanes(lanes: tuple[Lane, Lane]) -> tuple[Lane, Lane]:
    """Both paths after three repetitions of every plain check, so that each response is cached."""
    for head in (*PLAIN.values(), *NUMBERED.values()):
        await asyncio.gather(*(lane.talk(head * 3, patience=0.02) for lane in lanes))
    return lanes


def normalised(raw: bytes) -> list[tuple[bytes, frozenset[bytes], bytes]]:
    """Return each response as status line, header lines and body; without the parts that always differ."""
    found = []
    for response in re.split(rb"(?=HTTP/[0-9]\.[0-9] [0-9]{3} )", raw)[1:]:
        head, _, body = response.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        lines = [line for line in lines if not line.startswith((b"Date:", b"X-Request-ID: "))]
        found.append((status, frozenset(lines), body))
    return found


def get(path: str = "/check", *, method: str = "GET", uri: str = "/dashboard/billing", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: sidecar", "X-Forwarded-Method: GET", f"X-Forwarded-Uri: {uri}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def bearer(letter: str, **changed: Any) -> str:
    return f"Bearer {token(letter, **changed)}"


PLAIN: dict[str, bytes] = {
    "allow": get(Authorization=bearer("b")),
    "deny": get(Authorization=bearer("c")),
    "no token": get(),
    "malformed token": get(Authorization="Bearer x.y.z"),
    "basic": get(Authorization="Basic YTpi"),
    "suspended": get(Authorization=bearer("d")),
    "revoked": get(Authorization=bearer("e")),
    "unknown user": get(Authorization=bearer("z")),
    "expired": get(Authorization=bearer("b", issued_at=NOW - 1000, expires_at=NOW - 100)),
    "asks the store": get(Authorization=bearer("f")),
    "store out": get(Authorization=bearer("g")),
    "cookie": get(Cookie=f"a=1; sidecar={token('b')}; b=2"),
    "two cookies": get(Cookie=f"sidecar={token('b')}; sidecar={token('b')}"),
    "cookie and header": get(Cookie=f"a=1; sidecar={token('c')}", Authorization=bearer("b")),
    "unmatched": get(uri="/elsewhere", Authorization=bearer("b")),
    "ambiguous": get(uri="/dashboard/%2e%2e/billing", Authorization=bearer("b")),
    "query": get(path="/check?section=public&uri=/dashboard/users", Authorization=bearer("b")),
    "nginx family": get(path="/check/nginx", Authorization=bearer("b")),
    "nginx": get(
        path="/check/nginx", Authorization=bearer("b"), X_Original_Method="GET", X_Original_URI="/dashboard/billing"
    ),
    "sections": get(path="/check/sections/billing/change-plan", Authorization=bearer("b")),
    "unknown section": get(path="/check/sections/nowhere", Authorization=bearer("b")),
    "under check": get(path="/check/elsewhere", Authorization=bearer("b")),
    "envoy": get(path="/check/envoy/dashboard/billing?x=1", Authorization=bearer("b")),
    "envoy dots": get(path="/check/envoy/../healthz", Authorization=bearer("b")),
    "override": get(Authorization=bearer("b"), X_HTTP_Method_Override="DELETE"),
    "request id": get(Authorization=bearer("b"), X_Request_ID="abc-1"),
    "bad request id": get(Authorization=bearer("b"), X_Request_ID="a b"),
    "content-length 0": get(Authorization=bearer("b"), Content_Length="0"),
    "keep-alive": get(Authorization=bearer("b"), Connection="keep-alive"),
    "spoofed identity": get(Authorization=bearer("c"), X_Auth_Role="account-administrator", X_Auth_User="root"),
    "navigation": get(Accept="text/html", Sec_Fetch_Mode="navigate"),
    "raw utf-8": get(uri="/dashboard/billing/\u00e4", Authorization=bearer("b")),
    "non-utf-8": get(uri="/dashboard/billing/\udcff", Authorization=bearer("b")),
    "9 KB token": get(Authorization="Bearer " + "x" * 9000),
    "20 KB token": get(Authorization="Bearer " + "x" * 20000),
    "doubled uri": get(Authorization=bearer("b"))[:-2] + b"X-Forwarded-Uri: /dashboard/media-library\r\n\r\n",
    "doubled token": get(Authorization=bearer("b"))[:-2] + b"Authorization: Bearer x\r\n\r\n",
    "many headers": get(Authorization=bearer("b"), **{f"X_{n}": "1" for n in range(90)}),
}


def numbered(*lines: bytes, behind: bool = True) -> bytes:
    """Return the check "allow" with these lines at its end, or at its start."""
    head, end = get(Authorization=bearer("b")), b"".join(line + b"\r\n" for line in lines)
    first = head.index(b"\r\n") + 2
    return head[:-2] + end + b"\r\n" if behind else head[:first] + end + head[first:]


NUMBERED: dict[str, bytes] = {
    "an id": numbered(b"X-Request-ID: abc-1"),
    "another id": numbered(b"X-Request-ID: xyz.2"),
    "as nginx writes it": numbered(b"X-Request-Id: abc-1"),
    "as Envoy writes it": numbered(b"x-request-id: abc-1"),
    "in other letters": numbered(b"X-REQUEST-ID: abc-1"),
    "at the begin": numbered(b"X-Request-ID: abc-1", behind=False),
    "no space": numbered(b"X-Request-ID:abc-1"),
    "two spaces": numbered(b"X-Request-ID:  abc-1"),
    "a space behind": numbered(b"X-Request-ID: abc-1 "),
    "a tab": numbered(b"X-Request-ID: abc\t1"),
    "empty": numbered(b"X-Request-ID: "),
    "too long": numbered(b"X-Request-ID: " + b"x" * 129),
    "nul": numbered(b"X-Request-ID: abc\x001"),
    "bare cr": numbered(b"X-Request-ID: abc\r1"),
    "bare lf": numbered(b"X-Request-ID: abc\n1"),
    "latin-1": numbered(b"X-Request-ID: abc\xe4"),
    "folded": numbered(b"X-Request-ID: abc-1", b" 2"),
    "two ids": numbered(b"X-Request-ID: abc-1", b"X-Request-ID: abc-2"),
    "two ids, two spellings": numbered(b"x-request-id: abc-1", b"X-Request-ID: abc-2"),
    "two ids, the other way round": numbered(b"X-Request-ID: abc-2", b"x-request-id: abc-1"),
    "a bad one first": numbered(b"X-Request-ID: a b", b"X-Request-ID: abc-2"),
    "with a length": numbered(b"X-Request-ID: abc-1", b"Content-Length: 5") + b"hello",
    "ends the connection": numbered(b"X-Request-ID: abc-1", b"Connection: close"),
}
"""The request id is the only line that may differ in a repeated check."""

OTHER: dict[str, bytes] = {
    "post": get(method="POST", Authorization=bearer("b"), Content_Length="5") + b"hello",
    "head": get(method="HEAD", Authorization=bearer("b")),
    "http/1.0": get(Authorization=bearer("b")).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "close": get(Authorization=bearer("b"), Connection="close"),
    "upgrade": get(Authorization=bearer("b"), Connection="Upgrade", Upgrade="websocket"),
    "expect": get(Authorization=bearer("b"), Expect="100-continue"),
    "get with a body": get(Authorization=bearer("b"), Content_Length="5") + b"hello",
    "chunked": get(Authorization=bearer("b"), Transfer_Encoding="chunked") + b"0\r\n\r\n",
    "both lengths": get(Authorization=bearer("b"), Transfer_Encoding="chunked", Content_Length="5") + b"0\r\n\r\n",
    "two lengths": get(Authorization=bearer("b"), Content_Length="0")[:-2] + b"Content-Length: 5\r\n\r\nhello",
    "negative length": get(Authorization=bearer("b"), Content_Length="-1"),
    "plus length": get(Authorization=bearer("b"), Content_Length="+0"),
    "folded": get(Authorization=bearer("b"))[:-2] + b"X-A: 1\r\n 2\r\n\r\n",
    "space before colon": get(Authorization=bearer("b"))[:-2] + b"X-A : 1\r\n\r\n",
    "no colon": get(Authorization=bearer("b"))[:-2] + b"nonsense\r\n\r\n",
    "bare lf": get(Authorization=bearer("b")).replace(b"\r\n", b"\n"),
    "bare cr": get(Authorization=bearer("b"))[:-2] + b"X-A: 1\r2\r\n\r\n",
    "nul in a value": get(Authorization=bearer("b"))[:-2] + b"X-A: 1\x002\r\n\r\n",
    "control in a name": get(Authorization=bearer("b"))[:-2] + b"X\x01A: 1\r\n\r\n",
    "empty name": get(Authorization=bearer("b"))[:-2] + b": 1\r\n\r\n",
    "too long": get(uri="/" + "x" * 40000, Authorization=bearer("b")),
    "many headers": get(Authorization=bearer("b"), **{f"X_{n}": "1" for n in range(300)}),
    "absolute uri": get(path="http://sidecar/check", Authorization=bearer("b")),
    "space in the target": get(path="/check a", Authorization=bearer("b")),
    "space behind the target": get(path="/check ", Authorization=bearer("b")),
    "space behind nginx' target": get(
        path="/check/nginx ", X_Original_URI="/dashboard/billing", Authorization=bearer("b")
    ),
    "space behind an action": get(path="/check/sections/billing/change-plan ", Authorization=bearer("b")),
    "spaces behind envoy's path": get(path="/check/envoy/dashboard/billing  ", Authorization=bearer("b")),
    "space behind the query": get(path="/check?x=1 ", Authorization=bearer("b")),
    "a line in the target": get(path="/check?\nX-A:", Authorization=bearer("b")),
    "a line in a section's target": get(
        path="/check/sections/billing?\nX-HTTP-Method-Override:", Authorization=bearer("b")
    ),
    "a line in envoy's target": get(path="/check/envoy/dashboard/billing?\nX-A:", Authorization=bearer("b")),
    "delete in the target": get(path="/check?\x7f", Authorization=bearer("b")),
    "tab in the target": get(path="/check?\t", Authorization=bearer("b")),
    "fragment": get(path="/check#x", Authorization=bearer("b")),
    "non-ascii target": get(path="/check/envoy/\u00e4", Authorization=bearer("b")),
    "checkers": get(path="/checkers", Authorization=bearer("b")),
    "json check": get(path="/v1/check", Authorization=bearer("b")),
    "lower-case method": get(method="get", Authorization=bearer("b")),
    "http/9": get(Authorization=bearer("b")).replace(b"HTTP/1.1", b"HTTP/9.9"),
    "no version": b"GET /check\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nothing": b"",
    "half a head": get(Authorization=bearer("b"))[:-4],
}


UNFINISHED = {"half a head", "tls", "chunked", "two lengths"}
"""Requests after which the server waits for more, or seems to, for one of the parsers."""


@pytest.mark.parametrize("name", [*PLAIN, *(f"other: {name}" for name in OTHER)])
async def test_both_lanes_give_the_same_answer(lanes: tuple[Lane, Lane], name: str) -> None:
    fast, plain = lanes
    sent = OTHER[name.removeprefix("other: ")] if name.startswith("other: ") else PLAIN[name]
    patience = 0.5 if name.removeprefix("other: ") in UNFINISHED else 10
    assert normalised(await fast.talk(sent, patience=patience)) == normalised(await plain.talk(sent, patience=patience))


async def test_the_plain_calls_are_answered_by_the_fast_lane(
    lanes: tuple[Lane, Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the comparison would compare aiohttp with itself."""
    monkeypatch.setattr(
        "sidecar.gateways.fast_path.protocol.FastPathProtocol._switch_to_aiohttp",
        lambda lane, _: lane._transport.close(),
    )
    for name, sent in PLAIN.items():
        answers = normalised(await lanes[0].talk(sent))
        assert len(answers) == 1, name


@pytest.mark.parametrize("name", [*PLAIN, *(f"id: {name}" for name in NUMBERED)])
async def test_a_repeated_check_gets_the_response_of_aiohttp(warm_lanes: tuple[Lane, Lane], name: str) -> None:
    sent = NUMBERED[name[4:]] if name.startswith("id: ") else PLAIN[name]
    fast, plain = await asyncio.gather(*(lane.talk(sent, patience=0.3) for lane in warm_lanes))
    assert normalised(fast) == normalised(plain)
    assert normalised(fast)
    given = [re.findall(rb"X-Request-ID: (abc[^\r]*|xyz[^\r]*)", raw) for raw in (fast, plain)]
    assert given[0] == given[1], "the echoed id is the same"


PAGES: dict[str, bytes] = {
    "of the section": b"/dashboard/billing/7",
    "with a query": b"/dashboard/billing/7?x=/dashboard/users",
    "with a slash behind": b"/dashboard/billing/",
    "encoded": b"/dashboard/bill%69ng/7",
    "of another section": b"/dashboard/users/7",
    "of none": b"/elsewhere",
    "dots": b"/dashboard/billing/../users",
    "encoded dots": b"/dashboard/billing/%2e%2e/users",
    "encoded slash": b"/dashboard/billing%2f7",
    "two slashes": b"//dashboard/billing",
    "semicolon": b"/dashboard/billing;x/7",
    "backslash": b"/dashboard/billing\\7",
    "fragment": b"/dashboard/billing#7",
    "no slash": b"dashboard/billing",
    "absolute": b"https://dash.example/dashboard/billing",
    "star": b"*",
    "empty": b"",
    "a space in it": b"/dashboard/billing/a b",
    "a space behind": b"/dashboard/billing ",
    "a space before": b" /dashboard/billing",
    "a tab before": b"\t/dashboard/billing",
    "utf-8": "/dashboard/billing/\u00e4".encode(),
    "no utf-8": b"/dashboard/billing/\xff",
    "nul": b"/dashboard/billing/\x00",
    "delete": b"/dashboard/billing/\x7f",
    "bare cr": b"/dashboard/billing\r/7",
    "bare lf": b"/dashboard/billing\n/7",
    "another line": b"/dashboard/billing\r\nX-A: 1",
    "a second page": b"/dashboard/billing\r\nX-Forwarded-Uri: /dashboard/users",
    "a second page in other letters": b"/dashboard/billing\r\nx-FORWARDED-uri: /dashboard/users",
    "a second page, no space": b"/dashboard/billing\r\nX-Forwarded-Uri:/dashboard/users",
    "a folded line": b"/dashboard/billing\r\n /7",
    "a body": b"/dashboard/billing\r\nContent-Length: 5",
    "the end of the head": b"/dashboard/billing\r\n\r\n",
    "nul in the query": b"/dashboard/billing?x=\x00",
    "bare cr in the query": b"/dashboard/billing?x=\r1",
    "bare lf in the query": b"/dashboard/billing?x=\n1",
    "delete in the query": b"/dashboard/billing?x=\x7f",
    "no utf-8 in the query": b"/dashboard/billing?x=\xff",
    "a space in the query": b"/dashboard/billing?x=a b",
    "a space behind the query": b"/dashboard/billing?x= ",
    "a line behind the query": b"/dashboard/billing?x\r\n: 1",
    "long": b"/dashboard/billing/" + b"x" * 5000,
    "too long": b"/dashboard/billing/" + b"x" * 40000,
}
FRAMES = (
    "allow",
    "deny",
    "cookie",
    "cookie and header",
    "nginx",
    "request id",
    "keep-alive",
    "navigation",
    "doubled uri",
)
PLACES = ((b"X-Original-URI: ", b"x-original-uri: "), (b"X-Forwarded-Uri: ", b"x-forwarded-uri: "))


def elsewhere(head: bytes, page: bytes) -> list[bytes]:
    """Return the check with another path in each line that names it, as gateways spell it. The decisive
    line is first.
    """
    found = []
    for spellings in PLACES:
        before, line, behind = head.partition(spellings[0])
        if line:
            found += [before + each + page + b"\r\n" + behind.partition(b"\r\n")[2] for each in spellings]
    return found


@pytest.mark.parametrize("name", PAGES)
async def test_R2_a_new_page_in_a_known_check_is_decided_as_by_aiohttp(
    warm_lanes: tuple[Lane, Lane], name: str
) -> None:
    for frame in FRAMES:
        for page in (b"/dashboard/billing/1", b"/dashboard/billing/2"):  # so that each spelling is a known template
            await warm_lanes[0].talk(*elsewhere(PLAIN[frame], page))
        for sent in elsewhere(PLAIN[frame], PAGES[name]):
            fast, plain = await asyncio.gather(*(lane.talk(sent, patience=0.5) for lane in warm_lanes))
            assert agree(normalised(fast), normalised(plain)), (frame, sent)
            assert normalised(fast)


async def test_a_new_page_in_a_known_call_is_not_parsed(
    warm_lanes: tuple[Lane, Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the comparison above would compare aiohttp with llhttp."""
    parsed: list[bytes] = []
    monkeypatch.setattr(
        "sidecar.gateways.fast_path.protocol.FastPathProtocol._parse", lambda _, head: parsed.append(head)
    )
    for frame in ("allow", "deny", "cookie", "nginx", "request id"):
        answers = normalised(await warm_lanes[0].talk(elsewhere(PLAIN[frame], b"/dashboard/billing/7")[0]))
        assert [status for status, _, _ in answers] == [
            b"HTTP/1.1 403 Forbidden" if frame == "deny" else b"HTTP/1.1 200 OK",
            b"HTTP/1.1 404 Not Found",
        ]
    assert parsed == [LAST] * 5


def test_only_a_well_formed_request_id_is_taken_out() -> None:
    plain = get(Authorization=bearer("b"))
    for name in ("an id", "another id", "as nginx writes it", "as Envoy writes it", "at the begin"):
        key, given = key_without_request_id(NUMBERED[name])
        assert (key, given) == (plain, b"xyz.2" if name == "another id" else b"abc-1")
    for name in ("a tab", "empty", "too long", "nul", "bare cr", "latin-1", "two spaces", "a space behind", "no space"):
        assert key_without_request_id(NUMBERED[name]) == (NUMBERED[name], None)
    assert key_without_request_id(plain) == (plain, None)


async def test_pipelined_checks_stay_in_order_if_one_reads_the_store(lanes: tuple[Lane, Lane]) -> None:
    sent = [PLAIN[name] for name in ("allow", "asks the store", "deny", "no token", "asks the store", "cookie")]
    sent += [OTHER["post"], PLAIN["allow"], PLAIN["deny"]]
    fast, plain = [normalised(await lane.talk(b"".join(sent))) for lane in lanes]
    assert len(fast) == len(sent) + 1
    assert fast == plain


@pytest.mark.parametrize("name", ["bare cr", "nul in a value", "control in a name", "too long"])
async def test_a_head_that_cannot_be_read_is_not_repeated(
    lanes: tuple[Lane, Lane], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """aiohttp would echo and log the line with the token in it."""
    sent = OTHER[name].replace(b"X-A: ", b"X-A: " + token("b").encode())
    for lane in lanes:
        answer = await lane.talk(sent)
        assert answer.startswith(b"HTTP/1.0 400 Bad Request")
        assert b"eyJ" not in answer
        assert b"xxx" not in answer
    assert "eyJ" not in caplog.text


async def test_R33_a_connection_that_went_to_aiohttp_stays_there(
    lanes: tuple[Lane, Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    original: Callable[[Any, bytes], Any] = __import__(
        "sidecar.gateways.fast_path.protocol", fromlist=["x"]
    ).FastPathProtocol._parse
    monkeypatch.setattr(
        "sidecar.gateways.fast_path.protocol.FastPathProtocol._parse",
        lambda lane, head: parsed.append(head) or original(lane, head),
    )
    answers = normalised(await lanes[0].talk(PLAIN["allow"], OTHER["post"], PLAIN["allow"], PLAIN["deny"], pause=0.02))
    assert [status.split()[1] for status, _, _ in answers] == [b"200", b"200", b"200", b"403", b"404"]
    assert [head.split()[0] for head in parsed] == [b"GET", b"POST"], "no response follows the POST"


async def test_a_read_split_anywhere_changes_nothing(lanes: tuple[Lane, Lane]) -> None:
    sent = PLAIN["allow"]
    whole = normalised(await lanes[0].talk(sent))
    splits = [await lanes[0].talk(sent[:at], sent[at:]) for at in range(1, len(sent), 7)]
    splits.append(await lanes[0].talk(*(sent[at : at + 1] for at in range(len(sent)))))
    assert all(normalised(answer) == whole for answer in splits)


async def test_a_client_that_reads_late_gets_every_answer() -> None:
    """Responses fill the buffers, so writing stops and then reading stops; both resume."""
    shared, calls = app(), 4000
    loop = asyncio.get_running_loop()
    with socket.socket() as listening, socket.socket() as client:
        for narrow, option in ((listening, socket.SO_SNDBUF), (client, socket.SO_RCVBUF)):
            narrow.setsockopt(socket.SOL_SOCKET, option, 4096)
        listening.bind(("127.0.0.1", 0))
        client.setblocking(False)
        lanes = FastPathListener(shared, lambda: pytest.fail("slow"), max_head=MAX_HEAD, idle=75)
        server = await loop.create_server(lanes, sock=listening)
        await loop.sock_connect(client, listening.getsockname())
        sending = asyncio.create_task(loop.sock_sendall(client, PLAIN["allow"] * calls))
        while not any(lane._blocked and len(lane._buffer) > PIPELINE_BYTES for lane in lanes.open):
            await asyncio.sleep(0.01)
        answers = b""
        async with asyncio.timeout(20):
            while answers.count(b"HTTP/1.1 200 OK") < calls:
                answers += await loop.sock_recv(client, 1 << 20)
        await sending
        lanes.close()
        server.close()


async def test_a_client_that_never_reads_is_hung_up_on() -> None:
    """A polite close would wait for the client to read its responses."""
    lane, transport = FastPathListener(app(), lambda: pytest.fail("slow"), max_head=MAX_HEAD, idle=0.01)(), Mock()
    lane.connection_made(transport)
    lane.pause_writing()
    lane.data_received(PLAIN["allow"])
    await asyncio.sleep(0.05)
    transport.abort.assert_called_once()
    lane.connection_lost(None)


async def test_an_idle_or_endless_head_is_ended() -> None:
    shared = app()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        FastPathListener(shared, lambda: pytest.fail("slow"), max_head=100, idle=0.05), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET /check HT")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    server.close()


@pytest.mark.parametrize("name", ["allow", "no token", "asks the store", "request id"])
async def test_while_draining_a_response_closes_the_connection(name: str) -> None:
    """On both paths, for a connection that was used before and for one with half a head."""
    shared = app()
    slow = HttpServer(Dispatcher(shared, CHECKS, checks=True), access_log=None)
    fast = FastPathListener(shared, slow, max_head=MAX_HEAD, idle=75)
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lane, "127.0.0.1", 0) for lane in (fast, slow)]
    used = [await asyncio.open_connection(*server.sockets[0].getsockname()) for server in servers]
    begun = [await asyncio.open_connection(*server.sockets[0].getsockname()) for server in servers]
    before = []
    for reader, writer in used:
        for _ in range(3):  # cached by the third repetition
            writer.write(PLAIN[name])
            before.append(await answer(reader))
    for _, writer in begun:
        writer.write(PLAIN[name][:20])
    await asyncio.sleep(0.05)
    shared.health.draining = True
    fast.drain()
    after = []
    for rest, connections in ((PLAIN[name], used), (PLAIN[name][20:], begun)):
        for reader, writer in connections:
            writer.write(rest)
            after.append(await asyncio.wait_for(reader.read(), 20))  # to the end: the server closes
            writer.close()
    assert not [raw for raw in before if b"Connection" in raw]
    expected = normalised(before[0])[0]
    for raw in after:
        ((status, lines, body),) = normalised(raw)
        assert b"Connection: close" in lines
        assert (status, body) == (expected[0], expected[2])
        assert {line.lower() for line in lines} == {line.lower() for line in expected[1]} | {b"connection: close"}
    for server in servers:
        server.close()
    await slow.shutdown(1)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one whole response of a connection that stays open."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    found = re.search(rb"Content-Length: (\d+)", head)
    return head + await reader.readexactly(int(found[1]) if found else 0)


async def test_at_shutdown_idle_connections_are_closed(lanes: tuple[Lane, Lane]) -> None:
    shared = app()
    open_lanes = FastPathListener(shared, lambda: pytest.fail("slow"), max_head=MAX_HEAD, idle=75)
    server = await asyncio.get_running_loop().create_server(open_lanes, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(PLAIN["allow"])
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    open_lanes.close()
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    server.close()


async def test_a_listener_closes_after_a_check_that_awaits_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store closes only after the listener."""
    answered = asyncio.Event()
    read = Memory.read

    async def late(memory: Memory, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        await answered.wait()
        return await read(memory, uid, fresh=fresh)

    monkeypatch.setattr(Memory, "read", late)
    shared = app()
    settings: Any = SimpleNamespace(max_head=MAX_HEAD, tls_cert=None, tls_key=None)
    handler = Dispatcher(shared, CHECKS, checks=True)
    listener = Listener(
        "public",
        TcpAddress("127.0.0.1", 0),
        handler,
        settings,
        lambda slow: FastPathListener(shared, slow, max_head=MAX_HEAD, idle=75),
    )
    await listener.start()
    reader, writer = await asyncio.open_connection(*listener.bound.split(":"))
    writer.write(PLAIN["asks the store"])
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(listener.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    answered.set()
    await stopping
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


def agree(fast: list[Any], plain: list[Any]) -> bool:
    """aiohttp drops the valid heads of a read in which an invalid one follows; the fast path has responded to them by
    then.
    """
    if len(plain) == 1 and plain[0][0].split()[1] == b"400":
        return fast[-1] == plain[0]
    return fast == plain


PIECES = [
    *(value for value in PLAIN.values() if len(value) < 2000),
    *NUMBERED.values(),
    *OTHER.values(),
]
NOISE = [b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"GET ", b"/check", b"Content-Length: 1\r\n", b"HTTP/1.1"]
NOISE += [b"X-Request-ID: abc-3\r\n", b"x-request-id: abc-4\r\n"]
NOISE += [b"?\nX-A: HTTP/1.1\r\n", b"?\nX-A: "]
NOISE += [b"X-Forwarded-Uri: /dashboard/users\r\n", b"x-original-uri: /dashboard/users\r\n", b"/dashboard/users", b"/7"]


REQUEST_LINE = 100
"""Leading bytes, the path among them, that get half of the mutations: they are more sensitive than the
twelve headers.
"""


def mutated(seed: int) -> bytes:
    """Return one to three mutated heads, the same for the same seed."""
    chance = random.Random(seed)
    raw = bytearray(b"".join(chance.choices(PIECES, k=chance.randint(1, 3))))
    for _ in range(chance.randint(0, 4)):
        most = chance.choice((len(raw), min(len(raw), REQUEST_LINE)))
        at = chance.randrange(most + 1)
        match chance.randrange(3):
            case 0:
                raw[at:at] = chance.choice(NOISE)
            case 1:
                del raw[at : at + chance.randint(1, 8)]
            case _:
                raw[at : at + 1] = bytes([chance.randrange(256)])
    return bytes(raw)


EXAMPLES = int(os.environ.get("SIDECAR_TEST_FUZZ", "60"))
"""Number of mutations; more for a long run: see tests/README.md."""


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_damaged_heads_are_answered_alike(warm_lanes: tuple[Lane, Lane], seed: int) -> None:
    sent = mutated(seed)
    fast, plain = await asyncio.gather(*(lane.talk(sent, patience=1) for lane in warm_lanes))
    assert agree(normalised(fast), normalised(plain)), sent
