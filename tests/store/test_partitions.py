"""Several partitions, as on a Cluster: each account whole in one, each feed followed, everything else unchanged."""

import asyncio
import contextlib
import re
import time

import pytest

from sidecar.domain.users import Actor
from sidecar.store import keys
from sidecar.store.audit_export import Exporter
from sidecar.store.live.replica import RecordReplica
from sidecar.store.maintenance.backup import Backup, Restored
from sidecar.store.maintenance.fsck import Fsck

OPERATOR = Actor.operator()


@pytest.fixture
async def wide(bare_store, entropy, town_class):
    """The store's nouns over four partitions, with eight accounts in more than one of them."""
    bare_store.partitions = 4
    await bare_store.check_meta()
    town = town_class(bare_store, entropy)
    town.admins = [await town.account(name=f"A{number}", email="ada@example.com") for number in range(8)]
    assert len({keys.partition_of(admin.account, 4) for admin in town.admins}) > 1
    return town


async def test_the_number_of_partitions_is_the_stores_own(bare_store, wide):
    bare_store.partitions = 1
    await bare_store.check_meta()
    assert bare_store.partitions == 4


async def test_every_key_of_an_account_has_its_partitions_tag(wide):
    for admin in wide.admins:
        actor = await wide.signed_in(admin)
        await wide.member(actor, admin.account, "b@example.com")
    for key in await wide.store.command("KEYS", "*"):
        assert re.match(r"sc:(meta$|\{p\d\d\}:)", key), key
        if match := re.match(r"sc:\{p(\d\d)\}:a:(acc_\w+)", key):
            assert int(match[1]) == keys.partition_of(match[2], 4)


async def test_an_email_is_found_in_all_of_its_accounts(wide):
    assert await wide.users.accounts_of("ada@example.com") == sorted(admin.account for admin in wide.admins)
    assert [account.name for account in await wide.accounts.all()] == [f"A{number}" for number in range(8)]


async def test_changes_of_every_partition_are_heard_and_waited_for(wide):
    live = RecordReplica(wide.store, id="one", lease=0.3, clock=time.monotonic)
    running = asyncio.create_task(live.run())
    try:
        for admin in wide.admins:
            while not live.records.live(admin.account):
                await asyncio.sleep(0.002)
        for admin in wide.admins:
            assert (await live.records.read(admin.id)).epoch == 1
            changed = await wide.users.sign_out_everywhere(admin.id, OPERATOR)
            assert changed.position.partition == keys.partition_of(admin.account, 4)
            assert (await live.fleet.wait_applied(changed.position)).complete
            assert live.records.peek(admin.id) is None
            assert (await live.records.read(admin.id)).epoch == 2
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_the_data_is_sound_is_put_away_and_comes_back(wide, tmp_path):
    assert (await Fsck(wide.store).run()).findings == []
    await Backup(wide.store).save(tmp_path / "backup")
    assert await Backup(wide.store).load(tmp_path / "backup") == Restored(8, 8)
    assert (await Fsck(wide.store).run()).findings == []


async def test_the_audit_of_every_partition_is_exported(wide):
    lines = []

    class Sink:
        async def write(self, written):
            lines.append(written)

    exporter = Exporter(wide.store, Sink(), id="one", sign=lambda message: ("k", message[:4]))
    assert await exporter.export() == 16
    assert await exporter.export() == 0
