"""Start, drain, loss of the store and its return."""

import asyncio
import http.client
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.support import ROOT, Http, Process, cli, eventually, found_account, sidecar_env
from tests.ports import free_port

pytestmark = pytest.mark.slow

BILLING = "/dashboard/billing"


class RedisServer:
    """A server of this test alone, which can be stopped, frozen and restarted on the same data."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "redis.log").open("ab") as log:
            self.popen = subprocess.Popen(
                [
                    self._binary,
                    "--port",
                    str(self.port),
                    "--bind",
                    "127.0.0.1",
                    "--dir",
                    str(self._folder),
                    "--save",
                    "",
                    "--appendonly",
                    "yes",
                    "--appendfsync",
                    "always",
                ],
                stdout=log,
                stderr=log,
            )

    def signal(self, number: int) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)
        if number == signal.SIGKILL:
            self.popen.wait(10)


@pytest.fixture
def redis_server(redis_server_binary: str, tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(redis_server_binary, folder)
    yield server
    if server.popen is not None and server.popen.poll() is None:
        server.popen.kill()
        server.popen.wait(10)


async def test_a_store_outage_denies_everything_and_recovers_by_itself(
    start: Start, redis_server: RedisServer, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=redis_server.url, wait=False)
    api = http(process)
    await eventually(lambda: process.http_status("/livez") == 200)
    assert process.http_status("/readyz") == 503
    denied = await api.ask("POST", "/token", data={"grant_type": "password", "username": "a@b.co", "password": "x"})
    assert denied.status == 503
    assert "Retry-After" in denied.headers

    redis_server.start()
    await eventually(lambda: process.http_status("/readyz") == 200)
    found_account(process)
    ada = await api.sign_in("ada@example.com")
    assert (await api.check(BILLING, token=ada.access)).status == 200

    redis_server.signal(signal.SIGKILL)
    time.sleep(1.2)  # no copy may be used after the lease
    began = time.monotonic()
    answer = await api.check(BILLING, token=ada.access)
    assert (answer.status, answer.body["reason"]) == (403, "store_unavailable")
    assert time.monotonic() - began < 1
    service = await api.ask("POST", "/v1/check", token=ada.access, json={"section": "billing", "action": "view"})
    assert (service.status, service.body["code"]) == (503, "store_unavailable")
    assert "Retry-After" in service.headers
    assert process.http_status("/readyz") == 503
    assert process.http_status("/livez") == 200
    metrics = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
    assert 'sidecar_store_errors_total{operation="register"}' in metrics
    assert 'sidecar_store_request_duration_seconds_count{operation="register"}' in metrics
    assert "\nsidecar_ready 0.0\n" in metrics
    assert "\nsidecar_record_copies " in metrics
    assert "\nprocess_open_fds " in metrics or sys.platform != "linux"

    redis_server.start()
    await eventually(lambda: process.http_status("/readyz") == 200)
    assert (await api.check(BILLING, token=ada.access)).status == 200, "no acknowledged write was lost"


async def test_sigterm_drains_and_exits_0(start: Start, real_redis_url: str, http: Callable[[Process], Http]) -> None:
    process = start(REDIS_URL=real_redis_url, DRAIN="1s", own=True)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    began = time.monotonic()
    process.popen.send_signal(signal.SIGTERM)
    await eventually(lambda: process.http_status("/readyz") == 503)
    assert (await api.check(BILLING, token=ada.access)).status == 200, "a draining sidecar still responds"
    assert process.popen.wait(15) == 0
    assert 1 <= time.monotonic() - began < 10


def test_while_draining_kept_connections_are_told_that_they_end(start: Start, real_redis_url: str) -> None:
    """Both paths: a gateway's pool closes the connection before the listener is gone."""
    process = start(REDIS_URL=real_redis_url, DRAIN="30s", own=True)
    host, _, port = process.url.removeprefix("http://").partition(":")
    kept = {path: http.client.HTTPConnection(host, int(port), timeout=20) for path in ("/check", "/v1/me")}

    def asked(path: str) -> tuple[int, str | None]:
        kept[path].request("GET", path)
        response = kept[path].getresponse()
        response.read()
        return response.status, response.getheader("Connection")

    assert [asked(path) for path in kept] == [(403, None), (401, None)]
    process.popen.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while process.http_status("/readyz") != 503:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [asked(path) for path in kept] == [(403, "close"), (401, "close")]
    process.popen.kill()
    for connection in kept.values():
        connection.close()


def caught_or_ignored(pid: int, number: int) -> bool:
    masks = re.findall(r"^Sig(?:Ign|Cgt):\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sighup_during_the_start_is_no_harm(start: Start, real_redis_url: str, workers: str) -> None:
    process = start(REDIS_URL=real_redis_url, WORKERS=workers, own=True, wait=False)
    await eventually(lambda: caught_or_ignored(process.popen.pid, signal.SIGHUP), seconds=20)
    deadline = time.monotonic() + 40
    while process.http_status("/readyz") != 200 and time.monotonic() < deadline:
        process.popen.send_signal(signal.SIGHUP)
        assert process.popen.poll() is None, process.output()
        await asyncio.sleep(0.02)
    assert process.http_status("/readyz") == 200
    assert process.stop() == 0
    assert "reload after SIGHUP failed" not in process.output()


BEFORE_THE_LOOP = """
import os, signal, sys
from sidecar.cli.main import run
from sidecar.server import lifecycle

def told(settings, **_):
    os.kill(os.getpid(), signal.SIGHUP)
    print("there", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still there", file=sys.stderr, flush=True)

lifecycle.run = told
sys.exit(run(["serve"]))
"""


def test_signals_before_there_is_a_loop_are_acted_on(tmp_path: Path) -> None:
    words = [sys.executable, "-c", BEFORE_THE_LOOP]
    done = subprocess.run(words, env=sidecar_env({}), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "there\n")


def test_a_second_sigterm_exits_at_once(start: Start, real_redis_url: str) -> None:
    process = start(REDIS_URL=real_redis_url, DRAIN="30s", own=True)
    process.popen.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    assert process.stop() == 1
    assert time.monotonic() - began < 3


async def test_the_embedded_store_survives_kill_9_and_serves_the_cli(
    start: Start, http: Callable[[Process], Http]
) -> None:
    process = start(own=True)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    listed = cli(process.settings, "account", "list", "--json", own=True)
    assert "Acme" in listed.stdout, "the command line uses the same store while the sidecar runs"
    process.popen.kill()
    process.popen.wait(10)
    again = start(own=True)
    assert (await api.check(BILLING, token=ada.access, url=again.url)).status == 200
    assert again.stop() == 0
    offline = cli(process.settings, "user", "list", "--account", "Acme", "--json", own=True)
    assert "ada@example.com" in offline.stdout, "with no sidecar running the command line starts the store itself"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    shutil.copytree(ROOT / "policy", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("policy.csv", "p, marketeer, media-library, *, allow\n", "policy.csv:"),
        ("sections.toml", "[sections.billing\n", "sections.toml:"),
        ("roles.toml", None, "roles.toml:1:1:"),
    ],
)
def test_a_start_with_a_broken_policy_names_file_line_and_column(
    start: Start, real_redis_url: str, policy: Path, file: str, text: str | None, expected: str
) -> None:
    if text is None:
        (policy / file).unlink()
    else:
        (policy / file).write_text(text)
    process = start(REDIS_URL=real_redis_url, POLICY_DIR=str(policy), wait=False, own=text is None)
    assert process.popen.wait(20) == 2
    assert expected in process.output()
    assert "Traceback" not in process.output()


def test_a_start_with_a_broken_model_stops(start: Start, real_redis_url: str, tmp_path: Path) -> None:
    model = tmp_path / "model.conf"
    model.write_text((ROOT / "model.conf").read_text().replace("g(r.sub, p.sub)", "r.sub == p.sub"))
    process = start(REDIS_URL=real_redis_url, MODEL=str(model), wait=False)
    assert process.popen.wait(20) == 2
    assert "model.conf:" in process.output()


def test_R22_another_issuer_is_refused_with_both_named(start: Start, real_redis_url: str) -> None:
    start(REDIS_URL=real_redis_url)
    process = start(REDIS_URL=real_redis_url, ISSUER="http://other.test", wait=False)
    assert process.popen.wait(20) == 2
    assert "http://sidecar.test" in process.output()
    assert "http://other.test" in process.output()


def test_R23_beyond_loopback_needs_explicit_words(start: Start) -> None:
    process = start(LISTEN=f"0.0.0.0:{free_port()}", PUBLIC_URL="http://127.0.0.1:1", wait=False)
    assert process.popen.wait(20) == 2
    assert "SIDECAR_EMBEDDED=true" in process.output()
    assert "SIDECAR_PLAINTEXT=true" in process.output()


def test_a_taken_address_is_named(start: Start, real_redis_url: str) -> None:
    first = start(REDIS_URL=real_redis_url)
    process = start(REDIS_URL=real_redis_url, LISTEN=first.settings["LISTEN"], wait=False)
    assert process.popen.wait(20) == 2
    assert first.settings["LISTEN"] in process.output()
    assert "Traceback" not in process.output()


def test_an_unknown_setting_stops_the_start_with_its_name(tmp_path: Path) -> None:
    done = cli({"LISTN": "127.0.0.1:1", "STATE_DIR": str(tmp_path)}, "serve", own=True)
    assert done.returncode == 2
    assert "SIDECAR_LISTN" in done.stderr


async def test_a_decision_log_on_a_full_disk_does_not_spoil_the_exit(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url, DECISION_LOG="/dev/full", own=True)
    assert (await http(process).check(BILLING)).status == 401
    assert process.stop() == 0


def test_R8_a_unix_socket_in_a_folder_of_everybody_is_refused(
    start: Start, real_redis_url: str, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    settings = {"LISTEN": f"unix:{shared}/s", "PUBLIC_URL": "http://127.0.0.1:1"}
    process = start(REDIS_URL=real_redis_url, wait=False, **settings)
    assert process.popen.wait(20) == 2
    assert "world-writable" in process.output()


async def test_SIGHUP_after_a_rename_goes_on_in_a_new_decision_log(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url, own=True)
    log = Path(process.settings["DECISION_LOG"])
    kept = log.with_suffix(".1")
    assert (await http(process).check(BILLING)).status == 401
    await eventually(lambda: log.read_bytes().count(b"\n") == 1)
    log.rename(kept)
    process.popen.send_signal(signal.SIGHUP)
    await eventually(log.exists)
    assert (await http(process).check(BILLING)).status == 401
    await eventually(lambda: log.read_bytes().count(b"\n") == 1)
    assert kept.read_bytes().count(b"\n") == 1
    assert log.stat().st_mode & 0o777 & ~0o640 == 0


async def test_what_is_answered_while_it_stops_is_logged_at_once(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    """A request body without an end delays the stop by seconds; a SIGKILL meanwhile must lose no line."""
    log = tmp_path / "decisions.jsonl"
    process = start(REDIS_URL=real_redis_url, DRAIN="0s", DECISION_LOG=str(log))
    host, _, port = process.url.removeprefix("http://").partition(":")
    body = (
        b"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    with socket.create_connection((host, int(port))) as slow, socket.create_connection((host, int(port))) as gateway:
        slow.sendall(body)
        gateway.sendall(b"GET /check HTTP/1.1\r\nHost: s\r\n\r\n")
        assert gateway.recv(12) == b"HTTP/1.1 403"
        process.popen.send_signal(signal.SIGTERM)
        await eventually(lambda: log.read_bytes().count(b"\n") == 1)
        assert process.popen.poll() is None, "it waits for the body"
        process.popen.kill()
    process.popen.wait(10)


async def test_strangers_cannot_take_what_the_gateways_need(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    port = free_port()
    process = start(REDIS_URL=real_redis_url, MAX_CONNECTIONS="20", CHECK_LISTEN=f"127.0.0.1:{port}")
    host, _, public = process.url.removeprefix("http://").partition(":")
    strangers = [socket.create_connection((host, int(public)), timeout=10) for _ in range(30)]
    await eventually(lambda: len(select.select(strangers, [], [], 0)[0]) == 20)
    for _ in range(10):  # each on its own connection, and none of them waits
        answer = await http(process).check(BILLING, url=f"http://127.0.0.1:{port}")
        assert (answer.status, answer.headers["X-Auth-Reason"]) == (401, "missing_token")
    for stranger in strangers:
        stranger.close()


async def test_idle_connections_spare_the_ops_listener_and_the_store(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url, MAX_CONNECTIONS="20")
    found_account(process)
    address = process.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((address[0], int(address[1])), timeout=10) for _ in range(60)]
    await eventually(lambda: len(select.select(idle, [], [], 0)[0]) == 40)
    assert process.http_status("/readyz") == 200

    async def metrics() -> str:
        return str((await http(process).ask("GET", "/metrics", url=process.ops)).body)

    assert "sidecar_connections 20.0" in await metrics()
    assert "sidecar_connections_refused_total 40.0" in await metrics()
    for stranger in idle:
        stranger.close()

    async def free() -> bool:
        return "sidecar_connections 0.0" in await metrics()

    await eventually(free)
    ada = await http(process).sign_in("ada@example.com")
    assert (await http(process).check(BILLING, token=ada.access)).status == 200
