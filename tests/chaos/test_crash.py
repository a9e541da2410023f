"""``kill -9`` of sidecars and Redis at random points under load: nothing acknowledged is lost, and the data is sound.
Some sidecars are killed while the store is emptied, or while connections end; at last all of them before an older dump
is put in place.

``SIDECAR_TEST_CRASHES`` sets how many (default 4; 200 is the long run), ``SIDECAR_TEST_SEED`` another course.
"""

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from sidecar.store.connection import Store
from sidecar.store.maintenance.fsck import Fsck
from tests.chaos.acknowledged import ADMIN, ROLES, Duel, Fleet, Life
from tests.chaos.faults import Dump, dump, kill_connections, put_back
from tests.chaos.rig import RedisServer
from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, eventually, found_account

CRASHES = int(os.environ.get("SIDECAR_TEST_CRASHES", "4"))
SEED = int(os.environ.get("SIDECAR_TEST_SEED", "20261124"))
CAP, PEOPLE = 5, 6
"""Fewer seats than people who want one."""

REDIS, ONE, OTHER = "redis", "one sidecar", "the other sidecar"
VICTIMS = ((REDIS,), (ONE,), (REDIS, ONE, OTHER), (ONE, OTHER), (OTHER, REDIS), (OTHER,))

EMPTIED, CONNECTIONS = "emptied store", "killed connections"
FAULTS = (CONNECTIONS, EMPTIED, "", EMPTIED, CONNECTIONS, EMPTIED)
"""Under which fault the victims at the same place are killed. Redis itself is not killed while it is empty."""

pytestmark = pytest.mark.slow


@dataclass
class Rig:
    """A Redis that keeps all acknowledged writes, and two sidecars. Killed processes are started again."""

    start: Start
    redis: RedisServer
    folder: Path
    sidecars: dict[str, Process] = field(default_factory=dict)

    def launch(self, name: str) -> None:
        settings = {"REDIS_URL": self.redis.url, "TRUSTED_PROXIES": "127.0.0.1", "ACCESS_TTL": "5h", "LEASE": "500ms"}
        state = str(self.folder / f"state of {name}")
        self.sidecars[name] = self.start(wait=False, STATE_DIR=state, DECISION_LOG="off", **settings)

    def kill(self, name: str) -> None:
        if name == REDIS:
            self.redis.kill()
        else:
            self.sidecars[name].popen.kill()
            self.sidecars[name].popen.wait(10)

    def restart(self, names: tuple[str, ...]) -> None:
        if REDIS in names:
            self.redis.start()
        for name in names:
            if name != REDIS:
                self.launch(name)
        for process in self.sidecars.values():
            process.wait_ready()

    def errors(self) -> str:
        """Errors in the logs of the sidecars: the logs do not outlive the test."""
        lines = [line for process in self.sidecars.values() for line in process.output().splitlines()]
        return "\n".join(line for line in lines if '"level": "error"' in line)[-6000:]


@dataclass
class Run:
    """All users, and their changes."""

    rig: Rig
    fleet: Fleet
    lives: list[Life]
    duel: Duel

    async def crash(self, victims: tuple[str, ...], fault: str, chance: random.Random) -> None:
        self.fleet.urls = [process.url for process in self.rig.sidecars.values()]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for client in (*self.lives, self.duel):
                group.create_task(client.live(stop, random.Random(chance.random())))
            await asyncio.sleep(chance.uniform(0.02, 0.5))
            kept = await self._begin(fault, chance)
            for name in chance.sample(victims, len(victims)):
                self.rig.kill(name)
                await asyncio.sleep(chance.uniform(0, 0.01))
            await asyncio.sleep(chance.uniform(0, 0.1))
            stop.set()
        if kept is not None:
            put_back(self.rig.redis, kept)
        self.fleet.faulty = False

    async def _begin(self, fault: str, chance: random.Random) -> Dump | None:
        """Names to restore."""
        self.fleet.faulty = fault == EMPTIED
        if fault == CONNECTIONS:
            kill_connections(self.rig.redis)
        kept = dump(self.rig.redis, empty=True) if fault == EMPTIED else None
        await asyncio.sleep(chance.uniform(0, 0.3) if fault else 0)
        return kept

    async def lose(self, chance: random.Random) -> int:
        """Acknowledged roles are lost by an older dump while every sidecar is killed; the state directories know them.
        Returns how many were found held and were reviewed."""
        ada, kept = self.lives[0].ada, dump(self.rig.redis)
        changed = {}
        for life in self.lives:
            if life.fact.status == "active":
                role = next(role for role in ROLES if role != life.fact.role)
                path = f"/v1/users/{life.id}"
                done = await self.fleet.sure(chance, "PATCH", path, token=ada.access, json={"role": role})
                assert (done.status, done.body["revocation"]["complete"]) == (200, True), done
                changed[life.id] = (life, role)
        await asyncio.sleep(0.6)  # a journal is written twice per second; after less, the partition stays closed
        for name in (ONE, OTHER):
            self.rig.kill(name)
        put_back(self.rig.redis, kept)
        self.rig.restart((ONE, OTHER))
        self.fleet.urls = [process.url for process in self.rig.sidecars.values()]
        token = (await self.fleet.http.sign_in(ada.email, url=self.fleet.urls[0])).access
        listed = await self.fleet.sure(chance, "GET", "/v1/users", token=token)
        held = {row["id"]: row["review"]["role_before"] for row in listed.body["users"] if row["review"]}
        assert held == {uid: role for uid, (_, role) in changed.items()}
        for uid, (life, role) in changed.items():
            assert await self.fleet.signs_in(chance, life.email, life.fact.password) is None
            old = await self.fleet.sure(chance, "GET", "/v1/me", token=life.fact.access)
            assert old.status == 401, old
            body = {"role": role, "status": "active"}
            done = await self.fleet.sure(chance, "POST", f"/v1/users/{uid}/review", token=token, json=body)
            assert (done.status, done.body["role"]) == (200, role), done
            signed_in = await self.fleet.signs_in(chance, life.email, life.fact.password)
            assert signed_in is not None and signed_in.body["user"]["role"] == role
        return len(held)

    async def settle(self, chance: random.Random) -> None:
        self.fleet.urls = [process.url for process in self.rig.sidecars.values()]
        rows = await self._roster(chance)
        await asyncio.gather(
            *(life.settle(rows.get(life.email), random.Random(chance.random())) for life in self.lives)
        )
        await self.duel.settle(chance)
        await self._roster(chance)
        store = await Store.open(self.rig.redis.url)
        try:
            assert (await Fsck(store).run()).findings == []
        finally:
            await store.close()

    async def _roster(self, chance: random.Random) -> dict[str, dict[str, str]]:
        """The administrator's token is an acknowledged fact, too."""
        listed = await self.fleet.sure(chance, "GET", "/v1/users", token=self.lives[0].ada.access)
        assert listed.status == 200, listed
        seats, users = listed.body["seats"], listed.body["users"]
        assert seats["used"] == len(users) <= seats["cap"] == CAP
        return {row["email"]: row for row in users}

    async def answered_everywhere(self) -> bool:
        """Ready is one thing; every sidecar has its connections again is another one."""
        asked = [
            await self.fleet.http.ask("GET", "/v1/me", token=self.lives[0].ada.access, url=process.url)
            for process in self.rig.sidecars.values()
        ]
        assert {answer.status for answer in asked} <= {200, 503}, asked
        return {answer.status for answer in asked} == {200}


async def settled_in(rig: Rig, http: Callable[[Process], Http]) -> Run:
    for name in (ONE, OTHER):
        rig.launch(name)
    rig.restart(())
    here = rig.sidecars[ONE]
    found_account(here, seats=CAP)
    found_account(here, name="Duel", email="one@example.com")
    api = http(here)
    ada, one = await api.sign_in("ada@example.com"), await api.sign_in("one@example.com")
    fleet = Fleet(api, [here.url])
    lives = [Life(fleet, ada, f"user{number}@example.com") for number in range(PEOPLE)]
    return Run(rig, fleet, lives, Duel(fleet, (one, await api.join(one, "other@example.com", ADMIN))))


async def test_kills_of_sidecars_and_store_lose_no_acknowledged_write(
    start: Start, redis_server: Callable[..., RedisServer], http: Callable[[Process], Http], tmp_path: Path
) -> None:
    run = await settled_in(Rig(start, redis_server(), tmp_path), http)
    for number in range(CRASHES):
        chance = random.Random(f"{SEED} {number}")
        victims, fault = VICTIMS[number % len(VICTIMS)], FAULTS[number % len(FAULTS)]
        try:
            await run.crash(victims, fault, chance)
            run.rig.restart(victims)
            await eventually(run.answered_everywhere)
            await run.settle(chance)
        except BaseException as error:
            error.add_note(f"seed {SEED}, crash {number} of {', '.join(victims)}; {fault}")
            error.add_note(run.rig.errors())
            raise
    held = await run.lose(random.Random(f"{SEED} older dump"))
    assert held > 0
    settings = run.rig.sidecars[ONE].settings
    fsck = cli(settings, "fsck")
    assert (fsck.returncode, fsck.stdout.split(":")[0]) == (0, "clean"), fsck
    exported = sorted(str(file) for file in tmp_path.glob("state of */audit.jsonl"))
    verified = cli(settings, "audit", "verify", *exported)
    assert verified.returncode == 0, verified
    done, unanswered = run.fleet.done, run.fleet.unanswered
    click.echo(
        f"\n{CRASHES} crashes, seed {SEED}; acknowledged: {dict(done)}; unanswered: {dict(unanswered)}; held: {held}"
    )
    assert done.total() > 5 * CRASHES
    assert unanswered.total() >= CRASHES
