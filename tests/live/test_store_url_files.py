"""SIDECAR_REDIS_URL_FILE while serving: a password is rotated without a denial, an invalid file changes nothing."""

import asyncio
import re
import signal
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.chaos.conftest import redis_server
from tests.chaos.rig import RedisServer
from tests.live.conftest import Start
from tests.live.support import Http, Person, Process, eventually, found_account

__all__ = ["redis_server"]

pytestmark = pytest.mark.slow

PAGE = "/dashboard/users/"
READ_AGAIN = 2.0 + 3.0
"""Seconds until a change is used: the documented bound, plus time for a loaded machine."""


class Checks:
    """One check after another, until ``end``."""

    def __init__(self, api: Http, person: Person) -> None:
        self._api, self._person = api, person
        self.statuses: list[int] = []
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.statuses.append((await self._api.check(PAGE, token=self._person.access)).status)
            await asyncio.sleep(0.01)

    async def end(self) -> list[int]:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        assert len(self.statuses) > 20
        return [status for status in self.statuses if status != 200]


def url(server: RedisServer, password: str) -> str:
    return f"redis://side:{password}@127.0.0.1:{server.port}/0\n"


def used(process: Process) -> int:
    return process.output().count("store URL changed")


def is_rejected(process: Process) -> bool:
    connection = HTTPConnection(process.ops.removeprefix("http://"), timeout=5)
    connection.request("GET", "/metrics")
    found = re.search(r"^sidecar_store_url_rejected (\S+)", connection.getresponse().read().decode(), re.MULTILINE)
    connection.close()
    assert found is not None
    return float(found[1]) == 1.0


async def begun(
    start: Start, http: Callable[[Process], Http], server: RedisServer, file: Path
) -> tuple[Process, Http, Person]:
    with server.client() as operator:
        operator.execute_command("ACL", "SETUSER", "side", "on", ">S3cretOne", "~sc:*", "resetchannels", "+@all")
    file.write_text(url(server, "S3cretOne"))
    process = start(REDIS_URL_FILE=str(file))
    found_account(process)
    api = http(process)
    return process, api, await api.sign_in("ada@example.com")


@pytest.mark.parametrize("hangup", [False, True])
async def test_R46_a_password_is_rotated_without_a_denial(
    start: Start,
    http: Callable[[Process], Http],
    redis_server: Callable[..., RedisServer],
    tmp_path: Path,
    hangup: bool,
) -> None:
    server, file = redis_server(), tmp_path / "url"
    process, api, ada = await begun(start, http, server, file)
    checks = Checks(api, ada)
    with server.client() as operator:
        operator.execute_command("ACL", "SETUSER", "side", ">S3cretTwo")
        file.write_text(url(server, "S3cretTwo"))
        if hangup:
            process.popen.send_signal(signal.SIGHUP)
        await eventually(lambda: used(process) == 1, READ_AGAIN)
        operator.execute_command("ACL", "SETUSER", "side", "<S3cretOne")
        await asyncio.sleep(3.5)  # the old connections are closed
        assert await checks.end() == []

        # All connections are new: each lost one is re-established with the new password.
        operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually(lambda: signed_in(api), 5)
    assert (await api.check(PAGE, token=ada.access)).status == 200
    assert used(process) == 1
    assert "S3cret" not in process.output()


async def signed_in(api: Http) -> bool:
    return await api.sign_in("ada@example.com") is not None


async def test_R46_a_file_that_is_wrong_leaves_the_connections_in_use(
    start: Start,
    http: Callable[[Process], Http],
    redis_server: Callable[..., RedisServer],
    tmp_path: Path,
) -> None:
    """Each kind of invalid file: one error line, the metric, no denial, no secret; and a recovery without a restart."""
    server, other, file = redis_server(), redis_server(), tmp_path / "url"
    process, api, ada = await begun(start, http, server, file)
    with other.client() as operator:
        operator.execute_command("ACL", "SETUSER", "side", "on", ">S3cretOne", "~*", "+@all")
        operator.execute_command("SET", "sc:{p00}:feed:gen", "of-another-store")
    checks = Checks(api, ada)
    for content, said in (
        (url(server, "S3cretNot"), "WRONGPASS"),
        (url(other, "S3cretOne"), "is not the one in use"),
        (url(server, "S3cretOne").replace("/0", "/99"), "DB index"),
        ("redis://:S3cretOne/x@127.0.0.1/0", "percent-encode"),
        ("", "is empty"),
        (None, "cannot be read"),
    ):
        lines = process.output().count("store URL rejected")
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
        await eventually(lambda before=lines: process.output().count("store URL rejected") > before, 5)
        assert said in process.output().splitlines()[-1]
        assert is_rejected(process)
        await asyncio.sleep(1.2)  # and read once more
        assert process.output().count("store URL rejected") == lines + 1
        file.write_text(url(server, "S3cretOne"))
        await eventually(lambda: not is_rejected(process), READ_AGAIN)
    assert await checks.end() == []
    assert used(process) == 0
    assert "S3cret" not in process.output()
