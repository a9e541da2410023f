"""Several workers behind one address: equal responses, summed metrics, restart after a crash, common drain."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import Start
from tests.live.support import Http, Process, eventually, found_account

BILLING = "/dashboard/billing"

pytestmark = pytest.mark.slow


def workers_of(process: Process) -> list[int]:
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"sidecar.server.workers.worker" in command_of(pid)]


def command_of(pid: str) -> bytes:
    """Return the command line, empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def checks_counted(api: Http, process: Process) -> int:
    text = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
    return sum(int(float(value)) for value in re.findall(r"^sidecar_checks_total\{.*\} (\S+)$", text, re.MULTILINE))


async def test_workers_answer_alike_and_their_metrics_are_one(start: Start, http: Callable[[Process], Http]) -> None:
    process = start(WORKERS="2")
    assert len(workers_of(process)) == 2
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    before = await checks_counted(api, process)
    for _ in range(40):  # a connection each, so that both workers get some
        answer = await api.ask(
            "GET",
            "/check",
            token=ada.access,
            headers={"X-Forwarded-Method": "GET", "X-Forwarded-Uri": BILLING, "Connection": "close"},
        )
        assert answer.status == 200
    assert await checks_counted(api, process) == before + 40
    status = (await api.ask("GET", "/status", url=process.ops)).body
    assert status["workers"] == 2
    assert len(status["fleet"]) == 2
    assert status["store"] == "ok"


async def test_a_killed_worker_is_replaced_while_the_other_serves(
    start: Start, http: Callable[[Process], Http]
) -> None:
    process = start(WORKERS="2")
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    for _ in range(20):  # a connection each
        await api.ask("GET", "/check", headers={"X-Forwarded-Uri": BILLING, "Connection": "close"})
    counted = await checks_counted(api, process)
    first, second = workers_of(process)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: first not in workers_of(process) and len(workers_of(process)) == 2)
    assert second in workers_of(process)
    await eventually(lambda: process.http_status("/readyz") == 200)
    assert (await api.check(BILLING, token=ada.access)).status == 200
    assert await checks_counted(api, process) == counted + 1, "counts of an exited worker are kept"
    text = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
    assert "\nsidecar_workers 2.0\n" in text
    assert "\nsidecar_worker_restarts_total 1.0\n" in text


async def test_ten_crashes_pause_restarts_until_a_signal(start: Start, http: Callable[[Process], Http]) -> None:
    """A cause that crashes workers repeatedly does not end the sidecar: the remaining ones serve."""
    process = start(WORKERS="3", DRAIN="1s", own=True)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    deadline = asyncio.get_running_loop().time() + 25  # ten crashes are to come within 30 seconds
    left, *victims = workers_of(process)
    while "worker restarts paused" not in process.output():
        assert asyncio.get_running_loop().time() < deadline, process.output()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        await eventually(lambda killed=tuple(victims): not any(alive(victim) for victim in killed))
        victims = [pid for pid in workers_of(process) if pid != left]
        await asyncio.sleep(0.05)
    crashed = process.output().count("worker crashed")
    assert 10 <= crashed <= 12
    await eventually(lambda: process.http_status("/readyz") == 503)
    assert "worker_restarts_paused" in (await api.ask("GET", "/readyz", url=process.ops)).body["failing"]
    assert process.http_status("/livez") == 200
    text = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
    paused = re.search(r"^sidecar_worker_restarts_paused_seconds (\S+)$", text, re.MULTILINE)
    assert paused is not None
    assert 0 < float(paused[1]) <= 30
    assert (await api.check(BILLING, token=ada.access)).status == 200
    asked = asyncio.get_running_loop().time()
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0
    assert asyncio.get_running_loop().time() - asked < 10, "a drain of one second, without the pause"


async def test_workers_drain_together_and_exit_0(start: Start, http: Callable[[Process], Http]) -> None:
    process = start(WORKERS="2", DRAIN="500ms", own=True)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    process.popen.send_signal(signal.SIGTERM)
    await eventually(lambda: process.http_status("/readyz") == 503)
    assert (await api.check(BILLING, token=ada.access)).status == 200
    assert process.popen.wait(15) == 0


async def test_workers_do_not_outlive_a_supervisor_that_is_killed(start: Start) -> None:
    process = start(WORKERS="2")
    workers = workers_of(process)
    process.popen.kill()
    process.popen.wait(10)
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


async def test_workers_share_a_unix_socket(start: Start, http: Callable[[Process], Http], tmp_path: Path) -> None:
    socket = tmp_path / "s.sock"
    process = start(WORKERS="2", LISTEN=f"unix:{socket}", PUBLIC_URL="http://127.0.0.1:1")
    assert socket.is_socket()
    assert socket.stat().st_mode & 0o777 == 0o660
    process.stop()
    assert not socket.exists()


def test_a_unix_socket_that_is_somebody_elses_by_now_is_left(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = start(WORKERS="2", LISTEN=f"unix:{path}", PUBLIC_URL="http://127.0.0.1:1", DRAIN="0s")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        assert process.stop() == 0
        assert path.exists()


def test_what_is_wrong_with_the_settings_is_said_once(start: Start, tmp_path: Path) -> None:
    process = start(WORKERS="3", POLICY_DIR=str(tmp_path / "nowhere"), wait=False)
    assert process.popen.wait(20) == 2
    assert process.output().count("policy.csv:1:1") == 1


def test_an_address_in_use_is_detected_although_workers_share_it(start: Start) -> None:
    first = start(WORKERS="2")
    process = start(WORKERS="2", LISTEN=first.settings["LISTEN"], STATE_DIR=first.settings["STATE_DIR"], wait=False)
    assert process.popen.wait(20) == 2
    where = first.settings["LISTEN"]
    said = f"sidecar: public listener: cannot listen on {where}: Address already in use; choose another address"
    assert said in process.output()


async def test_a_worker_ignores_local_code_and_terminal_signals(start: Start, tmp_path: Path) -> None:
    """The working folder may hold the policy, and an editor of the policy must not be able to run code."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("uvloop", "aiohttp", "resource", "sidecar"):
        (folder / f"{name}.py").write_text("raise SystemExit(9)\n")
    process = start(WORKERS="2", own=True, folder=folder)
    assert len(workers_of(process)) == 2
    assert os.getpgid(process.popen.pid) not in {os.getpgid(pid) for pid in workers_of(process)}, "nor on Ctrl-C"


async def test_a_signal_to_supervisor_and_workers_at_once_drains(start: Start, http: Callable[[Process], Http]) -> None:
    """As Ctrl-C, supervisord and systemd (KillMode=control-group) send it: the supervisor's own signal is no second
    one.
    """
    process = start(WORKERS="2", DRAIN="2s", own=True)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    for pid in (*workers_of(process), process.popen.pid):
        os.kill(pid, signal.SIGTERM)
    await eventually(lambda: process.http_status("/readyz") == 503)
    assert (await api.check(BILLING, token=ada.access)).status == 200
    assert process.popen.wait(20) == 0


async def test_a_second_signal_ends_workers_too(start: Start) -> None:
    process = start(WORKERS="2", DRAIN="60s", own=True)
    workers = workers_of(process)
    process.popen.send_signal(signal.SIGTERM)
    await eventually(lambda: process.http_status("/readyz") == 503)
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 1
    await eventually(lambda: not any(alive(pid) for pid in workers))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_failed_drain_of_a_worker_is_in_the_exit_status(start: Start) -> None:
    """While the others drain, the supervisor waits for them without polling."""
    process = start(WORKERS="2", DRAIN="2500ms", own=True)
    first, _ = workers_of(process)
    process.popen.send_signal(signal.SIGTERM)
    await eventually(lambda: process.http_status("/readyz") == 503)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not alive(first))
    before = cpu_seconds(process.popen.pid)
    await asyncio.sleep(1)
    assert cpu_seconds(process.popen.pid) - before < 0.5
    assert process.popen.wait(20) == 70
    assert "worker exited with an error" in process.output()


def test_R22_a_refused_store_stops_all_workers_with_one_line(start: Start, real_redis_url: str) -> None:
    start(REDIS_URL=real_redis_url)
    settings = {"ISSUER": "http://other.test", "WORKERS": "2", "DRAIN": "2m"}
    process = start(REDIS_URL=real_redis_url, wait=False, **settings)
    assert process.popen.wait(40) == 2, "none of them drains: the service is not ready"
    lines = [line for line in process.output().splitlines() if "set SIDECAR_ISSUER" in line]
    assert len(lines) == 1, process.output()
    assert "replaced" not in process.output()


async def test_a_worker_that_hangs_is_replaced(start: Start, http: Callable[[Process], Http]) -> None:
    """Otherwise the kernel keeps routing connections to it."""
    process = start(WORKERS="2")
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    first, second = workers_of(process)
    os.kill(first, signal.SIGSTOP)
    await eventually(lambda: first not in workers_of(process) and len(workers_of(process)) == 2, seconds=40)
    assert second in workers_of(process)
    await eventually(lambda: process.http_status("/readyz") == 200, seconds=20)
    assert (await api.check(BILLING, token=ada.access)).status == 200
