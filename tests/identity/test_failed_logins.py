"""Failed sign-ins in the audit: one row per user and minute, bounded per hour; strangers appear in the log alone."""

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.identity import failed_logins
from sidecar.identity.failed_logins import FailedLogins
from sidecar.identity.sessions import Client, InvalidGrant
from sidecar.store import keys
from sidecar.store.audit_chain import verify
from sidecar.store.audit_export import exported
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.sign_in_failures import SignInFailures

WRONG = "wrong-otter-marble-41"


@pytest.fixture
async def ada(town):
    return await town.found()


def home(store, ada) -> str:
    return f"{keys.account(ada.account, store.partitions)}:fails"


async def fail(town, email="ada@example.com", address="192.0.2.1", **more):
    town.client = Client(address, "test", "r-1")
    assert isinstance(await town.sign_in(email, WRONG, **more), InvalidGrant)


@pytest.fixture(autouse=True)
async def within_a_minute():
    """Keep the minute of the store's clock from ending in a test."""
    if time.time() % 60 > 55:
        await asyncio.sleep(61 - time.time() % 60)


async def minutes_pass(store, ada, minutes=1):
    """Move the counted minutes, and the counted hour, into the past. In an hour's first minute, one is moved ahead:
    the script settles every other minute than the current one.
    """
    name = home(store, ada)
    if minutes == 1 and time.time() % 3600 < 60:
        minutes = -1
    for field, value in await store.pairs("HGETALL", name):
        minute, uid = field.split()
        await store.command("HDEL", name, field)
        await store.command("HSET", name, f"{int(minute) - minutes} {uid}", value)
    if minutes >= 60 and (hour := await store.command("HGET", f"{name}:h", "hour")):
        await store.command("HSET", f"{name}:h", "hour", str(int(hour) - minutes // 60))


async def settle(town, store, ada, minutes=1):
    """Write the counts, let the minutes pass, and write the rows."""
    await town.people.failed_logins.flush()
    await minutes_pass(store, ada, minutes)
    await SignInFailures(store).count(ada.account, [])


async def failures(town, account):
    rows = (await town.people.audit.page(account, limit=500)).rows
    return [row for row in rows if row.action == "sign_in.failed"][::-1]


async def test_one_row_per_user_and_minute_counts_them(town, store, ada):
    bob = await town.join(ada, "bob@example.com")
    for number in range(7):
        await fail(town, address=f"192.0.2.{number}")
    await fail(town, address="192.0.2.0")
    await fail(town, email="bob@example.com", address="192.0.2.9")
    await town.people.failed_logins.flush()
    assert await failures(town, ada.account) == []  # the minute is not over
    await settle(town, store, ada)
    rows = {row.target: row for row in await failures(town, ada.account)}
    assert rows.keys() == {ada.id, bob.id}
    row = rows[ada.id]
    assert row.after["count"] == 8
    assert row.after["addresses"] == [f"192.0.2.{number}" for number in range(5)]
    assert int(row.after["minute"]) % 60_000 == 0
    assert (row.target_email, row.address) == ("ada@example.com", "192.0.2.0")
    assert row.actor == "", "anyone can fail a sign-in: the user did nothing"
    assert (rows[bob.id].after["count"], rows[bob.id].after["addresses"]) == (1, ["192.0.2.9"])
    await settle(town, store, ada)
    assert len(await failures(town, ada.account)) == 2


async def test_sidecars_share_the_row_of_a_minute(town, store, ada):
    other = FailedLogins(SignInFailures(store))
    for _ in range(3):
        other.count([ada], "192.0.2.50")
        await fail(town)
    await other.flush()
    await settle(town, store, ada)
    (row,) = await failures(town, ada.account)
    assert (row.after["count"], sorted(row.after["addresses"])) == (6, ["192.0.2.1", "192.0.2.50"])


async def test_R16_rows_are_bounded_per_account_and_hour(town, store, ada):
    for number in range(64):
        town.people.failed_logins.count([ada], f"192.0.2.{number}")
        await settle(town, store, ada)
    rows = await failures(town, ada.account)
    assert (len(rows), {row.target for row in rows}) == (60, {ada.id})
    await minutes_pass(store, ada, 60)
    await SignInFailures(store).count(ada.account, [])
    *_, rest = await failures(town, ada.account)
    assert (rest.target, rest.actor, rest.after["count"]) == (ada.account, "", 4)
    assert int(rest.after["hour"]) % 3_600_000 == 0
    await minutes_pass(store, ada, 60)
    assert await SignInFailures(store).count(ada.account, []) == 0
    assert len(await failures(town, ada.account)) == 61
    await fail(town)
    await settle(town, store, ada)
    assert len(await failures(town, ada.account)) == 62  # the next hour has rows of its own


async def test_R32_the_chain_with_failures_stays_verifiable(town, store, ada):
    await fail(town)
    await settle(town, store, ada)
    lines = [line async for line in exported(store, ada.account)]
    assert b"sign_in.failed" in b"".join(lines)
    assert verify(lines, signature_holds=lambda *_: True).faults == []
    assert WRONG.encode() not in b"".join(lines)


async def test_R17_a_failure_runs_no_store_write(town, store, ada, monkeypatch):
    """Sign-ins of known and unknown e-mails differ by no call of the store, and by no row, until the flush."""
    calls = []
    run, command = type(store).run, type(store).command

    async def ran(self, name, *words, **more):
        calls.append((name, more.get("write", False)))
        return await run(self, name, *words, **more)

    async def sent(self, *words):
        calls.append((words[0], False))
        return await command(self, *words)

    monkeypatch.setattr(type(store), "run", ran)
    monkeypatch.setattr(type(store), "command", sent)
    await fail(town, account="Acme")
    known = calls.copy()
    calls.clear()
    await fail(town, email="who@example.com", account="Acme")
    assert calls == known
    assert not any(write for _, write in calls)


async def test_unknown_emails_are_in_the_log_alone(town, store, ada, monkeypatch):
    logged = []
    log = SimpleNamespace(warning=lambda *words, **fields: logged.append((words, fields)))
    monkeypatch.setattr(failed_logins, "_log", log)
    for number in range(9):
        await fail(town, email=f"stranger{number}@example.com", address=f"192.0.2.{number}")
    await settle(town, store, ada)
    assert await failures(town, ada.account) == []
    ((words, fields),) = logged
    assert fields == {"count": 9, "addresses": [f"192.0.2.{number}" for number in range(5)]}
    assert "stranger" not in json.dumps([words, fields])
    await town.people.failed_logins.flush()
    assert len(logged) == 1


async def test_a_success_and_a_limited_attempt_are_no_failure(town, store, ada):
    await town.grant("ada@example.com")
    await settle(town, store, ada)
    assert await failures(town, ada.account) == []


async def test_each_account_with_the_email_gets_a_row(town, store, ada):
    other = await town.found("Other")
    await fail(town)
    await town.people.failed_logins.flush()
    for admin in (ada, other):
        await minutes_pass(store, admin)
        await SignInFailures(store).count(admin.account, [])
        (row,) = await failures(town, admin.account)
        assert row.target == admin.id


async def test_suspended_users_are_counted_and_removed_ones_not(town, store, ada):
    bob = await town.join(ada, "bob@example.com")
    carl = await town.join(ada, "carl@example.com")
    await town.people.users.change(Actor.operator(), bob.id, status=Status.SUSPENDED)
    await fail(town, email="bob@example.com")
    await fail(town, email="carl@example.com")
    await town.people.users.remove(Actor.operator(), carl.id)
    await settle(town, store, ada)
    assert [row.target for row in await failures(town, ada.account)] == [bob.id]


class Broken:
    """Store that is out until ``works`` is set."""

    def __init__(self):
        self.works, self.counted = False, []

    async def count(self, account, failures):
        if not self.works:
            raise StoreUnavailableError("out")
        self.counted.append((account, [(one.user, one.count, tuple(one.addresses)) for one in failures]))
        return 30.0 if failures else 0.0


async def test_counts_survive_an_outage_once(ada, clock):
    store = Broken()
    logins = FailedLogins(store, clock=clock.monotonic)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        logins.count([ada], address)
    await logins.flush()
    logins.count([ada], "192.0.2.3")
    await logins.flush()
    store.works = True
    await logins.flush()
    expected = (ada.account, [(ada.id, 4, ("192.0.2.1", "192.0.2.2", "192.0.2.3"))])
    assert store.counted == [expected]
    await logins.flush()
    assert store.counted == [expected]  # not due yet
    clock.advance(31)
    await logins.flush()
    await logins.flush()
    assert store.counted == [expected, (ada.account, [])]


async def test_memory_for_counts_is_bounded(ada, monkeypatch):
    monkeypatch.setattr(failed_logins, "MAX_USERS", 1)
    store = Broken()
    store.works = True
    logins = FailedLogins(store)
    for record in (ada, type("Other", (), {"account": "acc_other", "id": "usr_other"})(), ada):
        logins.count([record], "192.0.2.1")
    await logins.flush()
    assert store.counted == [(ada.account, [(ada.id, 2, ("192.0.2.1",))])]


async def test_an_outage_of_one_account_keeps_no_other_waiting():
    written = []

    class OneOut:
        async def count(self, account, failures):
            if account == "acc_a":
                raise StoreUnavailableError("partition 00 is out")
            written.extend(failures)
            return 0

    counts = FailedLogins(OneOut())
    for account in ("acc_a", "acc_b"):
        counts.count([SimpleNamespace(account=account, id=f"usr_{account}")], "192.0.2.1")
    for _ in range(2):
        await counts.flush()
    assert [one.user for one in written] == ["usr_acc_b"]
    assert [user for _, user in counts._users] == ["usr_acc_a"]
