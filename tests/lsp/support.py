"""Language server for tests: folders to open, and a raw client for messages that no library would send."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "sidecar", "policy", "lsp", "--stdio")


def write_root(root: Path, files: Mapping[str, bytes]) -> None:
    """Write a policy as a repository has it: ``policy/`` and ``model.conf``."""
    (root / "policy").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = path_in(root, name)
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
            path.chmod(0o644)


def path_in(root: Path, name: str) -> Path:
    return root / name if name == "model.conf" else root / "policy" / name


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    return {**clean, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class RawClient:
    """Client that sends any bytes, and reads whole messages."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._number = 0
        self.received: list[dict[str, Any]] = []
        """Notifications and error responses without an id."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_bytes(self, data: bytes) -> None:
        self._input.write(data)
        self._input.flush()

    def send(self, message: object) -> None:
        body = json.dumps(message).encode()
        self.send_bytes(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def notify(self, method: str, params: object) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def read(self) -> dict[str, Any]:
        length = 0
        while (line := self._output.readline()) != b"\r\n":
            if not line:
                raise EOFError(self.stderr())
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        message: dict[str, Any] = json.loads(self._output.read(length))
        return message

    def request(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a request, and return its response. Other messages are kept in ``received``."""
        self._number += 1
        self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while (message := self.read()).get("id") != self._number or "method" in message:
            self.received.append(message)
        return message

    def initialize(self, root: Path | None, **more: Any) -> dict[str, Any]:
        uri = None if root is None else root.as_uri()
        response = self.request("initialize", {"processId": None, "rootUri": uri, "capabilities": {}, **more})
        self.notify("initialized", {})
        return response

    def open(self, path: Path, text: str | None = None) -> dict[str, Any]:
        """Open a file, and return its identifier."""
        item = {"uri": path.as_uri(), "languageId": "csv", "version": 1}
        self.notify("textDocument/didOpen", {"textDocument": {**item, "text": text or path.read_text()}})
        return {"textDocument": {"uri": path.as_uri()}}

    def change(self, path: Path, text: str, version: int = 2) -> None:
        document = {"uri": path.as_uri(), "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    def settle(self, path: Path) -> None:
        """Wait until the diagnostics of a policy are published: no response precedes them."""
        other = path.with_name("routes.csv") if path.name.endswith(".csv") else path
        nowhere = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}
        self.request("textDocument/inlayHint", {"textDocument": {"uri": other.as_uri()}, "range": nowhere})

    def diagnostics(self, path: Path) -> list[dict[str, Any]]:
        """Return the diagnostics of a file once its state is settled."""
        self.settle(path)
        found = [
            message["params"]["diagnostics"]
            for message in self.received
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == path.as_uri()
        ]
        return found[-1] if found else []

    def end(self) -> int:
        """Shut the server down, and return its exit status."""
        self.request("shutdown")
        self.notify("exit", None)
        return self._process.wait(10)

    def stop(self) -> None:
        """End the process, in any state."""
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def stderr(self) -> str:
        return self._process.stderr.read().decode(errors="replace") if self._process.stderr else ""
