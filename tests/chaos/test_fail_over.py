"""A replica is promoted that missed a change which had been acknowledged: no token that it revoked passes anywhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from tests.chaos.rig import RedisServer, Relay
from tests.chaos.traffic import Question, traffic
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Person, Process, eventually, found_account

BILLING = "/dashboard/billing/x"
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


async def test_R31_an_epoch_that_the_new_master_never_had_is_not_forgotten(
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
        gone_over = time.monotonic()
        await asyncio.sleep(2.5)
        # One that has seen nothing of it: the store alone can tell it.
        third = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
        for _ in range(50):
            answer = await api.check(BILLING, token=eve.access, url=third.url)
            assert (answer.status, answer.body["reason"]) == (401, "revoked")
    assert [one for one in seen if not one.right and not one.unavailable] == []
    assert [one for one in seen if one.sent > gone_over + 2 and not one.right] == [], "healed within two seconds"

    # Whose sessions the loss took signs in anew; with the password of the older truth alone there is no way in.
    for process in (first, second, third):
        answer = await api.check(BILLING, token=newer.access, url=process.url)
        assert (answer.status, answer.body["reason"]) == (401, "session_ended")
    form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
    refused = await api.ask("POST", "/token", data=form)
    assert (refused.status, refused.body["error"]) == (400, "invalid_grant")
    assert "password_reset_required" in refused.body["error_description"]


async def test_R31_a_token_ahead_of_its_record_is_no_allow_and_revokes_the_older_ones(
    start: Start, http: Callable[[Process], Http], pair: Pair
) -> None:
    """No sidecar remembers: they were all stopped. The newer token itself is what gives the loss away."""
    process = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    await asyncio.to_thread(found_account, process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    eve = await api.join(ada, "eve@example.com", "accountant")
    pair.link.freeze()
    newer = await change_password(api, eve)
    process.stop()
    pair.fail_over()

    after = await asyncio.to_thread(start, REDIS_URL=pair.address.url)
    answer = await api.check(BILLING, token=newer.access, url=after.url)
    assert answer.body["reason"] == "store_unavailable"

    async def dead() -> bool:
        answer = await api.check(BILLING, token=eve.access, url=after.url)
        return answer.headers["X-Auth-Reason"] == "revoked"

    await eventually(dead, 3)
    assert "went back in time" in after.output()


async def test_R31_replicas_without_min_replicas_are_no_store(
    start: Start, http: Callable[[Process], Http], pair: Pair
) -> None:
    with pair.master.client() as client:
        client.config_set("min-replicas-to-write", 0)
    process = start(wait=False, REDIS_URL=pair.address.url)
    assert await asyncio.to_thread(process.popen.wait, 20) == 2
    assert "min-replicas-to-write" in process.output()


async def test_R31_a_lost_demotion_shuts_out_its_user_alone_until_somebody_sees_to_it(
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
        await asyncio.sleep(2)
        for process in (first, second):
            answer = await api.check(BILLING, token=eve.access, url=process.url)
            assert answer.body["reason"] == "store_unavailable", "the role before it is all that the store knows"
            assert (await api.check(BILLING, token=ada.access, url=process.url)).status == 200
        done = await api.ask("PATCH", path, token=ada.access, json={"role": "marketer"})
        assert done.status == 200
        seen_to = time.monotonic()
        await asyncio.sleep(0.5)
    assert [one for one in seen if not one.right and not one.unavailable] == []
    assert [one for one in seen if one.sent > seen_to and not one.right] == []
