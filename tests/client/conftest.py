"""One real sidecar for all tests of the client: a process with its embedded store, one account, its administrator."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.live.support import Http, Person, Process, begin, found_account
from tests.ports import free_port

SEATS = 100


@pytest.fixture(scope="package")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("sidecar")
    url, ops = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        "LISTEN": url,
        "OPS_LISTEN": ops,
        "STATE_DIR": str(folder / "state"),
        "ISSUER": "http://sidecar.test",
        "DECISION_LOG": "off",
        "DRAIN": "0s",
    }
    log = folder / "log"
    with log.open("wb") as sink:
        popen = begin(settings, sink)
    process = Process(popen, f"http://{url}", f"http://{ops}", log, settings)
    try:
        found_account(process.wait_ready(), seats=SEATS)
        yield process
    finally:
        popen.terminate()
        popen.wait(15)


@pytest.fixture
async def api(sidecar: Process) -> AsyncIterator[Http]:
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Http(session, sidecar.url)


@pytest.fixture
async def ada(api: Http) -> Person:
    """The administrator after a new sign-in."""
    return await api.sign_in("ada@example.com")
