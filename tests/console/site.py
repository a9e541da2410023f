"""The real sidecar behind the console's tests: its store, its address in browsers, accounts created by the CLI."""

import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.conftest import _memory, dying_with_us
from tests.live.support import PASSWORD, Process, begin, cli
from tests.ports import free_port

CONTACT = "seats@sidecar.example"
LEASE = 1.0
"""Seconds for which a sidecar may use its copies of the store (SIDECAR_LEASE)."""

_numbers = itertools.count(1)


class Redis:
    """A server of its own, which a test can stop and continue."""

    def __init__(self, binary: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scc-", dir=_memory()))
        socket = self.folder / "s"
        words = f"--port 0 --unixsocket {socket} --unixsocketperm 700 --dir {self.folder} --appendonly yes"
        command = dying_with_us([binary, *words.split(), "--save", ""])
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"unix://{socket}"
        deadline = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        self._signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The store does not respond inside the block."""
        self._signal(signal.SIGSTOP)
        time.sleep(LEASE + 0.3)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in (self._process.pid, *_children(self._process.pid)):
            os.kill(process, number)


def _children(pid: int) -> list[int]:
    """Return the processes that the launcher started (on Linux the launcher becomes the server and has none)."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Person:
    """A user with name, e-mail and password."""

    name: str
    email: str
    password: str = PASSWORD
    id: str = ""


@dataclass
class Site:
    """A running sidecar, at the origin that browsers use."""

    process: Process
    origin: str

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.process.url.partition("//")[2].partition(":")
        return host, int(port)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request past the browser. Keywords are headers, with ``_`` for ``-``.

        Repeats it while the store is slower than its time-out, as on a busy machine.
        """
        for _ in range(40):
            answer = self._ask(method, path, body, **headers)
            if answer.headers.get("X-Auth-Reason") != "store_unavailable":
                break
            time.sleep(0.25)
        return answer

    def _ask(self, method: str, path: str, body: Any, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        sent = {"Host": self.origin.partition("//")[2], **{name.replace("_", "-"): v for name, v in headers.items()}}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            raw = response.read()
            is_json = "json" in (response.getheader("Content-Type") or "")
            return Answer(response.status, dict(response.getheaders()), json.loads(raw) if is_json else raw)
        finally:
            connection.close()

    def sign_in_cookies(self, body: dict[str, str]) -> str:
        """Sign in as a browser does; return the value of its ``Cookie`` header."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        sent = {"Host": self.origin.partition("//")[2], "Origin": self.origin, "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/session", json.dumps(body), sent)
            response = connection.getresponse()
            response.read()
            assert response.status == 204, response.status
            found = response.headers.get_all("Set-Cookie") or []
            return "; ".join(line.partition(";")[0] for line in found)
        finally:
            connection.close()

    def token(self, person: Person, account: str | None = None) -> str:
        """Return an access token, as a program gets it; ``account``: its id."""
        form = {"grant_type": "password", "username": person.email, "password": person.password}
        more = {"account": account} if account else {}
        answer = self.ask("POST", "/token", form | more)
        assert answer.status == 200, answer
        return str(answer.body["access_token"])

    def account(self, name: str | None = None, *, seats: int = 5, admin: str = "Ada Admin") -> "Account":
        """Create an account as an operator does. Its e-mails are of no other account."""
        number = next(_numbers)
        made = Account(self, name or f"Acme {number}", f"acme{number}.example")
        email = made.email_of(admin)
        words = ["account", "create", "--admin-email", email, "--admin-name", admin, "--seats", str(seats)]
        self.operate(*words, "--password-stdin", "--", made.name, text=PASSWORD + "\n")
        made.admin = Person(admin, email)
        made.admin.id = made.member(email)["id"]
        return made

    def operate(self, *words: str, text: str = "") -> str:
        """Run one command line beside the sidecar."""
        done = cli(self.process.settings, *words, text=text)
        assert done.returncode == 0, done
        return done.stdout


@dataclass
class Account:
    """An account, with calls of the API past the browser."""

    site: Site
    name: str
    domain: str
    admin: Person = field(default_factory=lambda: Person("", ""))
    invitation: str = ""
    _token: str = field(default="", repr=False)

    def email_of(self, name: str) -> str:
        first = "".join(char for char in name.partition(" ")[0].lower() if char.isalnum())
        return f"{first or 'x'}{next(_numbers)}@{self.domain}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a call as the first administrator; return the JSON of a success."""
        self._token = self._token or self.site.token(self.admin)
        answer = self.site.ask(method, path, body, Authorization=f"Bearer {self._token}")
        if answer.status == 401:
            self._token = self.site.token(self.admin)
            answer = self.site.ask(method, path, body, Authorization=f"Bearer {self._token}")
        assert answer.status < 300, (method, path, answer)
        return answer.body

    def members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/v1/users")["users"]
        return found

    def member(self, email: str) -> dict[str, Any]:
        return next(one for one in self.members() if one["email"] == email)

    def member_named(self, name: str) -> Person:
        """Return the person of that name, with the password that all have at first."""
        found = next(one for one in self.members() if one["name"] == name)
        return Person(name, found["email"], id=found["id"])

    def invite(self, name: str, role: str) -> tuple[Person, str]:
        """Return the invited person, and the link that the administrator hands over."""
        person = Person(name, self.email_of(name))
        answer = self.ask("POST", "/v1/users", {"email": person.email, "name": name, "role": role})
        person.id = answer["user"]["id"]
        return person, answer["invitation"]["url"]

    def join(self, name: str, role: str) -> Person:
        """Invite and accept."""
        person, link = self.invite(name, role)
        secret = link.partition("#")[2]
        accepted = self.site.ask("POST", "/v1/invitations/accept", {"token": secret, "password": PASSWORD})
        assert accepted.status == 201, accepted
        return person

    def reset_link(self, person: Person) -> str:
        """Return a link for a new password, as an operator prints it."""
        printed = self.site.operate("user", "reset-password", person.email, "--account", self.name)
        return next(word for word in printed.split() if "/console/reset#" in word)


def query(**parameters: str) -> str:
    return urlencode(parameters)


class Sidecars:
    """Starts sidecars on one store, with one folder of keys; ends them at the end of the run."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self.folder = folder
        self.redis = redis
        self._running: list[Process] = []
        self._plain: Site | None = None

    def start(self, origin: str | None = None, *, port: int = 0, ready: bool = True, **settings: str) -> Site:
        """Start one more sidecar. ``origin``: its public URL, by default ``http://localhost:PORT``."""
        number, port, ops = len(self._running), port or free_port(), free_port()
        origin = origin or f"http://localhost:{port}"
        given = {
            "LISTEN": f"127.0.0.1:{port}",
            "OPS_LISTEN": f"127.0.0.1:{ops}",
            "PUBLIC_URL": origin,
            "STATE_DIR": str(self.folder / "state"),
            "KEYS_DIR": str(self.folder / "keys"),
            "ISSUER": "http://sidecar.test",
            "REDIS_URL": self.redis.url,
            "SEAT_CONTACT": CONTACT,
            "DECISION_LOG": "off",
            "LOG_FORMAT": "json",
            "DRAIN": "0s",
            **settings,
        }
        log = self.folder / f"sidecar-{number}.log"
        with log.open("wb") as sink:
            popen = begin(given, sink)
        process = Process(popen, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ops}", log, given)
        self._running.append(process)
        return Site(process.wait_ready() if ready else process, origin)

    def plain(self) -> Site:
        """Return a sidecar without TLS, started once: tests arrange accounts by it."""
        if self._plain is None:
            self._plain = self.start()
        return self._plain

    def stop(self) -> None:
        for process in self._running:
            process.popen.kill()
            process.popen.wait(10)
