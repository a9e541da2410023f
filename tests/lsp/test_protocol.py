"""Messages that are wrong: the protocol's errors, and a server that goes on."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.lsp.framing import MAX_BODY, FrameDecoder, FrameFault
from tests.lsp.support import COMMAND, RawClient

Start = Callable[..., RawClient]
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED = -32002


@pytest.fixture(scope="module")
def session(open_root: Path) -> Iterator[RawClient]:
    """One server for all tests that it must survive."""
    opened = RawClient()
    opened.initialize(open_root)
    yield opened
    assert opened.end() == 0
    opened.stop()


@pytest.fixture
def client(session: RawClient) -> RawClient:
    session.received.clear()
    return session


@pytest.fixture
def fresh(start: Start, root: Path) -> RawClient:
    opened = start()
    opened.initialize(root)
    return opened


def alive(client: RawClient, open_root: Path) -> bool:
    """Return whether the server still answers a hover with the right content."""
    place = {
        "textDocument": {"uri": (open_root / "policy/policy.csv").as_uri()},
        "position": {"line": 10, "character": 5},
    }
    return "Account Administrator" in json.dumps(client.request("textDocument/hover", place))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("textDocument/hover", None),
        ("textDocument/hover", 3),
        ("textDocument/hover", []),
        ("textDocument/hover", {"textDocument": 3}),
        ("textDocument/hover", {"textDocument": {"uri": "x"}, "position": {"line": "a", "character": 0}}),
        ("textDocument/hover", {"textDocument": {"uri": "x"}, "position": {"line": -1, "character": 0}}),
        ("textDocument/completion", {"position": {"line": 0, "character": 0}}),
        ("textDocument/rename", {"textDocument": {"uri": "x"}, "position": {"line": 0, "character": 0}}),
        ("textDocument/codeAction", {"textDocument": {"uri": "x"}, "range": 1, "context": {}}),
        ("textDocument/inlayHint", {"textDocument": None}),
    ],
)
def test_parameters_of_a_wrong_type_are_invalid(client: RawClient, open_root: Path, method: str, params: Any) -> None:
    error = client.request(method, params)["error"]
    assert error["code"] == INVALID_PARAMS
    assert method in error["message"]
    assert alive(client, open_root)


@pytest.mark.parametrize("method", ["x", "textDocument/willSave2", "$/secret", "workspace/executeCommand2"])
def test_an_unknown_request_is_method_not_found(client: RawClient, open_root: Path, method: str) -> None:
    assert client.request(method, {})["error"]["code"] == METHOD_NOT_FOUND
    client.notify(method, {"a": {"b": 1}})
    assert alive(client, open_root)


def test_a_notification_as_a_request_is_method_not_found(client: RawClient, open_root: Path) -> None:
    assert client.request("textDocument/didOpen", {})["error"]["code"] == METHOD_NOT_FOUND
    client.notify("textDocument/hover", {})
    assert alive(client, open_root)


def test_there_is_no_command_to_run(client: RawClient) -> None:
    error = client.request("workspace/executeCommand", {"command": "rm", "arguments": ["-rf", "/"]})["error"]
    assert error["code"] == INVALID_PARAMS


@pytest.mark.parametrize(
    ("message", "code", "answered"),
    [
        ([], INVALID_REQUEST, None),
        ("text", INVALID_REQUEST, None),
        (3, INVALID_REQUEST, None),
        (None, INVALID_REQUEST, None),
        ({}, INVALID_REQUEST, None),
        ({"jsonrpc": "2.0"}, INVALID_REQUEST, None),
        ({"jsonrpc": "1.0", "id": 77, "method": "shutdown"}, INVALID_REQUEST, 77),
        ({"jsonrpc": "2.0", "id": 77, "method": 3}, INVALID_REQUEST, 77),
        ({"jsonrpc": "2.0", "id": 77}, INVALID_REQUEST, 77),
        ({"jsonrpc": "2.0", "id": [], "method": "shutdown"}, INVALID_REQUEST, None),
        ({"jsonrpc": "2.0", "id": None, "method": "shutdown"}, INVALID_REQUEST, None),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "shutdown"}, INVALID_REQUEST, None),
        ({"jsonrpc": "2.0", "id": True, "method": "shutdown"}, INVALID_REQUEST, None),
    ],
    ids=str,
)
def test_what_is_no_message_is_an_invalid_request(
    client: RawClient, open_root: Path, message: object, code: int, answered: int | None
) -> None:
    client.send(message)
    assert alive(client, open_root)
    (error,) = [one for one in client.received if "error" in one]
    assert error["error"]["code"] == code
    assert error["id"] == answered


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe\xfd",
        b'{"jsonrpc": "2.0"',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5_000,
        b"\x00",
        b'"\\ud800',
    ],
    ids=lambda body: body[:12].hex(),
)
def test_bytes_that_are_no_json_are_a_parse_error(client: RawClient, open_root: Path, body: bytes) -> None:
    client.send_bytes(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    assert alive(client, open_root)
    (error,) = [one for one in client.received if "error" in one]
    assert (error["id"], error["error"]["code"]) == (None, PARSE_ERROR)


@pytest.mark.parametrize("header", [b"Content-Length: -1", b"Content-Length: ten", b"Content-Length: " + b"9" * 5_000])
def test_a_length_that_is_no_number_is_a_parse_error(client: RawClient, open_root: Path, header: bytes) -> None:
    client.send_bytes(header + b"\r\n\r\n")
    assert alive(client, open_root)


def test_a_response_to_no_request_is_ignored(client: RawClient, open_root: Path) -> None:
    for answer in ({"result": 1}, {"error": {"code": 1, "message": "x"}}, {"result": None, "error": 3}):
        client.send({"jsonrpc": "2.0", "id": "unknown", **answer})
    assert alive(client, open_root)
    assert [one for one in client.received if "error" in one] == []


def test_requests_before_initialize_are_refused(start: Start, root: Path) -> None:
    client = start()
    assert client.request("textDocument/hover", {})["error"]["code"] == NOT_INITIALIZED
    client.notify("textDocument/didOpen", {"textDocument": 1})
    assert client.request("shutdown")["error"]["code"] == NOT_INITIALIZED
    assert client.request("initialize", {"capabilities": 3})["error"]["code"] == INVALID_PARAMS
    assert "capabilities" in client.initialize(root)["result"]
    assert client.initialize(root)["error"]["code"] == INVALID_REQUEST


def test_only_exit_follows_a_shutdown(fresh: RawClient) -> None:
    assert fresh.request("shutdown")["result"] is None
    assert fresh.request("textDocument/hover", {})["error"]["code"] == INVALID_REQUEST
    fresh.notify("exit", None)
    assert fresh._process.wait(10) == 0


def test_an_exit_without_a_shutdown_is_a_failure(fresh: RawClient) -> None:
    fresh.notify("exit", None)
    assert fresh._process.wait(10) == 1


def test_the_end_of_the_stream_ends_the_server(fresh: RawClient) -> None:
    fresh._input.close()
    assert fresh._process.wait(10) == 1


def test_a_client_that_reads_no_more_ends_the_server(fresh: RawClient) -> None:
    fresh._output.close()
    fresh.send({"jsonrpc": "2.0", "id": 1, "method": "x"})
    fresh.send({"jsonrpc": "2.0", "id": 2, "method": "x"})
    assert fresh._process.wait(10) == 1


@pytest.mark.parametrize(
    "uri", ["", "x", "untitled:1", "http://a/policy.csv", "file://host/policy.csv", "file:///%00", "::"]
)
def test_documents_of_other_places_are_ignored(client: RawClient, open_root: Path, uri: str) -> None:
    document = {"uri": uri, "languageId": "csv", "version": 1, "text": "p, a"}
    client.notify("textDocument/didOpen", {"textDocument": document})
    identifier = {"textDocument": {"uri": uri}}
    place = {**identifier, "position": {"line": 0, "character": 0}}
    assert client.request("textDocument/hover", place)["result"] is None
    assert client.request("textDocument/documentSymbol", identifier)["result"] == []
    client.notify("textDocument/didClose", identifier)
    assert alive(client, open_root)


def test_changes_of_unknown_documents_are_ignored(client: RawClient, open_root: Path) -> None:
    client.change(open_root / "policy/roles.toml", "x")
    client.notify("textDocument/didClose", {"textDocument": {"uri": (open_root / "policy/roles.toml").as_uri()}})
    assert alive(client, open_root)


def damaged(chance: random.Random) -> Iterator[bytes]:
    """Yield messages with some bytes changed, cut or doubled, and bytes without any form."""
    place = {"textDocument": {"uri": "file:///x/policy/policy.csv"}, "position": {"line": 1, "character": 1}}
    methods = ("hover", "completion", "definition", "references", "rename", "codeAction", "inlayHint", "didChange")
    while True:
        method = f"textDocument/{chance.choice(methods)}"
        body = bytearray(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": place}).encode())
        for _ in range(chance.randrange(4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if chance.random() < 0.2:
            body = bytearray(chance.randbytes(chance.randrange(200)).replace(b"Content", b""))
            yield bytes(body)
            continue
        yield b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("number", range(4))
def test_damaged_messages_end_no_session(client: RawClient, open_root: Path, number: int) -> None:
    source = damaged(random.Random(number))
    for _ in range(300):
        client.send_bytes(next(source))
    client.send_bytes(b"\n" * 3)
    assert alive(client, open_root)


# -- frames ------------------------------------------------------------------------------------------------------------


def decoded(data: bytes, size: int) -> list[bytes | FrameFault]:
    decoder = FrameDecoder()
    return [item for at in range(0, len(data), size) for item in decoder.feed(data[at : at + size])]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_frames_are_read_from_chunks_of_any_size(size: int) -> None:
    data = b"Content-Length: 2\r\n\r\n{}Content-Type: x\r\ncontent-length:3\r\n\r\nabcContent-Length: 1\n\nz"
    assert decoded(data, size) == [b"{}", b"abc", b"z"]


def test_a_large_message_is_skipped_without_memory() -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))) == [FrameFault.TOO_LARGE]
    chunk = b"x" * 65_536
    for _ in range(MAX_BODY // len(chunk)):
        assert list(decoder.feed(chunk)) == []
        assert len(decoder._buffer) == 0
    assert list(decoder.feed(b"xContent-Length: 2\r\n\r\n{}")) == [b"{}"]


def test_a_header_without_an_end_takes_no_memory() -> None:
    decoder = FrameDecoder()
    for _ in range(1000):
        assert list(decoder.feed(b"x" * 10_000)) == []
        assert len(decoder._buffer) <= 20_000


@pytest.mark.parametrize("number", range(20))
def test_random_bytes_are_faults_or_nothing(number: int) -> None:
    chance = random.Random(number)
    parts = [b"Content-Length: ", b"\r\n", b"\r\n\r\n", b"{", b"9", b"-", b"\xff", b"\x00", b" "]
    data = b"".join(chance.choice(parts) + chance.randbytes(chance.randrange(3)) for _ in range(3_000))
    for item in decoded(data, chance.choice([1, 10, 999])):
        assert isinstance(item, bytes | FrameFault)


def test_the_command_names_the_extra_when_it_is_missing(start: Start) -> None:
    code = (
        "import sys; sys.modules['pygls'] = None; sys.modules['pygls.lsp'] = None;"
        "from sidecar.cli.main import run; sys.exit(run(['policy', 'lsp']))"
    )
    client = start(COMMAND[0], "-c", code)
    assert client._process.wait(20) == 2
    assert "pip install 'policy-sidecar[lsp]'" in client.stderr()
