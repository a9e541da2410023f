"""Backup and restore: everything is restored except tokens; a truncated or changed file is rejected whole."""

import asyncio
import contextlib
import hashlib
import json
import time

import fakeredis
import pytest

from sidecar.domain.factors import FactorId
from sidecar.domain.peps import PepId, Scope
from sidecar.domain.sessions import Method
from sidecar.domain.users import Actor, Status
from sidecar.store import keys
from sidecar.store.audit import Audit
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.factor_proofs import FactorProof
from sidecar.store.factors import Factors
from sidecar.store.federated_identities import FederatedIdentities, Linked, LinkForbidden
from sidecar.store.integrity.partition_state import PartitionStates
from sidecar.store.live.fleet import Fleet
from sidecar.store.live.replica import RecordReplica
from sidecar.store.maintenance.archive import ArchiveRules, read
from sidecar.store.maintenance.backup import Backup, InvalidBackupError, Restored
from sidecar.store.maintenance.consistency_checks import ConsistencyFault
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.maintenance.startup_checks import SCHEMA
from sidecar.store.outcomes import NoUser
from sidecar.store.peps import PepCreated, Peps
from sidecar.store.sessions import Opened, SessionGone
from tests.memory_store import store_over

OPERATOR = Actor.operator()


@pytest.fixture
async def lived(town):
    """An account with earlier changes."""
    admin = await town.account(cap=6)
    actor = await town.signed_in(admin)
    member = await town.member(actor, admin.account, "b@example.com", role="developer")
    await town.users.sign_out_everywhere(member.id, actor)
    await town.users.change(actor, member.id, status=Status.SUSPENDED)
    await town.invite(actor, admin.account, "c@example.com", name="Zoë")
    await town.invite(actor, admin.account, "late@example.com", mailbox="Late@example.com", ttl=0.01)
    await town.until(await town.now_ms() + 15)
    return admin


@pytest.fixture
async def elsewhere(entropy):
    """Another Redis, in use by a sidecar of the same deployment."""
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    store = store_over(client)
    await store.check_meta(issuer="https://id.example", audience="dashboard")
    yield store
    await client.aclose()


def at(town, store):
    return type(town)(store, town.entropy)


def told(roster):
    """Return the parts that a restore does not change."""
    return [
        (
            found.record.id,
            found.record.email,
            found.record.name,
            found.record.role,
            found.record.status,
            found.created_at,
        )
        for found in roster.members
    ], roster.seats


async def test_another_redis_takes_all_of_it(town, lived, elsewhere, tmp_path):
    await town.account(name="Second", email="x@example.com")
    file = tmp_path / "backup"
    written = await Backup(town.store).save(file)
    assert (written.accounts, written.users) == (2, 3)
    assert file.stat().st_mode & 0o777 == 0o600

    assert await Backup(elsewhere).load(file) == Restored(2, 3)

    there = at(town, elsewhere)
    assert told(await there.users.roster(lived.account)) == told(await town.users.roster(lived.account))
    assert [account.name for account in await there.accounts.all()] == ["Acme", "Second"]
    assert (await there.users.credentials_of(lived.id)).password_hash == "hash-0"
    assert await there.users.accounts_of("c@example.com") == [lived.account]
    assert (await Fsck(elsewhere).run()).findings == []


async def test_its_audit_comes_along_and_goes_on(town, lived, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr("sidecar.store.maintenance.backup.ROWS", 3)
    before = (await Audit(town.store).page(lived.account, limit=500)).rows
    await Backup(town.store).save(tmp_path / "backup")
    await Backup(elsewhere).load(tmp_path / "backup")

    newest, *rest = (await Audit(elsewhere).page(lived.account, limit=500)).rows
    assert tuple(rest) == before
    assert (newest.action, newest.seq) == ("account.restored", before[0].seq + 1)


async def test_no_token_from_before_passes_after_a_restore(town, lived, tmp_path):
    actor = await town.signed_in(await town.users.record(lived.id))
    await Backup(town.store).save(tmp_path / "backup")
    later = await town.users.change_password(
        lived.id, expected_epoch=1, password_hash="newer", session=None, actor=Actor.bearer(lived.id)
    )

    await Backup(town.store).load(tmp_path / "backup")

    record = await town.users.record(lived.id)
    assert record.epoch > later.record.epoch
    assert record.sessions == {}
    assert await town.sessions.rotate(lived.id, actor.session, 0, ttl=60) == SessionGone()
    found = await town.users.credentials_of(lived.id)
    assert (found.password_hash, found.reset_required) == ("hash-0", False)
    assert (await Fsck(town.store).run()).findings == []


async def test_an_expired_invitation_comes_along_and_can_be_renewed(town, lived, elsewhere, tmp_path):
    written = await Backup(town.store).save(tmp_path / "backup")
    assert (written.users, written.invited) == (2, 1), "it holds no seat"
    await Backup(elsewhere).load(tmp_path / "backup")
    there = at(town, elsewhere)
    lapsed = (await there.users.roster(lived.account)).members[-1].record
    assert (lapsed.email, lapsed.mailbox, lapsed.status) == ("late@example.com", "Late@example.com", Status.EXPIRED)
    assert (await Fsck(elsewhere).run()).findings == []
    renewed = await there.invitations.resend(OPERATOR, lapsed.id, digest="d", ttl=60)
    assert renewed.member.record.status is Status.INVITED
    again = await there.invite(OPERATOR, lived.account, "late@example.com")
    assert again.user == lapsed.id


async def test_R26_the_role_of_an_expired_invitation_allows_a_restore(town, lived, elsewhere, tmp_path):
    rules = ArchiveRules(roles={"account-administrator", "developer", "marketer"})
    lapsed = (await town.users.roster(lived.account)).members[-1].record
    await town.users.change(OPERATOR, lapsed.id, role="retired")
    await Backup(town.store).save(tmp_path / "backup")
    assert (await Backup(elsewhere).load(tmp_path / "backup", rules=rules)).accounts == 1
    pending = (await town.users.roster(lived.account)).members[-2].record
    assert pending.status is Status.INVITED
    await town.users.change(OPERATOR, pending.id, role="retired")
    await Backup(town.store).save(tmp_path / "backup")
    with pytest.raises(InvalidBackupError, match="does not declare"):
        await Backup(elsewhere).load(tmp_path / "backup", rules=rules)


async def test_a_restore_in_place_undoes_later_changes_but_keeps_audit(town, lived, tmp_path):
    await Backup(town.store).save(tmp_path / "backup")
    before = await town.users.roster(lived.account)
    added = await town.member(OPERATOR, lived.account, "late@example.com")
    await town.users.remove(OPERATOR, before.members[1].record.id)
    await town.accounts.set_seats(lived.account, 20, OPERATOR)
    rows = len(await town.audit(lived.account))

    await Backup(town.store).load(tmp_path / "backup")

    assert told(await town.users.roster(lived.account)) == told(before)
    assert await town.users.record(added.id) is None
    assert await town.sessions.open(added.id, expected_epoch=1, session=town.session()) == NoUser()
    assert len(await town.audit(lived.account)) == rows + 1
    assert (await Fsck(town.store).run(repair=True)).clean


async def test_running_sidecars_apply_a_restore_to_removed_users_too(town, lived, tmp_path):
    member = (await town.users.roster(lived.account)).members[1].record
    await Backup(town.store).save(tmp_path / "backup")
    live = RecordReplica(town.store, id="one", lease=0.3, clock=time.monotonic)
    running = asyncio.create_task(live.run())
    try:
        while live.records.lag() > 0.3:
            await asyncio.sleep(0.002)
        assert (await live.records.read(member.id)).epoch == member.epoch
        removed = await town.users.remove(OPERATOR, member.id)
        await live.fleet.wait_applied(removed.position)
        assert await live.records.read(member.id) is None

        await Backup(town.store).load(tmp_path / "backup")
        while live.records.position(lived.account) < removed.position.n + 2:
            await asyncio.sleep(0.002)

        assert (await live.records.read(member.id)).epoch > member.epoch
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_one_account_of_many_is_put_away_or_brought_back(town, lived, elsewhere, tmp_path):
    second = await town.account(name="Second", email="x@example.com")
    await Backup(town.store).save(tmp_path / "one", [lived.account])
    await Backup(town.store).save(tmp_path / "all")

    assert await Backup(elsewhere).load(tmp_path / "all", [second.account]) == Restored(1, 1)
    assert [account.name for account in await at(town, elsewhere).accounts.all()] == ["Second"]
    assert await Backup(elsewhere).load(tmp_path / "one") == Restored(1, 2)
    with pytest.raises(InvalidBackupError, match=second.account):
        await Backup(elsewhere).load(tmp_path / "one", [second.account])


async def test_an_account_whose_name_is_taken_is_left_out_and_named(town, lived, elsewhere, tmp_path):
    there = await at(town, elsewhere).account(name="ACME", email="q@example.com")
    await Backup(town.store).save(tmp_path / "backup")

    assert await Backup(elsewhere).load(tmp_path / "backup") == Restored(0, 0, (lived.account,))
    assert [account.id for account in await at(town, elsewhere).accounts.all()] == [there.account]


async def test_a_restored_data_set_has_an_id_of_its_own(town, lived, tmp_path):
    before = await town.store.command("GET", f"{keys.feed(0)}:gen")
    await Backup(town.store).save(tmp_path / "backup")
    await Backup(town.store).load(tmp_path / "backup")
    assert await town.store.command("GET", f"{keys.feed(0)}:gen") != before


async def test_a_deleted_account_is_not_put_away(town, lived, tmp_path):
    await town.accounts.delete(lived.account, OPERATOR)
    assert (await Backup(town.store).save(tmp_path / "backup")).accounts == 0
    assert (await Backup(town.store).save(tmp_path / "named", [lived.account])).accounts == 0


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw: raw[:-20],
        lambda raw: b"\n".join(raw.split(b"\n")[:-2]),
        lambda raw: raw.replace(b"developer", b"account-administrator"),
        lambda raw: b"",
        lambda raw: b"[]\n",
        lambda raw: b'{"backup": "x"}\n',
        lambda raw: raw.replace(b"sidecar-backup/1", b"sidecar-backup/9"),
    ],
)
async def test_a_file_that_was_cut_short_or_changed_is_refused_whole(town, lived, elsewhere, tmp_path, harm):
    file = tmp_path / "backup"
    await Backup(town.store).save(file)
    file.write_bytes(harm(file.read_bytes()))

    with pytest.raises(InvalidBackupError, match="not a complete backup"):
        await Backup(elsewhere).load(file)
    assert await at(town, elsewhere).accounts.all() == []


async def test_a_backup_of_other_keys_is_refused(town, lived, tmp_path, elsewhere):
    await town.store.change("HSET", keys.META, "pepper", "p1")
    await elsewhere.change("HSET", keys.META, "pepper", "p2")
    await Backup(town.store).save(tmp_path / "backup")
    with pytest.raises(InvalidBackupError, match="pepper"):
        await Backup(elsewhere).load(tmp_path / "backup")


async def test_R24_a_backup_has_no_sessions_or_stored_responses(town, lived, tmp_path):
    actor = await town.signed_in(await town.users.record(lived.id))
    await Backup(town.store).save(tmp_path / "backup")
    head, (archived,) = read(tmp_path / "backup")
    assert actor.session not in json.dumps(archived.data)
    assert (head.schema, head.pepper) == (SCHEMA, "")


async def test_R20_a_restore_keeps_a_later_key_revocation(town, lived, elsewhere, tmp_path):
    peps = Peps(town.store)
    for number in range(2):
        made = await peps.create(
            OPERATOR, PepId(f"pep_{lived.account[4:]}_{'ab'[number] * 12}"), name=f"p{number}", digest="d" * 64,
            scopes=frozenset(Scope), ttl=60, rate=1,
        )  # fmt: skip
        assert isinstance(made, PepCreated)
    await Backup(town.store).save(tmp_path / "backup")
    kept, revoked = await peps.listing(lived.account)
    await peps.revoke(OPERATOR, revoked.id)
    await Backup(town.store).load(tmp_path / "backup")
    assert await peps.listing(lived.account) == [kept]
    await Backup(elsewhere).load(tmp_path / "backup")
    assert len(await Peps(elsewhere).listing(lived.account)) == 2, "another Redis has no copy"


async def test_R10_a_restore_keeps_later_bars_of_subjects(town, lived, tmp_path):
    links = FederatedIdentities(town.store)
    linked = {"issuer": "https://login.example", "email": lived.email}
    assert isinstance(await links.link(lived.account, subject="s-1", **linked), Linked)
    await Backup(town.store).save(tmp_path / "backup")
    await links.unlink(lived.id)
    await Backup(town.store).load(tmp_path / "backup")
    assert await links.find(lived.account, "https://login.example", "s-1") is None
    assert await links.link(lived.account, subject="s-1", **linked) == LinkForbidden()
    assert (await Fsck(town.store).run()).clean


PHONE, LAPTOP = FactorId("totp_" + "a" * 16), FactorId("passkey_" + "a" * 16)
DIGESTS = tuple(f"{number:064x}" for number in range(10))


async def enrolled(town, record):
    actor, factors = await town.signed_in(record), Factors(town.store)
    for factor, proof in ((PHONE, {"step": 7}), (LAPTOP, {"counter": 3})):
        await factors.add(actor, factor, sealed=f"sealed-{factor}", ttl=60)
        await factors.confirm(actor, factor, name="Phone", codes=DIGESTS, wait=0, **proof)
    return actor


async def signs_in(town, record, **proof):
    record = await town.users.record(record.id)
    outcome = await town.sessions.open(
        record.id, expected_epoch=record.epoch, session=town.session(), proof=FactorProof(**proof)
    )
    return isinstance(outcome, Opened)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_R35_a_restore_brings_factors_and_voids_recovery_codes(town, lived, elsewhere, tmp_path, where):
    await enrolled(town, lived)
    await Backup(town.store).save(tmp_path / "backup")
    assert DIGESTS[0] not in (tmp_path / "backup").read_text()
    place = town if where == "here" else at(town, elsewhere)
    await Backup(place.store).load(tmp_path / "backup")
    held = await Factors(place.store).listing(lived.id)
    assert {one.factor.id: one.sealed for one in held.factors} == {one: f"sealed-{one}" for one in (PHONE, LAPTOP)}
    assert set((await place.users.record(lived.id)).factors) == {PHONE, LAPTOP}
    assert held.recovery_codes == 0
    assert not await signs_in(place, lived, method=Method.RECOVERY_CODE, digest=DIGESTS[0])


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_R35_a_restore_sets_no_step_and_no_counter_back(town, lived, elsewhere, tmp_path, where):
    await enrolled(town, lived)
    await Backup(town.store).save(tmp_path / "backup")
    now = int(await town.now_ms() / 30000)
    assert await signs_in(town, lived, method=Method.TOTP, factor=PHONE, step=now)
    assert await signs_in(town, lived, method=Method.PASSKEY, factor=LAPTOP, counter=9)
    place = town if where == "here" else at(town, elsewhere)
    await Backup(place.store).load(tmp_path / "backup")
    assert not await signs_in(place, lived, method=Method.TOTP, factor=PHONE, step=now)
    assert await signs_in(place, lived, method=Method.TOTP, factor=PHONE, step=now + 4)
    lowest = 9 if where == "here" else 3
    assert not await signs_in(place, lived, method=Method.PASSKEY, factor=LAPTOP, counter=lowest)
    assert await signs_in(place, lived, method=Method.PASSKEY, factor=LAPTOP, counter=10)


async def test_a_factor_added_after_the_backup_is_gone(town, lived, tmp_path):
    await Backup(town.store).save(tmp_path / "backup")
    await enrolled(town, lived)
    await Backup(town.store).load(tmp_path / "backup")
    assert (await Factors(town.store).listing(lived.id)).factors == ()
    home = keys.account(lived.account, town.store.partitions)
    assert await town.store.command("KEYS", f"{home}:f:*") == []


async def test_a_backup_without_factors_of_an_earlier_release_loads(town, lived, tmp_path):
    await enrolled(town, lived)
    file = tmp_path / "backup"
    await Backup(town.store).save(file)
    lines = file.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[1])
    del entry["data"]["factors"]
    lines[1] = json.dumps(entry).encode() + b"\n"
    end = json.loads(lines[-1])
    end["sha256"] = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    file.write_bytes(b"".join((*lines[:-1], json.dumps(end).encode() + b"\n")))
    await Backup(town.store).load(file)
    assert (await Factors(town.store).listing(lived.id)).factors == ()


async def test_a_failed_backup_leaves_no_file(town, lived, tmp_path, monkeypatch):
    backup = Backup(town.store)

    async def broken(*_):
        raise OSError("disk")

    monkeypatch.setattr(backup, "_rows", broken)
    with pytest.raises(OSError, match="disk"):
        await backup.save(tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


async def test_an_interrupted_restore_leaves_a_mark_until_completed(town, elsewhere, tmp_path, monkeypatch):
    """`fsck` reported "clean" for a partial restore, and sidecars served it."""
    await town.account(name="One", email="a@example.com")
    await town.account(name="Two", email="b@example.com")
    await Backup(town.store).save(tmp_path / "backup")
    run = elsewhere.run

    async def killed(name, *args, **more):
        if name == "restore_rows":
            raise StoreUnavailableError("as a kill would")
        return await run(name, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(elsewhere, "run", killed)
        with pytest.raises(StoreUnavailableError):
            await Backup(elsewhere).load(tmp_path / "backup")

    report = await Fsck(elsewhere).run()
    assert [finding.fault for finding in report.findings if "restore" in finding.fault] == [
        ConsistencyFault.UNFINISHED_RESTORE
    ]
    fleet = Fleet(
        elsewhere, Silent(), id="a", lease=1.0, clock=time.monotonic, states=PartitionStates(clock=time.monotonic)
    )
    await fleet.register()
    assert fleet.restoring

    await Backup(elsewhere).load(tmp_path / "backup")

    assert (await Fsck(elsewhere).run()).clean
    await fleet.register()
    assert not fleet.restoring


class Silent:
    """Holds no copies."""

    def registered(self, partition, at):
        pass

    def rejected(self, partition):
        pass
