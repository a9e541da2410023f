"""``sidecar health``: readiness of the running sidecar, from its ops listener. For probes; imports only the stdlib."""

import http.client
import json
import socket
from typing import Any

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import OK, answer_no, json_option, print_json, unavailable
from sidecar.config.parsers import Address, TcpAddress

TIMEOUT = 3.0
MAX_BODY = 8 << 20
"""Bytes of a response that are read."""


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@click.command()
@settings_options(["ops_listen"])
@json_option
def health(as_json: bool, **flags: str | None) -> int:
    """Check the readiness of the running sidecar. Exit status 0 ready, 1 not ready, 3 no response."""
    address = settings_from(flags).ops_listen
    status, answer = fetch(address, "/readyz")
    if as_json:
        print_json({"ready": status == 200, **answer})
    if status == 200:
        if not as_json:
            click.echo("ready")
        return OK
    failing = answer.get("failing")
    named = ", ".join(map(str, failing)) if isinstance(failing, (list, dict)) and failing else f"status {status}"
    raise answer_no(f"not ready: {named}")


def fetch(address: Address, path: str) -> tuple[int, dict[str, Any]]:
    """Send a GET to the ops listener. Return the status and the JSON object, empty for any other body."""
    status, body = fetch_bytes(address, path)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    return status, answer if isinstance(answer, dict) else {}


def fetch_bytes(address: Address, path: str) -> tuple[int, bytes]:
    """Send a GET to the ops listener. Return status and body."""
    connection = _connection(address)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(MAX_BODY)
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise unavailable(f"no sidecar responds at {address}: {why} (is `sidecar serve` running there?)") from None
    finally:
        connection.close()


def _connection(address: Address) -> http.client.HTTPConnection:
    if not isinstance(address, TcpAddress):
        return _Unix(str(address.path), TIMEOUT)
    host = address.host
    if address.wildcard:  # listening on all interfaces: use loopback
        host = "::1" if ":" in host else "127.0.0.1"
    return http.client.HTTPConnection(host, address.port, timeout=TIMEOUT)
