"""Kill the server at a random point under load, start it again: nothing acknowledged is lost, and the data is sound.

``SIDECAR_TEST_CRASHES`` sets the number of rounds (default 6; 200 is the long run).
"""

import asyncio
import contextlib
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.domain.users import Actor, UserId
from sidecar.store.connection import Store
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.store.embedded.server_binary import examine
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.maintenance.fsck import Fsck

OPERATOR = Actor.operator()
ROUNDS = int(os.environ.get("SIDECAR_TEST_CRASHES", "6"))


@dataclass
class Known:
    """Acknowledged changes of a user, and the unacknowledged one, which may be applied or not."""

    uid: UserId
    name: str
    epoch: int
    asked_name: str | None = None
    asked_epoch: int | None = None

    async def write(self, town):
        """Change name and epoch in turn until the store is gone."""
        with contextlib.suppress(StoreUnavailableError):
            for number in range(100_000):
                self.asked_name = f"{self.uid}-{self.epoch}-{number}"
                self.name = (await town.users.change(OPERATOR, self.uid, name=self.asked_name)).record.name
                self.asked_epoch = self.epoch + 1
                self.epoch = (await town.users.sign_out_everywhere(self.uid, OPERATOR)).record.epoch

    async def check(self, town):
        record = await town.users.record(self.uid)
        assert record.name in {self.name, self.asked_name}
        assert record.epoch in {self.epoch, self.asked_epoch}
        self.name, self.epoch = record.name, record.epoch


def epochs(known: list[Known]) -> int:
    return sum(person.epoch for person in known)


@pytest.mark.slow
async def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path, redis_server_binary, town_class, entropy):
    binary, chance, known = examine(Path(redis_server_binary)), random.Random(ROUNDS), []
    for _ in range(ROUNDS):
        server = await EmbeddedServer.acquire(tmp_path, binary=binary)
        store = await Store.open(server.url)
        await store.check_meta()
        town = town_class(store, entropy)
        if not known:
            first = await town.account(cap=10)
            others = [await town.member(OPERATOR, first.account, f"u{number}@example.com") for number in range(4)]
            known = [Known(person.id, person.name, person.epoch) for person in (first, *others)]
        for person in known:
            await person.check(town)
        assert (await Fsck(store).run()).findings == []

        before = epochs(known)
        writing = [asyncio.create_task(person.write(town)) for person in known]
        async with asyncio.timeout(30):
            while epochs(known) == before:  # a busy machine may take long to the first change
                await asyncio.sleep(0.001)
        await asyncio.sleep(chance.uniform(0.005, 0.1))
        os.kill(server._process.pid, signal.SIGKILL)
        await asyncio.gather(*writing)
        await store.close()
        await server.stop()
    assert epochs(known) >= len(known) + ROUNDS
