"""Keys are rotated and revoked under two running sidecars: no token fails meanwhile, no revoked key
verifies a token.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.sources.key_rotation import choose_signing, publish_next
from tests.live.conftest import Start
from tests.live.support import Http, Person, Process, cli, eventually, found_account
from tests.live.support import person as person_of

pytestmark = pytest.mark.slow

BILLING = "/dashboard/billing/invoices"


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    return kid


async def jwks(api: Http, process: Process) -> set[str]:
    answer = await api.ask("GET", "/.well-known/jwks.json", url=process.url)
    return {key["kid"] for key in answer.body["keys"]}


async def refreshed(api: Http, person: Person, process: Process) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": person.refresh}
    answer = await api.ask("POST", "/token", url=process.url, data=form)
    assert answer.status == 200, answer
    token: str = answer.body["access_token"]
    return token


def command(process: Process, *words: str) -> tuple[int, dict[str, object], str]:
    done = cli(process.settings, "keys", *words, "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture
def pair(start: Start, real_redis_url: str) -> tuple[Process, Process]:
    first, second = (start(REDIS_URL=real_redis_url, wait=False) for _ in range(2))
    for process in (first, second):
        process.wait_ready()
    found_account(first)
    return first, second


async def test_R21_a_rotation_under_load_rejects_no_token(
    pair: tuple[Process, Process], http: Callable[[Process], Http]
) -> None:
    first, second = pair
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    old = kid_of(ada.access)
    done, refused, kids = asyncio.Event(), [], set()

    async def keep_asking(here: Process, there: Process) -> None:
        """Refresh at one, check at the other: a token of a key that the other has not read would be rejected."""
        person = await api.sign_in("ada@example.com", url=here.url)
        while not done.is_set():
            form = {"grant_type": "refresh_token", "refresh_token": person.refresh}
            granted = await api.ask("POST", "/token", url=here.url, data=form)
            person = person_of("ada@example.com", granted.body)
            kids.add(kid_of(person.access))
            answer = await api.check(BILLING, token=person.access, url=there.url)
            if answer.status == 401:
                refused.append(answer.body)
            await asyncio.sleep(0.01)

    load = [asyncio.create_task(keep_asking(*way)) for way in ((first, second), (second, first))]
    await eventually(lambda: old in kids)
    status, told, problem = await asyncio.to_thread(command, first, "rotate")
    assert status == 0, problem
    await eventually(lambda: told["active"] in kids)
    done.set()
    await asyncio.gather(*load)

    new = told["active"]
    assert (told["retired"], told["sidecars"]) == (old, 2)
    assert refused == []
    assert kids == {old, new}
    for process in pair:
        assert await jwks(api, process) == {old, new}
        assert (await api.check(BILLING, token=ada.access, url=process.url)).status == 200
        assert kid_of((await api.sign_in("ada@example.com", url=process.url)).access) == new
    listed = command(first, "list")[1]["keys"]
    assert {key["kid"]: key["state"] for key in listed} == {old: "retired", new: "active"}


async def test_R21_a_revoked_key_fails_everywhere_at_the_commands_end(
    pair: tuple[Process, Process], http: Callable[[Process], Http]
) -> None:
    first, second = pair
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    old = kid_of(ada.access)
    assert command(first, "rotate")[0] == 0
    for process in pair:
        assert (await api.check(BILLING, token=ada.access, url=process.url)).status == 200

    status, told, problem = command(first, "revoke", old)
    assert status == 0, problem
    assert (told["complete"], told["sidecars"]) == (True, 2)
    for process in pair:
        denied = await api.check(BILLING, token=ada.access, url=process.url)
        assert (denied.status, denied.body["reason"]) == (401, "unknown_key")
        assert await jwks(api, process) == {told["active"]}
    fresh = await refreshed(api, ada, second)
    assert (await api.check(BILLING, token=fresh, url=first.url)).status == 200, "the session outlives the key"

    stolen = kid_of(fresh)  # the active one now
    status, told, problem = command(second, "revoke", stolen)
    assert status == 0, problem
    assert told["complete"]
    for process in pair:
        assert (await api.check(BILLING, token=fresh, url=process.url)).body["reason"] == "unknown_key"
        token = (await api.sign_in("ada@example.com", url=process.url)).access
        assert kid_of(token) == told["active"] != stolen
        for other in pair:
            assert (await api.check(BILLING, token=token, url=other.url)).status == 200
    again = command(second, "revoke", stolen)
    assert (again[0], "there is no key" in again[2]) == (1, True)


async def test_R21_a_sidecar_without_the_new_key_delays_its_use(
    pair: tuple[Process, Process], http: Callable[[Process], Http], tmp_path: Path, start: Start, real_redis_url: str
) -> None:
    """A third sidecar has its own copy of the directory, without the new key."""
    first, _ = pair
    copy = tmp_path / "copied"
    copy.mkdir(mode=0o700)
    for name in ("pepper", "signing"):
        _copied(tmp_path / "keys" / name, copy / name)
    for path in (tmp_path / "keys").glob("*.pem"):
        _copied(path, copy / path.name)
    third = start(REDIS_URL=real_redis_url, KEYS_DIR=str(copy))
    api = http(first)
    old = kid_of((await api.sign_in("ada@example.com")).access)

    status, _, problem = command(first, "rotate", "--timeout", "1")
    assert status == 3
    assert "is published and does not sign yet" in problem
    for process in (*pair, third):
        assert kid_of((await api.sign_in("ada@example.com", url=process.url)).access) == old

    third.stop()
    status, told, problem = command(first, "rotate")
    assert status == 0, problem
    assert len(await jwks(api, first)) == 2, "the key that was published before is active now"
    assert told["active"] in await jwks(api, first)


def _copied(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())
    target.chmod(0o600)


async def test_a_manual_change_of_the_keys_is_followed_within_seconds(
    pair: tuple[Process, Process], http: Callable[[Process], Http], tmp_path: Path
) -> None:
    first, second = pair
    api = http(first)
    new = publish_next(tmp_path / "keys")
    began = time.monotonic()
    await eventually(lambda: _has(api, second, new), 5)
    choose_signing(tmp_path / "keys", new, now=int(time.time()))
    await eventually(lambda: _signs(api, first, new), 5)
    assert time.monotonic() - began < 5

    (tmp_path / "keys" / f"{new}.pem").chmod(0o640)
    await asyncio.sleep(1.5)
    assert kid_of((await api.sign_in("ada@example.com")).access) == new, "the keys in memory stay active"
    assert "those in memory stay in force" in first.output()


async def _has(api: Http, process: Process, kid: str) -> bool:
    return kid in await jwks(api, process)


async def _signs(api: Http, process: Process, kid: str) -> bool:
    return kid_of((await api.sign_in("ada@example.com", url=process.url)).access) == kid
