"""Real processes: sidecars started as an operator starts them, on free ports, against one real server."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import aiohttp

from tests.live.forkserver import AVAILABLE, Child, fork_server

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "five green bottles on a wall"
ROLES = ("account-administrator", "accountant", "developer", "marketer")


def sidecar_env(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without inherited settings, and with the test's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    return {**kept, "PYTHONPATH": str(ROOT), **{f"SIDECAR_{name}": value for name, value in settings.items()}}


def cli(
    settings: Mapping[str, str], *words: str, text: str = "", own: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run one command line to its end. ``own``: in its own interpreter, as an operator's."""
    if AVAILABLE and not own:
        return fork_server().run(words, sidecar_env(settings), text, timeout=60)
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=sidecar_env(settings),
        cwd=ROOT,
        check=False,
    )


def begin(
    settings: Mapping[str, str], sink: IO[bytes], *flags: str, own: bool = False, folder: Path = ROOT
) -> "subprocess.Popen[bytes] | Child":
    """Start ``sidecar serve``. ``own``: in its own interpreter, as an operator's, in a ``folder``."""
    words, env = ["serve", *flags], sidecar_env(settings)
    if AVAILABLE and not own:
        return fork_server().start(words, env, sink, sink)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "sidecar", *words], stdout=sink, stderr=sink, env=env, cwd=folder
    )


@dataclass
class Process:
    """A running sidecar and its addresses."""

    popen: "subprocess.Popen[bytes] | Child"
    url: str
    ops: str
    log: Path
    settings: dict[str, str]

    def wait_ready(self, seconds: float = 20) -> "Process":
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                raise AssertionError(f"the sidecar ended with {self.popen.returncode}: {self.output()[-3000:]}")
            if self.http_status("/readyz") == 200:
                return self
            time.sleep(0.02)
        raise AssertionError(f"the sidecar is not ready: {self.output()[-3000:]}")

    def http_status(self, path: str) -> int | None:
        host, _, port = self.ops.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.popen.wait(seconds)


@dataclass
class Answer:
    """Status, headers and JSON body of one request."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Person:
    """A signed-in user."""

    email: str
    id: str
    account: str
    access: str
    refresh: str


@dataclass
class Http:
    """A client of one or several sidecars; requests go to the first unless another is named."""

    session: aiohttp.ClientSession
    url: str
    extra: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        async with self.session.request(method, (url or self.url) + path, headers=sent, **body) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, response.headers, json.loads(raw) if is_json else raw)

    async def check(self, uri: str, *, token: str | None = None, method: str = "GET", url: str | None = None) -> Answer:
        headers = {"X-Forwarded-Method": method, "X-Forwarded-Uri": uri}
        return await self.ask("GET", "/check", token=token, url=url, headers=headers)

    async def sign_in(self, email: str, password: str = PASSWORD, *, url: str | None = None) -> Person:
        form = {"grant_type": "password", "username": email, "password": password}
        answer = await self.ask("POST", "/token", url=url, data=form)
        assert answer.status == 200, answer
        return person(email, answer.body)

    async def invite(self, admin: Person, email: str, role: str, *, url: str | None = None) -> Answer:
        return await self.ask("POST", "/v1/users", token=admin.access, url=url, json={"email": email, "role": role})

    async def join(self, admin: Person, email: str, role: str) -> Person:
        """Invite and accept."""
        invited = await self.invite(admin, email, role)
        assert invited.status == 201, invited
        secret = invited.body["invitation"]["url"].partition("#")[2]
        accepted = await self.ask("POST", "/v1/invitations/accept", json={"token": secret, "password": PASSWORD})
        assert accepted.status == 201, accepted
        return person(email, accepted.body)


def person(email: str, body: Mapping[str, Any]) -> Person:
    return Person(email, body["user"]["id"], body["account"], body["access_token"], body["refresh_token"])


def found_account(process: Process, name: str = "Acme", email: str = "ada@example.com", seats: int = 5) -> None:
    """Create an account and its administrator as an operator does."""
    words = ["account", "create", name, "--admin-email", email, "--seats", str(seats), "--password-stdin"]
    done = cli(process.settings, *words, text=PASSWORD + "\n")
    assert done.returncode == 0, done


async def eventually(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until ``condition()`` is true; await the result if it is awaitable."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
