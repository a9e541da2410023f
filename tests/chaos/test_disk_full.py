"""Full disks under the state directory, the decision log and the store's append-only file.

No check is answered otherwise, nothing acknowledged is lost, and nothing has to be done by hand but to free the disk.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.sources.policy_files import packaged
from tests.chaos.rig import RedisServer
from tests.chaos.scenario import any_of, settle
from tests.chaos.small_disk import SmallDisk, small_disk
from tests.chaos.traffic import Seen, traffic
from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as mounted:
        yield mounted


def wrong(seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if not one.right]


async def test_R32_a_full_state_directory_stops_no_check_and_no_edit(
    start: Start, http: Callable[[Process], Http], real_redis_url: str, disk: SmallDisk, tmp_path: Path
) -> None:
    shipped, model = packaged()
    policy = tmp_path / "policy"
    shutil.copytree(shipped, policy)
    process = start(
        REDIS_URL=real_redis_url, STATE_DIR=str(disk.folder / "state"), POLICY_DIR=str(policy), MODEL=str(model)
    )
    api = http(process)
    town = await settle(api, process)
    disk.fill()
    async with traffic(api, [process.url], any_of(town.questions()), clients=2) as seen:
        changed = await api.ask("PATCH", "/v1/me", token=town.ada.access, json={"name": "Ada L."})
        assert changed.status == 200, changed
        (policy / "policy.csv").write_bytes((policy / "policy.csv").read_bytes() + b"# edited\n")
        await eventually(lambda: "the last good policy could not be stored" in process.output())
        await eventually(lambda: "the audit cannot be exported" in process.output(), 30)
        assert process.http_status("/readyz") == 200
        disk.free()
        await eventually(lambda: "the audit is exported again" in process.output(), 90)
    assert seen
    assert wrong(seen) == []
    exported = disk.folder / "state" / "audit.jsonl"
    done = cli(process.settings, "audit", "verify", str(exported))
    assert (done.returncode, done.stdout.startswith("0 findings: ")) == (0, True), done


async def test_a_full_disk_under_the_decision_log_stops_no_check(
    start: Start, http: Callable[[Process], Http], real_redis_url: str, disk: SmallDisk
) -> None:
    log = disk.folder / "decisions.jsonl"
    process = start(REDIS_URL=real_redis_url, DECISION_LOG=str(log))
    api = http(process)
    town = await settle(api, process)
    disk.fill()
    async with traffic(api, [process.url], any_of(town.questions()), clients=2) as seen:

        async def dropped() -> bool:
            answer = await api.ask("GET", "/metrics", url=process.ops)
            line = next(one for one in answer.body.decode().splitlines() if one.startswith("sidecar_decision_log_dr"))
            return float(line.rpartition(" ")[2]) > 0

        await eventually(dropped, 20)
        disk.free()
        size = log.stat().st_size
        await eventually(lambda: log.stat().st_size > size + 2000, 20)
    assert wrong(seen) == []
    lines = log.read_bytes().splitlines()[:-1]
    broken = [line for line in lines if not _is_json(line)]
    assert len(broken) <= 1, "the line that the full disk cut, alone"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


async def test_a_full_disk_under_the_store_loses_nothing_acknowledged(
    start: Start,
    http: Callable[[Process], Http],
    redis_server: Callable[..., RedisServer],
    redis_server_binary: str,
    disk: SmallDisk,
) -> None:
    """Redis ends or rejects writes, by its version. Checks are denied then, never allowed by mistake."""
    store = RedisServer(redis_server_binary)
    shutil.rmtree(store.folder)
    store.folder = disk.folder / "redis"
    store.folder.mkdir()
    store.start()
    try:
        process = start(REDIS_URL=store.url)
        api = http(process)
        town = await settle(api, process)
        async with traffic(api, [process.url], any_of(town.questions()), clients=2) as seen:
            disk.fill()
            acknowledged = await _renamed_until_rejected(api, town.ada.access)
            disk.free()
            with store.client() as client:
                alive = _answers(client)
            if not alive:
                store.kill()
                await asyncio.to_thread(store.start)
            await eventually(lambda: process.http_status("/readyz") == 200, 20)
        assert [one for one in seen if not one.right and not one.unavailable] == []
        me = await api.ask("GET", "/v1/me", token=town.ada.access)
        assert me.status == 200
        assert int(me.body["name"].split()[-1]) >= acknowledged
    finally:
        store.close()


async def _renamed_until_rejected(api: Http, token: str) -> int:
    """Rename the user to Ada 1, Ada 2 … until the store rejects it. Return the last acknowledged number."""
    for number in range(1, 2000):
        answer = await api.ask("PATCH", "/v1/me", token=token, json={"name": f"Ada {number}"})
        if answer.status != 200:
            assert answer.status in (403, 503), answer
            return number - 1
    raise AssertionError("the disk is full, and the store still acknowledges")


def _answers(client: object) -> bool:
    import redis

    try:
        return bool(client.ping())  # type: ignore[attr-defined]
    except redis.RedisError:
        return False
