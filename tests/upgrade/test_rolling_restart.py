"""A rolling restart of three sidecars behind nginx and behind HAProxy, under load: no request fails.

In full, with at least 50,000 requests: ``SIDECAR_TEST_CHAOS=full python -m pytest -q -s tests/upgrade``
"""

import asyncio
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import click
import pytest
from aiohttp import web

from tests.chaos.rig import FULL
from tests.live.conftest import Start
from tests.live.support import ROOT, Http, Process, found_account
from tests.ports import free_port

REQUESTS = 50_000 if FULL else 500
CLIENTS = 16
ROUNDS = 20 if FULL else 1
"""Rounds at least; each restarts all three."""

pytestmark = pytest.mark.slow


def nginx(folder: Path, listen: int, sidecars: Sequence[int], dashboard: int) -> list[str]:
    """Return the command of nginx with the shipped file, a server line per sidecar."""
    text = (ROOT / "tests/gateways/nginx/nginx.conf").read_text()
    servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in sidecars)
    text, count = re.subn(r"server sidecar:9181 max_fails=0;", servers, text)
    assert count == 1, "the shipped file has the setting"
    text = text.replace("echo:8000", f"127.0.0.1:{dashboard}").replace("listen 8080", f"listen 127.0.0.1:{listen}")
    text = text.replace("/tmp/", f"{folder}/")  # noqa: S108 - the text of the shipped file
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off; user root;"]


def haproxy(folder: Path, listen: int, sidecars: Sequence[int], dashboard: int) -> list[str]:
    """Return the command of HAProxy as the balancer of checks: it repeats what a closed connection did not take."""
    servers = "\n".join(f"    server s{port} 127.0.0.1:{port}" for port in sidecars)
    (folder / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout client 30s
    timeout server 5s
    timeout connect 1s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
frontend checks
    bind 127.0.0.1:{listen}
    http-request set-header X-Forwarded-Method %[method]
    http-request set-header X-Forwarded-Uri %[pathq]
    http-request set-uri /check
    default_backend sidecars
backend sidecars
    balance roundrobin
{servers}
""")
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


GATEWAYS = {"nginx": nginx, "haproxy": haproxy}


@contextmanager
def running(words: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as sink:
        process = subprocess.Popen(words, stdout=sink, stderr=sink)
    try:
        yield
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.terminate()
        process.wait(10)


@asynccontextmanager
async def dashboard() -> AsyncIterator[int]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="page")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


class Load:
    """Clients that ask one request after the other, and count what is no 200."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session, self._url, self._token = session, url, token
        self.asked = 0
        self.failed: Counter[str] = Counter()
        self.stop = False

    async def run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        while not self.stop:
            self.asked += 1
            url = f"{self._url}/dashboard/media-library/{number}/{self.asked}"
            try:
                async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                    await response.read()
                    if response.status != 200:
                        self.failed[str(response.status)] += 1
            except aiohttp.ClientError as problem:
                self.failed[type(problem).__name__] += 1


@pytest.mark.parametrize("name", GATEWAYS)
async def test_a_rolling_restart_under_load_fails_no_request(
    start: Start, http: Callable[[Process], Http], real_redis_url: str, tmp_path: Path, name: str
) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: python -m tests.gateways.install debian {name}")
    ports = [free_port() for _ in range(3)]

    def sidecar(port: int) -> Process:
        return start(LISTEN=f"127.0.0.1:{port}", REDIS_URL=real_redis_url, DRAIN="500ms", DECISION_LOG="off")

    fleet = [sidecar(port) for port in ports]
    found_account(fleet[0])
    api = http(fleet[0])
    api.url = f"http://127.0.0.1:{ports[0]}"
    ada = await api.sign_in("ada@example.com")
    listen, rounds = free_port(), 0
    async with dashboard() as back_end:
        words = GATEWAYS[name](tmp_path, listen, ports, back_end)
        with running(words, tmp_path / f"{name}.log"):
            load = Load(api.session, f"http://127.0.0.1:{listen}", ada.access)
            await asyncio.sleep(1)
            clients = asyncio.create_task(load.run())
            while rounds < ROUNDS or load.asked < REQUESTS:
                for place, port in enumerate(ports):
                    assert await asyncio.to_thread(fleet[place].stop) == 0
                    fleet[place] = await asyncio.to_thread(sidecar, port)
                rounds += 1
            load.stop = True
            await clients
    click.echo(f"\n{name}: {rounds} rounds, {load.asked} requests, {load.failed.total()} failed")
    assert not load.failed, f"{dict(load.failed)} of {load.asked}"
