"""``sidecar demo`` as a real process: its output is true, one instance runs at a time, and no files remain."""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.problems import problems
from sidecar.server.demo import DemoError, demo_settings, free_port

pytestmark = pytest.mark.slow

PASSWORDS = re.compile(r"\b[a-z2-9]{5}(?:-[a-z2-9]{5}){3}\b")

ENV = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
ENV["PYTHONPATH"] = str(Path(__file__).parents[2])


@dataclass
class Demo:
    process: "subprocess.Popen[str]"
    folder: Path
    said: str

    @property
    def port(self) -> int:
        found = re.match(r"Open in a browser:  http://localhost:(\d+)/console/\n", self.said)
        assert found is not None
        return int(found[1])

    @property
    def curls(self) -> list[str]:
        return [line for line in self.said.splitlines() if line.startswith("curl ")]

    def state(self) -> list[Path]:
        return list(self.folder.glob("sidecar-demo-*"))


@pytest.fixture
def demo(tmp_path: Path, redis_server_binary: str) -> Iterator[Demo]:
    # A short path, because the path of a Unix socket is derived from it.
    folder = Path(tempfile.mkdtemp(prefix="d-"))
    log = (tmp_path / "err").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo"],
        cwd=tmp_path,
        env=ENV | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            break
    try:
        assert said.endswith("its state.\n"), (tmp_path / "err").read_text()
        yield Demo(process, folder, said)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_prints_four_users_and_three_commands_with_200_403_401(demo: Demo, tmp_path: Path) -> None:
    roles = re.findall(r"^([a-z-]+) +(\S+@demo\.example) ", demo.said, re.MULTILINE)
    assert [role for role, _ in roles] == ["account-administrator", "accountant", "developer", "marketer"]
    assert len(set(PASSWORDS.findall(demo.said))) == 4
    assert "eyJ" not in demo.said, "no token on the screen"
    assert [answer(line) for line in demo.curls] == ["200", "403", "401"]
    assert (tmp_path / "err").read_text() == "", "a terminal shows the table alone"


def test_the_console_comes_first_and_fits_a_terminal(demo: Demo) -> None:
    """A newcomer sees address, user and password without scrolling: 24 rows of 80 columns, with the prompt's row."""
    address, email, password, *_ = demo.said.splitlines()
    assert address == f"Open in a browser:  http://localhost:{demo.port}/console/"
    assert email == "E-mail:             admin@demo.example"
    assert PASSWORDS.findall(password) == PASSWORDS.findall(demo.said)[1:2]
    rows = sum(-(-len(line) // 80) or 1 for line in demo.said.splitlines())
    assert rows < 24
    assert [line for line in demo.said.splitlines() if len(line) > 80] == demo.curls


def test_the_console_is_on_every_loopback_name(demo: Demo) -> None:
    hosts = {"127.0.0.1": "127.0.0.1"} | ({"[::1]": "::1"} if has_ipv6() else {})
    for host, address in hosts.items():
        assert page(address, demo.port, f"localhost:{demo.port}") == (200, None)
        for name in (host, "demo.localhost"):
            assert page(address, demo.port, f"{name}:{demo.port}") == (
                302,
                f"http://localhost:{demo.port}/console/?a=1",
            )


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def page(address: str, port: int, host: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.request("GET", "/console/?a=1", headers={"Host": host})
    response = connection.getresponse()
    connection.close()
    return response.status, response.headers["Location"]


def test_the_printed_user_signs_in_as_a_browser(demo: Demo) -> None:
    """The cookies and the Origin check fit the printed address."""
    url = f"http://localhost:{demo.port}"
    connection = http.client.HTTPConnection("localhost", demo.port, timeout=10)
    body = json.dumps({"username": "admin@demo.example", "password": PASSWORDS.findall(demo.said)[0]})
    connection.request("POST", "/v1/session", body, {"Origin": url, "Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    cookies = [line.partition(";")[0] for line in response.headers.get_all("Set-Cookie")]
    assert response.status == 204
    connection.request("GET", "/v1/me", headers={"Cookie": "; ".join(cookies)})
    me = json.loads(connection.getresponse().read())
    connection.close()
    assert me["role"] == "account-administrator"


def answer(line: str) -> str:
    """Run the line in a shell if curl is installed; otherwise send the same request."""
    if shutil.which("curl"):
        return subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    words = shlex.split(line)
    lines = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
    lines = [Path(line[1:]).read_text().strip() if line.startswith("@") else line for line in lines]
    headers = dict(line.split(": ", 1) for line in lines)
    host, _, path = words[-1].removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/{path}", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return str(status)


def test_everybody_can_sign_in_with_the_printed_password(demo: Demo) -> None:
    for role, email, password in re.findall(r"^([a-z-]+) +(\S+@demo\.example) +(\S+)$", demo.said, re.MULTILINE):
        grant = sign_in(demo.port, email, password)
        assert grant["user"]["role"] == role


def sign_in(port: int, email: str, password: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"grant_type": "password", "username": email, "password": password})
    connection.request("POST", "/token", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answered = json.loads(response.read())
    connection.close()
    assert response.status == 200, answered
    return answered


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_R23_state_is_its_own_and_gone_at_the_end(demo: Demo, tmp_path: Path, number: int) -> None:
    (state,) = demo.state()
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "accountant").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / ".sidecar").exists()
    demo.process.send_signal(number)
    assert demo.process.wait(15) == 0
    assert demo.state() == []


def test_R23_serve_refuses_a_demos_store_and_keys(demo: Demo, tmp_path: Path) -> None:
    (state,) = demo.state()
    for flags in (["--state-dir", str(state)], ["--keys-dir", str(state / "keys")]):
        port = free_port(20_000)
        own = ["--listen", f"127.0.0.1:{port}", "--ops-listen", f"127.0.0.1:{free_port(port + 1)}"]
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", "serve", *own, *flags],
            cwd=tmp_path,
            env=ENV,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "demo" in done.stderr
        assert "Traceback" not in done.stderr


def test_R23_a_real_store_is_refused(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("demo", "--redis-url", "redis://127.0.0.1:1/0")
    assert (done.status, done.out) == (2, "")
    assert "SIDECAR_REDIS_URL" in done.err
    monkeypatch.setenv("SIDECAR_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    done = cli("demo")
    assert done.status == 2
    assert "hunter2" not in done.err


def test_R23_loopback_whatever_is_set(tmp_path: Path) -> None:
    env = {
        "SIDECAR_LISTEN": "0.0.0.0:9181",
        "SIDECAR_OPS_LISTEN": "0.0.0.0:9182",
        "SIDECAR_CHECK_LISTEN": "0.0.0.0:9183",
        "SIDECAR_GRPC_LISTEN": "0.0.0.0:9184",
        "SIDECAR_PUBLIC_URL": "https://dash.example",
        "SIDECAR_ISSUER": "https://dash.example",
        "SIDECAR_KEYS_DIR": "/etc/sidecar/keys",
        "SIDECAR_SMTP_URL": "smtp://mail",
        "SIDECAR_EMBEDDED": "true",
        "SIDECAR_PLAINTEXT": "true",
    }
    settings = demo_settings({}, env, tmp_path)
    assert settings.listen.loopback
    assert settings.ops_listen.loopback
    assert (settings.check_listen, settings.grpc_listen, settings.smtp_url, settings.redis_url) == (None,) * 4
    assert settings.public_url == f"http://{settings.listen}"
    assert settings.public_url.startswith("http://localhost:")
    assert settings.login_url == f"{settings.public_url}/console/sign-in"
    assert settings.issuer == f"{settings.public_url}/demo"
    assert (settings.state_dir, settings.keys_dir) == (tmp_path, tmp_path / "keys")
    assert (settings.embedded, settings.plaintext) == (False, False)
    assert problems(settings) == []


def test_what_is_set_wrongly_is_said(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_LESE", "1s")
    done = cli("demo")
    assert done.status == 2
    assert "SIDECAR_LEASE" in done.err


def test_the_next_free_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if port < 65_000:
            assert free_port(port) > port
    if has_ipv6():
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            if port < 65_000:
                assert free_port(port) > port
    with pytest.raises(DemoError, match="no free port"):
        free_port(65_536)


def test_two_demos_side_by_side(demo: Demo, tmp_path: Path) -> None:
    second = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "demo"],
        cwd=tmp_path,
        env=ENV | {"TMPDIR": str(demo.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert second.stdout is not None
    try:
        first_line = second.stdout.readline()
        assert first_line.startswith("Open in a browser:  http://localhost:")
        assert str(demo.port) not in first_line
        second.send_signal(signal.SIGTERM)
        assert second.wait(15) == 0
    finally:
        second.kill()
        second.wait(10)
        second.stdout.close()
