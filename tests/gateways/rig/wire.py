"""One request as raw bytes, one response as received. No client library between a hostile request and the gateway."""

import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """Response. ``status`` 0: the connection was closed without one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def value(self, name: str) -> str | None:
        return next((value for found, value in self.headers if found == name.lower()), None)


def ask(port: int, raw: bytes, *, timeout: float = 10.0, settle: float = 0.0, source: str = "") -> Response:
    """Send ``raw``, read one response, stay connected for ``settle`` seconds. Raise TimeoutError if there is none.

    ``source``: the client's address, one of this machine's (any of 127.0.0.0/8).
    """
    own = (source, 0) if source else None
    with socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=own) as connection:
        try:
            connection.sendall(raw)
            response = read_response(connection, head_only=raw.startswith(b"HEAD "), timeout=timeout)
            time.sleep(settle)
        except (ConnectionResetError, BrokenPipeError):
            return Response(0)
        return response


def read_response(connection: socket.socket, *, head_only: bool = False, timeout: float = 10.0) -> Response:
    data = b""
    deadline = time.monotonic() + timeout
    while b"\r\n\r\n" not in data:
        more = _receive(connection, deadline)
        if not more:
            return Response(0) if not data else _parsed(data, b"")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    response = _parsed(head, b"")
    if head_only or response.status in (101, 204, 304):
        return response
    length = response.value("content-length")
    if length is not None:
        while len(body) < int(length) and (more := _receive(connection, deadline)):
            body += more
    elif "chunked" in (response.value("transfer-encoding") or ""):
        while not body.endswith(b"0\r\n\r\n") and (more := _receive(connection, deadline)):
            body += more
    else:
        while more := _receive(connection, deadline):
            body += more
    return Response(response.status, response.headers, body)


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    return connection.recv(65536)


def _parsed(head: bytes, body: bytes) -> Response:
    start, *lines = head.split(b"\r\n")
    if not start.startswith(b"HTTP/"):
        return Response(0)  # HTTP/0.9: a body and nothing else
    pairs = (line.decode("latin-1").partition(":") for line in lines if line)
    headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
    return Response(int(start.split(b" ")[1]), headers, body)
