"""A replica is promoted that missed a change which had been acknowledged: no token that it revoked passes anywhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.rig import RedisServer, Relay
from tests.chaos.traffic import Question, traffic
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Person, Process, eventually, found_account

BILLING = "/dashboard/billing/x"
RECOVERY = 20.0
"""Seconds: detection within a lease, the largest lease and 0.2 s for every sidecar to tell, the accounts one by one."""
NEW_PASSWORD = "six green bottles on a shelf"
REPLICAS = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "10", "--repl-diskless-sync-delay", "0")

pytestmark = pytest.mark.slow


@dataclass
class Pair:
    """A master and its replica, the address that clients know, and the link between the two."""

    master: RedisServer
    replica: RedisServer
    address: Relay
    link: Relay

    def fail_over(self) -> None:
        """As a supervisor of servers does it: the old master is gone, the address is the replica's."""
        self.master.kill()
        with self.replica.client() as client:
            client.config_set("min-replicas-to-write", 0)
            client.execute_command("REPLICAOF", "NO", "ONE")
        self.address.turn_to(self.replica.port)


@pytest.fixture
async def pair(redis_server: Callable[..., RedisServer]) -> AsyncIterator[Pair]:
    master, replica = redis_server(*REPLICAS), redis_server()
    async with Relay(master.port) as address, Relay(master.port) as link:
        with replica.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", link.port)

            def follows() -> bool:
                return client.info("replication")["master_link_status"] == "up"

            await eventually(follows)
        yield Pair(master, replica, address, link)


async def change_password(api: Http, person: Person) -> Person:
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    changed = await api.ask("POST", "/v1/me/password", token=person.access, json=body)
    assert changed.status == 200, changed
    assert changed.body["revocation"]["complete"] is False, "no replica has it: it may be lost"
    return Person(person.email, person.id, person.account, changed.body["access_token"], changed.body["refresh_token"])


async def test_R31_an_epoch_unknown_to_the_new_master_is_kept(
    start: Start, http: Callable[[Process], Http], pair: Pair
) -> None:
    first = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    second = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    await asyncio.to_thread(found_account, first)
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    for process in (first, second):
        assert (await api.check(BILLING, token=eve.access, url=process.url)).status == 200

    pair.link.freeze()
    newer = await change_password(api, eve)
    for process in (first, second):
        assert (await api.check(BILLING, token=eve.access, url=process.url)).status == 401
        assert (await api.check(BILLING, token=newer.access, url=process.url)).status == 200

    revoked = Question("revoked", eve.access, BILLING, 401, "revoked")
    async with traffic(api, [first.url, second.url], lambda _chance: revoked, clients=4) as seen:
        await asyncio.sleep(0.3)
        pair.fail_over()
        await eventually(lambda: recovered(first, second), RECOVERY)
        back = time.monotonic()
        # A sidecar that has seen nothing of it: the store alone proves it.
        third = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
        for _ in range(50):
            answer = await api.check(BILLING, token=eve.access, url=third.url)
            assert (answer.status, answer.body["reason"]) == (401, "revoked")
    assert [one for one in seen if not one.right and not one.unavailable] == []
    assert [one for one in seen if one.sent > back + 1 and not one.right] == []

    # The recovery ended every session; the older password of a change that was lost is no way in.
    for process in (first, second, third):
        answer = await api.check(BILLING, token=newer.access, url=process.url)
        assert (answer.status, answer.body["reason"]) == (401, "revoked")
    form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
    refused = await api.ask("POST", "/token", data=form)
    assert (refused.status, refused.body["error"]) == (400, "invalid_grant")
    assert "password_reset_required" in refused.body["error_description"]


async def test_R31_a_token_ahead_is_denied_and_revokes_older_tokens(
    start: Start, http: Callable[[Process], Http], pair: Pair, tmp_path: Path
) -> None:
    """No sidecar remembers, and no state directory: the newer token alone shows the loss."""
    process = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    await asyncio.to_thread(found_account, process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    pair.link.freeze()
    newer = await change_password(api, eve)
    process.stop()
    pair.fail_over()

    after = await asyncio.to_thread(start, REDIS_URL=pair.address.url, STATE_DIR=str(tmp_path / "empty"))
    answer = await api.check(BILLING, token=newer.access, url=after.url)
    assert answer.body["reason"] == "store_unavailable"

    async def dead() -> bool:
        answer = await api.check(BILLING, token=eve.access, url=after.url)
        return answer.headers["X-Auth-Reason"] == "revoked"

    await eventually(dead, 3)
    assert "regressed" in after.output()


async def test_R31_replicas_without_min_replicas_are_no_store(
    start: Start, http: Callable[[Process], Http], pair: Pair
) -> None:
    with pair.master.client() as client:
        client.config_set("min-replicas-to-write", 0)
    process = start(wait=False, REDIS_URL=pair.address.url)
    assert await asyncio.to_thread(process.popen.wait, 20) == 2
    assert "min-replicas-to-write" in process.output()


async def test_R48_a_lost_demotion_holds_the_user_until_review(
    start: Start, http: Callable[[Process], Http], pair: Pair
) -> None:
    first = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    second = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    await asyncio.to_thread(found_account, first)
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    path = f"/v1/users/{eve.id}"
    pair.link.freeze()
    for role in ("developer", "marketer"):
        done = await api.ask("PATCH", path, token=ada.access, json={"role": role})
        assert (done.status, done.headers["X-Sidecar-Revocation"]) == (200, "incomplete")
    for process in (first, second):
        assert (await api.check(BILLING, token=eve.access, url=process.url)).status == 403

    demoted = Question("demoted", eve.access, BILLING, 403, "no_rule")
    async with traffic(api, [first.url, second.url], lambda _chance: demoted, clients=4) as seen:
        pair.fail_over()
        await eventually(lambda: recovered(first, second), RECOVERY)
        for process in (first, second):
            answer = await api.check(BILLING, token=eve.access, url=process.url)
            assert (answer.status, answer.body["reason"]) == (401, "needs_review")
        ada = await api.sign_in("ada@example.com")
        (held,) = [
            user for user in (await api.ask("GET", "/v1/users", token=ada.access)).body["users"] if user["id"] == eve.id
        ]
        assert (held["review"]["role_before"], held["review"]["role_now"]) == ("marketer", "accountant")
        body = {"role": "marketer", "status": "active"}
        reviewed = await api.ask("POST", f"{path}/review", token=ada.access, json=body)
        assert reviewed.status == 200, reviewed
        eve = await api.sign_in("eve@example.com")
        for process in (first, second):
            answer = await api.check(BILLING, token=eve.access, url=process.url)
            assert (answer.status, answer.body["reason"]) == (403, "no_rule")
    assert [one for one in seen if one.status == 200] == [], "the older role opens nothing, at no moment"


def recovered(*processes: Process) -> bool:
    """Each sidecar found the loss, and is ready again."""
    lost = all("regressed" in process.output() for process in processes)
    return lost and all(process.http_status("/readyz") == 200 for process in processes)
