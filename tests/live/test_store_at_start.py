"""An invalid store URL ends a start with status 2; a store that is only down is waited for; a reachable one is proven
before the first check."""

import subprocess
import time
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from tests.chaos.conftest import redis_server
from tests.chaos.rig import RedisServer
from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, eventually, found_account
from tests.ports import free_port

pytestmark = pytest.mark.slow

__all__ = ["redis_server"]


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert "S3cret" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:S3cret/x@127.0.0.1:1/0", "SIDECAR_REDIS_URL"),
        ("redis://:S3cret@127.0.0.1:1/0?nope=1", "nope is not known"),
        ("redis://:S3cret@127.0.0.1:{}/9999", "choose a database"),
        ("redis+cluster://127.0.0.1:{}", "it is not a Redis Cluster"),
        ("redis+sentinel://127.0.0.1:{}/m", "it is not a Sentinel"),
    ],
)
def test_R46_an_invalid_url_ends_a_start_with_status_2(
    start: Start,
    redis_server: Callable[..., RedisServer],
    url: str,
    said: str,
) -> None:
    server = redis_server()
    if "S3cret" in url:
        with server.client() as operator:
            operator.config_set("requirepass", "S3cret")
    process = start(REDIS_URL=url.format(server.port), wait=False)
    assert process.popen.wait(20) == 2
    lines = [line for line in process.output().splitlines() if said in line]
    assert len(lines) == 1, process.output()
    assert "S3cret" not in process.output()
    done = cli(process.settings, "account", "list")
    assert done.returncode == 2
    assert said in one_line(done)


async def test_R50_a_store_that_is_out_is_waited_for(start: Start) -> None:
    process = start(REDIS_URL=f"redis://:S3cret@127.0.0.1:{free_port()}/0", wait=False)
    await eventually(lambda: "start the server, or correct SIDECAR_REDIS_URL" in process.output(), 20)
    assert process.popen.poll() is None
    done = cli(process.settings, "account", "list")
    assert done.returncode == 3
    assert "start the server" in one_line(done)


def first_answers(process: Process, headers: dict[str, str]) -> set[int]:
    """Return the statuses of all checks in the first half second in which the public listener accepts."""
    host, _, port = process.url.removeprefix("http://").partition(":")
    statuses: set[int] = set()
    deadline, end = time.monotonic() + 20, float("inf")
    while time.monotonic() < min(deadline, end):
        connection = HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", "/check", headers=headers)
            statuses.add(connection.getresponse().status)
            end = min(end, time.monotonic() + 0.5)
        except ConnectionRefusedError:
            time.sleep(0.001)
        finally:
            connection.close()
    return statuses


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_first_checks_after_a_start_have_their_right_answer(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], workers: str
) -> None:
    """A gateway sends checks as soon as the listener accepts: one before the store's proof would be a wrong deny.

    The listener waits for the proof for one second. One start of the four may take longer on a loaded machine.
    """
    settings = {"REDIS_URL": real_redis_url, "WORKERS": workers}
    running = start(**settings)
    found_account(running)
    ada = await http(running).sign_in("ada@example.com")
    headers = {
        "Authorization": f"Bearer {ada.access}",
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Uri": "/dashboard/billing",
    }
    answers = [first_answers(start(wait=False, **settings), headers) for _ in range(4)]
    assert answers.count({200}) >= 3, answers
