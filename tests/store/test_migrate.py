"""Each earlier schema to this one: on kept data, killed at each write, under running sidecars of the older schema."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.domain.sessions import Method, NewProof, Proof
from sidecar.domain.users import Status
from sidecar.store import keys
from sidecar.store.audit import Audit
from sidecar.store.connection import Store, StoreMismatchError
from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.integrity.proof import FeedPosition, evaluate, proof_of
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.maintenance.migrate import migrate
from sidecar.store.maintenance.startup_checks import SCHEMA
from sidecar.tokens.opaque import Pepper
from tests.store.older_state import put_back

KEPT = Path(__file__).parents[1] / "upgrade"
SESSIONS = {"1": 0, "2": 6}
PEPPER = Pepper(b"p" * 32)
SETTINGS = {"issuer": "https://id.example", "audience": "dashboard", "pepper": PEPPER.identity}

CHILD = """
import asyncio, os, signal, sys
from sidecar.store.connection import Store
from sidecar.store.maintenance.migrate import migrate
from sidecar.tokens.opaque import Pepper

async def main(url, writes):
    store, made = await Store.open(url, read_timeout=5, write_timeout=5), 0
    def counted(call):
        async def one(*args, **more):
            nonlocal made
            if made == writes:
                os.kill(os.getpid(), signal.SIGKILL)
            made += 1
            return await call(*args, **more)
        return one
    store.run, store.change = counted(store.run), counted(store.change)
    await migrate(store, Pepper(b"p" * 32))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def kept(schema: str) -> list[list[str]]:
    return [json.loads(line) for line in (KEPT / f"schema_{schema}.jsonl").read_text().splitlines()]


async def is_whole(town, schema: str) -> None:
    """Assert that the store is migrated, sound, and with every user and session as before."""
    store = town.store
    assert await migrate(store, PEPPER) is None
    await store.check_meta(**SETTINGS)
    report = await Fsck(store).run()
    assert (report.findings, report.accounts, report.users, report.invited) == ([], 2, 4, 2)
    assert set(await store.command("SMEMBERS", keys.accounts(0))) == {
        account.id for account in await town.accounts.all()
    }
    for account in await town.accounts.all():
        bob = await town.users.record(await town.users.find(account.id, f"bob@{account.name.lower()}.example"))
        assert (bob.role, bob.epoch, bob.review) == ("developer", 2, None)
    globex = await town.accounts.find("Globex")
    assert globex.status is Status.SUSPENDED
    assert await proven_sessions(town) == SESSIONS[schema]


async def proven_sessions(town) -> int:
    """Return the number of live sessions. Each began by a password at its start."""
    found = 0
    for account in await town.accounts.all():
        for member in (await town.users.roster(account.id)).members:
            listed = {session.id: session.created_at for session in await town.sessions.listing(member.record.id)}
            for sid, session in member.record.sessions.items():
                assert session.signed_in_at == listed.pop(sid)
                assert session.methods == (Proof(Method.PASSWORD, "", session.signed_in_at),)
                found += 1
            assert listed == {}
    return found


@pytest.fixture(params=sorted(SESSIONS))
def schema(request):
    return request.param


@pytest.fixture
async def older(town, schema):
    await put_back(town.store, kept(schema))
    return town


async def test_an_earlier_schema_is_refused_until_it_is_migrated(older, schema):
    with pytest.raises(
        StoreMismatchError, match=f"schema {schema}, this sidecar needs {SCHEMA}: run `sidecar migrate`"
    ):
        await older.store.check_meta(**SETTINGS)
    done = await migrate(older.store, PEPPER)
    assert (done.before, done.accounts, done.sessions) == (schema, 2, SESSIONS[schema])
    await is_whole(older, schema)


async def test_a_later_schema_is_refused(older):
    await older.store.change("HSET", keys.META, "schema", "9")
    with pytest.raises(StoreMismatchError, match=f"schema 9, this sidecar migrates 1 and 2 to {SCHEMA}"):
        await migrate(older.store, PEPPER)


async def test_a_session_opened_meanwhile_has_proven_nothing(older, monkeypatch):
    """Opened by a sidecar of the older schema after its account was migrated."""
    change, opened = older.store.change, []

    async def meanwhile(*words):
        if words[1:3] == (keys.META, "schema"):
            actor = await older.signed_in(await older.account("Third", email="third@example.com"))
            home = keys.account(actor.user and (await older.users.record(actor.user)).account, 1)
            await change("HDEL", f"{home}:s:{actor.session}", "at", "by")
            opened.append(actor)
        return await change(*words)

    monkeypatch.setattr(older.store, "change", meanwhile)
    await migrate(older.store, PEPPER)
    (actor,) = opened
    found = (await older.users.record(actor.user)).sessions[actor.session]
    assert (found.signed_in_at, found.methods) == (0, ())
    assert (await Fsck(older.store).run()).findings == []


async def test_a_proof_that_was_given_is_kept(older):
    """A migration that was interrupted after its sessions runs again."""
    admin = await older.account("Third", email="third@example.com")
    session = older.session(proofs=(NewProof(Method.PASSKEY, "fac_1"),))
    before = (await older.sessions.open(admin.id, expected_epoch=1, session=session)).record.sessions
    await migrate(older.store, PEPPER)
    assert (await older.users.record(admin.id)).sessions == before


@pytest.mark.parametrize("schema", ["1"], indirect=True)
async def test_the_audit_rows_of_schema_1_are_read(older):
    await migrate(older.store, PEPPER)
    globex = await older.accounts.find("Globex")
    rows = (await Audit(older.store).page(globex.id)).rows
    assert [row.action for row in rows][-3:] == ["user.invited", "user.created", "account.created"]
    assert rows[-1].target == globex.id


async def test_another_pepper_is_refused_before_anything_is_written(older, schema):
    await older.store.change("HSET", keys.META, "pepper", "another")
    with pytest.raises(StoreMismatchError, match="another pepper"):
        await migrate(older.store, PEPPER)
    assert await older.store.command("HGET", keys.META, "schema") == schema
    assert await older.store.command("HGET", keys.partition_meta(0), "schema") == schema


async def test_R39_R46_a_sidecar_of_an_older_schema_closes(older, schema):
    """A sidecar of this code with the older schema: its next registration finds the partition's record changed."""
    feed, meta = keys.feed(0), dict(await older.store.pairs("HGETALL", keys.META))
    await older.store.change("HSET", keys.partition_meta(0), *(word for pair in meta.items() for word in pair))
    tail = await older.store.run("feed_tail", [feed, keys.partition_meta(0)], ["", ""])
    known = FeedPosition(tail["gen"], int(tail["n"]), tail["id"])
    demanded = {"schema": schema, "issuer": meta["issuer"], "audience": meta["audience"]}
    there = await older.store.run("feed_tail", [feed, keys.partition_meta(0)], [known.entry, known.data_set])
    assert evaluate(known, proof_of(there), demanded).state is PartitionState.OK
    await migrate(older.store, PEPPER)
    found = await older.store.run("feed_tail", [feed, keys.partition_meta(0)], [known.entry, known.data_set])
    verdict = evaluate(known, proof_of(found), demanded)
    assert (verdict.state, verdict.reason) == (
        PartitionState.CHANGED,
        f"its meta record has schema '{SCHEMA}', this sidecar '{schema}'",
    )


async def test_an_account_made_during_the_migration_is_in_the_index(older, monkeypatch):
    """Made by a sidecar of the older schema, which does not write the index."""
    run = older.store.run

    async def meanwhile(name, at, args, **more):
        reply = await run(name, at, args, **more)
        if name == "data_set":
            monkeypatch.setattr(older.store, "run", run)
            admin = await older.account("Third", email="third@example.com")
            await older.store.change("SREM", keys.accounts(0), admin.account)
        return reply

    monkeypatch.setattr(older.store, "run", meanwhile)
    assert (await migrate(older.store, PEPPER)).accounts == 3
    assert await older.store.command("SCARD", keys.accounts(0)) == 3


async def test_a_migration_killed_at_each_of_its_writes_goes_on(real_town, real_redis_url, schema):
    ends = []
    for writes in range(15):
        await put_back(real_town.store, kept(schema))
        child = subprocess.run(
            [sys.executable, "-c", CHILD, real_redis_url, str(writes)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        ends.append(child.returncode)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, child.stderr
        if await real_town.store.command("HGET", keys.META, "schema") == schema:
            with pytest.raises(StoreMismatchError, match="sidecar migrate"):
                await real_town.store.check_meta(**SETTINGS)
            await migrate(real_town.store, PEPPER)
        await is_whole(real_town, schema)
    assert ends[-1] == 0
    assert len(ends) >= 6, "the index, the partition, the index again, each account's sessions, the meta record"


async def test_many_partitions_are_migrated_one_by_one(real_town, real_redis_url):
    client = real_town.store.client
    await client.hset(keys.META, mapping={"schema": "1", "P": "4", "issuer": "https://id.example", "audience": "d"})
    for partition in range(4):
        await client.delete(keys.partition_meta(partition))
        await client.hset(f"sc:{keys.tag(partition)}:a:acc_{'a' * 11}{'bcde'[partition]}", "id", "x")
    store = await Store.open(real_redis_url, read_timeout=5, write_timeout=5)
    try:
        assert (await migrate(store, PEPPER)).accounts == 4
        for partition in range(4):
            assert await client.hget(keys.partition_meta(partition), "schema") == SCHEMA
            assert await client.scard(keys.accounts(partition)) == 1
    finally:
        await store.close()
