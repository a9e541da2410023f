"""``sidecar health`` against ops listeners that are ready, not ready, silent, malformed, or absent."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import pytest

from sidecar.cli import health


class Ops(BaseHTTPRequestHandler):
    status, body = 200, b'{"status": "ok"}'

    def do_GET(self) -> None:
        assert self.path == "/readyz"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def address_string(self) -> str:
        return ""


@pytest.fixture
def ops() -> Iterator[HTTPServer]:
    class Handler(Ops):
        pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    yield from serving(server)


def serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def at(server: HTTPServer) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def test_ready(cli: Any, ops: HTTPServer) -> None:
    done = cli("health", "--ops-listen", at(ops))
    assert (done.status, done.out, done.err) == (0, "ready\n", "")


def test_the_wildcard_address_is_asked_on_loopback(cli: Any, ops: HTTPServer) -> None:
    assert cli("health", "--ops-listen", f"0.0.0.0:{ops.server_address[1]}").status == 0


def test_not_ready_names_what_is_failing(cli: Any, ops: HTTPServer) -> None:
    ops.RequestHandlerClass.status, ops.RequestHandlerClass.body = 503, b'{"failing": ["store", "policy"]}'  # type: ignore[attr-defined]
    done = cli("health", "--ops-listen", at(ops))
    assert (done.status, done.out) == (1, "")
    assert done.err == "sidecar: not ready: store, policy\n"
    as_json = cli("health", "--json", "--ops-listen", at(ops))
    assert as_json.status == 1
    assert json.loads(as_json.out) == {"ready": False, "failing": ["store", "policy"]}


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b"\xff"])
def test_an_odd_answer_is_not_ready(cli: Any, ops: HTTPServer, body: bytes) -> None:
    ops.RequestHandlerClass.status, ops.RequestHandlerClass.body = 500, body  # type: ignore[attr-defined]
    done = cli("health", "--ops-listen", at(ops))
    assert (done.status, done.err) == (1, "sidecar: not ready: status 500\n")


def test_nobody_there_is_status_3(cli: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = cli("health", "--ops-listen", address)
    assert done.status == 3
    assert f"no sidecar responds at {address}" in done.err


def test_silence_is_status_3(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert cli("health", "--ops-listen", f"127.0.0.1:{silent.getsockname()[1]}").status == 3


def test_something_that_is_no_http_is_status_3(cli: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert cli("health", "--ops-listen", f"127.0.0.1:{listener.getsockname()[1]}").status == 3
        thread.join()


def test_over_a_unix_socket(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "ops.sock"
    for _ in serving(UnixStreamServer(str(path), Ops)):
        assert cli("health", "--ops-listen", f"unix:{path}").status == 0
    assert cli("health", "--ops-listen", f"unix:{tmp_path}/gone").status == 3
