"""Real processes: a key and a user's rights are the same in every sidecar, and a revoked key is rejected by all."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.authzen.conftest import question
from tests.live.support import ROOT, Process, begin, cli, eventually, sidecar_env
from tests.ports import free_port

pytestmark = pytest.mark.slow

Serve = Callable[..., Process]


@pytest.fixture
def serve(tmp_path: Path, real_redis_url: str) -> Iterator[Serve]:
    running: list[Process] = []

    def start(**more: str) -> Process:
        settings = {
            "LISTEN": f"127.0.0.1:{free_port()}",
            "OPS_LISTEN": f"127.0.0.1:{free_port()}",
            "ISSUER": "http://sidecar.test",
            "STATE_DIR": str(tmp_path / "state"),
            "KEYS_DIR": str(tmp_path / "keys"),
            "REDIS_URL": real_redis_url,
            "LEASE": "2s",
            "DECISION_LOG": "off",
            "DRAIN": "0s",
            **more,
        }
        log = tmp_path / f"sidecar-{len(running)}.log"
        with log.open("wb") as sink:
            popen = begin(settings, sink)
        process = Process(popen, f"http://{settings['LISTEN']}", f"http://{settings['OPS_LISTEN']}", log, settings)
        running.append(process)
        return process.wait_ready()

    yield start
    for process in running:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait(10)


def settle(process: Process) -> str:
    """Create an account with an administrator and a key; return the key."""
    words = ("account", "create", "Acme", "--admin-email", "ada@example.com", "--password-stdin")
    assert cli(process.settings, *words, text="five green bottles on a wall\n").returncode == 0
    made = cli(process.settings, "pep", "create", "nginx", "--account", "Acme")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


async def ask(url: str, path: str, key: str, body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, data=json.dumps(body), headers=headers) as response,
    ):
        return response.status, await response.json()


async def test_R20_a_revoked_key_is_dead_in_every_sidecar_at_once(serve: Serve) -> None:
    """Rejected long before the lease of 2 s ends: the feed ends the copies, not the time. The command itself waits for
    the lease, because a new process has no knowledge of the fleet (R31).
    """
    both = serve(), serve()
    key = settle(both[0])
    asked = question(("user", "ada@example.com"), "view", ("section", "billing"))
    for process in both:
        for _ in range(20):
            assert await ask(process.url, "/access/v1/evaluation", key, asked) == (200, {"decision": True})
    words = [sys.executable, "-m", "sidecar", "pep", "revoke", "nginx", "--account", "Acme", "--json"]
    revoking = await asyncio.create_subprocess_exec(
        *words, env=sidecar_env(both[0].settings), cwd=ROOT, stdout=subprocess.PIPE
    )

    async def dead() -> bool:
        answers = [await ask(process.url, "/access/v1/evaluation", key, asked) for process in both]
        return all(status == 401 for status, _ in answers)

    await eventually(dead)
    assert revoking.returncode is None, "the command is still waiting for the lease"
    told = json.loads((await revoking.communicate())[0])
    assert told["revoked"]["name"] == "nginx"
    assert told["revocation"]["complete"] is True


async def test_the_check_listener_is_a_decision_point_of_its_own(serve: Serve) -> None:
    port = free_port()
    process = serve(CHECK_LISTEN=f"127.0.0.1:{port}")
    key = settle(process)
    apart = f"http://127.0.0.1:{port}"
    asked = question(("role", "accountant"), "view", ("section", "billing"))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{apart}/.well-known/authzen-configuration") as response:
            told = await response.json()
        assert told["policy_decision_point"] == apart
        for path in ("/access/v1/evaluation", "/.well-known/authzen-configuration"):
            async with session.post(process.url + path, data="{}") as response:
                assert response.status == 404, "the public listener does not serve checks any more"
    endpoint = told["access_evaluation_endpoint"].removeprefix(apart)
    assert await ask(apart, endpoint, key, asked) == (200, {"decision": True})
