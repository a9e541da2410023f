"""fsck: silent on sound data, exact about faults, and repairs of indexes alone."""

import asyncio

import pytest

from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.store import keys
from sidecar.store.factors import Factors
from sidecar.store.maintenance.consistency_checks import REPAIRABLE, ConsistencyFault
from sidecar.store.maintenance.fsck import Fsck
from sidecar.tokens.ids import account_of
from tests.store.test_factors import enrol, laptop, phone

OPERATOR = Actor.operator()


@pytest.fixture
async def busy(town):
    """An account with every kind of change; and a second and a deleted one."""
    admin = await town.account(cap=4)
    actor = await town.signed_in(admin)
    member = await town.member(actor, admin.account, "b@example.com")
    await town.signed_in(member)
    await enrol(Factors(town.store), actor, phone())
    await enrol(Factors(town.store), actor, laptop())
    await Factors(town.store).add(actor, phone("b"), sealed="sealed", ttl=600)
    await town.invite(actor, admin.account, "c@example.com")
    gone = await town.member(actor, admin.account, "d@example.com")
    await town.users.remove(actor, gone.id)
    await town.invite(actor, admin.account, "e@example.com", ttl=0.01)
    suspended = await town.users.change(actor, member.id, status=Status.SUSPENDED)
    assert suspended
    await town.users.raise_epoch(admin.id, 5)
    await town.account(name="Second", email="x@example.com")
    deleted = await town.account(name="Third", email="y@example.com")
    await town.accounts.delete(deleted.account, OPERATOR)
    await town.until(await town.now_ms() + 15)
    return admin, member


async def test_sound_data_is_clean(town, busy):
    report = await Fsck(town.store).run()
    assert report.findings == []
    assert report.clean
    assert (report.accounts, report.users) == (2, 3)


async def test_a_repair_keeps_an_expired_invitation_and_its_email(town, busy):
    admin, _ = busy
    home = keys.account(admin.account, town.store.partitions)
    lapsed = await town.users.find(admin.account, "e@example.com", expired=True)
    assert lapsed is not None
    await town.store.change("DEL", f"{home}:em")
    report = await Fsck(town.store).run(repair=True)
    assert report.clean
    assert await town.users.find(admin.account, "e@example.com", expired=True) == lapsed
    assert await town.users.accounts_of("e@example.com") == [admin.account]
    again = await town.invite(OPERATOR, admin.account, "e@example.com")
    assert again.member.record.id != lapsed
    assert await town.users.record(lapsed) is None
    assert (await Fsck(town.store).run()).findings == []


async def test_an_empty_store_is_clean(store):
    report = await Fsck(store).run()
    assert (report.findings, report.accounts) == ([], 0)


async def test_a_lowered_cap_is_a_note_and_no_fault(town, busy):
    admin, _ = busy
    await town.accounts.set_seats(admin.account, 1, OPERATOR)
    report = await Fsck(town.store).run()
    assert [finding.fault for finding in report.findings] == [ConsistencyFault.OVER_CAP]
    assert report.clean


BROKEN = {
    ConsistencyFault.MEMBER_WITHOUT_RECORD: ["SADD {home}:members usr_aaaaaaaaaaaa_bbbbbbbbbbbb"],
    ConsistencyFault.RECORD_WITHOUT_MEMBER: ["HSET {home}:u:usr_aaaaaaaaaaaa_bbbbbbbbbbbb st active"],
    ConsistencyFault.BAD_RECORD: ["HSET {home}:u:{member} tv 0"],
    ConsistencyFault.NO_ADMINISTRATOR: ["HSET {home}:u:{admin} role marketer", "SREM {home}:admins {admin}"],
    ConsistencyFault.ADMINISTRATORS_DIFFER: ["SADD {home}:admins {member}"],
    ConsistencyFault.EMAIL_TWICE: ["HSET {home}:u:{member} em ada@example.com", "HDEL {home}:em b@example.com"],
    ConsistencyFault.EMAIL_INDEX: ["HDEL {home}:em b@example.com"],
    ConsistencyFault.EMAIL_HINT: ["DEL {hint}"],
    ConsistencyFault.INVITATION_WITHOUT_RECORD: ["ZADD {home}:inv 9999999999999 usr_aaaaaaaaaaaa_bbbbbbbbbbbb"],
    ConsistencyFault.SESSION_WITHOUT_RECORD: ["ZADD {home}:us:{admin} 9999999999999 ses_x"],
    ConsistencyFault.PEP_WITHOUT_RECORD: ["SADD {home}:peps pep_x"],
    ConsistencyFault.NAME_INDEX: ["HDEL {names} acme"],
    ConsistencyFault.AUDIT_GAP: ["XDEL {home}:log 3-0"],
    ConsistencyFault.FEED_COUNT: ["INCR {feed}:n"],
    ConsistencyFault.LINK_WITHOUT_USER: ["HSET {home}:links a:b -usr_aaaaaaaaaaaa_bbbbbbbbbbbb"],
    ConsistencyFault.FACTOR_WITHOUT_RECORD: ["DEL {home}:f:{phone}"],
    ConsistencyFault.FACTOR_WITHOUT_USER: ["HSET {home}:f:totp_zzzzzzzzzzzzzzzz u {admin} sealed x step 1"],
    ConsistencyFault.NO_EXPIRY: ["HSET {home}:s:ses_y u x"],
}


async def break_(town, busy, fault, commands=()):
    admin, member = busy
    names = {
        "home": keys.account(admin.account, 1),
        "admin": admin.id,
        "member": member.id,
        "hint": keys.email_hint("b@example.com", 1),
        "names": keys.names(),
        "feed": keys.feed(0),
        "phone": phone(),
    }
    for command in commands or BROKEN[fault]:
        await town.store.change(*command.replace("{", "%(").replace("}", ")s").__mod__(names).split())


@pytest.mark.parametrize("fault", BROKEN)
async def test_what_is_broken_is_found_and_nothing_else(town, busy, fault):
    await break_(town, busy, fault)

    report = await Fsck(town.store).run()

    assert not report.clean
    assert {finding.fault for finding in report.findings} == {fault}


@pytest.mark.parametrize(
    ("fault", "command"),
    [
        (ConsistencyFault.FACTOR_WITHOUT_RECORD, "HSET {home}:f:{phone} u {member}"),
        (ConsistencyFault.FACTOR_WITHOUT_RECORD, "HDEL {home}:f:{phone} sealed"),
        (ConsistencyFault.FACTOR_WITHOUT_RECORD, "SADD {home}:rc:{member} 00"),
        (ConsistencyFault.BAD_RECORD, "HDEL {home}:f:{phone} step"),
        (ConsistencyFault.BAD_RECORD, "HSET {home}:factors:{admin} {phone} soon"),
        (ConsistencyFault.FACTOR_WITHOUT_USER, "HSET {home}:factors:usr_aaaaaaaaaaaa_bbbbbbbbbbbb {phone} 1"),
        (ConsistencyFault.FACTOR_WITHOUT_USER, "SADD {home}:rc:usr_aaaaaaaaaaaa_bbbbbbbbbbbb 00"),
        (ConsistencyFault.NO_EXPIRY, "HSET {home}:wc:{admin} n 1"),
        (ConsistencyFault.NO_EXPIRY, "HSET {home}:ch:n used 1"),
        (ConsistencyFault.NO_EXPIRY, "HSET {home}:fp:totp_zzzzzzzzzzzzzzzz u {admin}"),
    ],
)
async def test_keys_of_second_factors_are_checked(town, busy, fault, command):
    await break_(town, busy, fault, [command])
    report = await Fsck(town.store).run(repair=True)
    assert {finding.fault for finding in report.findings} == {fault}
    assert "sealed" not in str(report.findings)


@pytest.mark.parametrize("fault", sorted(REPAIRABLE))
async def test_an_index_is_repaired_and_the_records_are_as_before(town, busy, fault):
    admin, _ = busy
    before = await town.users.roster(admin.account)
    await break_(town, busy, fault)

    report = await Fsck(town.store).run(repair=True)

    assert [finding.fault for finding in report.repaired] == [fault]
    assert report.clean
    assert (await Fsck(town.store).run()).findings == []
    assert await town.users.roster(admin.account) == before


@pytest.mark.parametrize("fault", sorted(set(BROKEN) - REPAIRABLE))
async def test_a_record_is_never_touched(town, busy, fault):
    await break_(town, busy, fault)
    report = await Fsck(town.store).run(repair=True)
    assert fault in {finding.fault for finding in report.findings}


async def test_a_stale_hint_is_no_fault_and_is_trimmed(town, busy):
    admin, _ = busy
    hint = keys.email_hint("gone@example.com", 1)
    await town.store.change("SADD", hint, admin.account)

    assert (await Fsck(town.store).run()).findings == []
    await Fsck(town.store).run(repair=True)
    assert await town.store.command("EXISTS", hint) == 0
    assert await town.users.accounts_of("b@example.com") == [admin.account]


async def test_it_asks_of_many_keys_at_once_whether_they_end(town, monkeypatch):
    """Every change leaves one for ten minutes: a busy store has a hundred thousand."""
    admin = await town.account()
    home = keys.account(admin.account, 1)
    for number in range(1200):
        await town.store.change("SET", f"{home}:rid:{number}", "{}", *(() if number == 700 else ("EX", 60)))
    asked = []
    monkeypatch.setattr(town.store, "on_request", lambda name, _seconds: asked.append(name))
    report = await Fsck(town.store).run()
    assert [(finding.fault, finding.where) for finding in report.findings] == [
        (ConsistencyFault.NO_EXPIRY, f"{home}:rid:700")
    ]
    assert asked.count("lasting") <= 4


async def test_it_finds_nothing_while_the_data_is_in_use(town):
    admin = await town.account(cap=60)

    async def use(number):
        for turn in range(3):
            member = await town.member(OPERATOR, admin.account, f"u{number}-{turn}@example.com", role=ADMINISTRATOR)
            await town.signed_in(member)
            await town.users.remove(OPERATOR, member.id)

    using = asyncio.gather(*(use(number) for number in range(8)))
    reports = [await Fsck(town.store).run() for _ in range(4)]
    await using
    assert [report.findings for report in reports] == [[]] * 4


@pytest.mark.parametrize(
    ("field", "value"), [("by", "pin::1"), ("by", "password:1"), ("by", "totp::x"), ("at", "soon")]
)
async def test_malformed_proofs_of_a_session_are_found(town, field, value):
    actor = await town.signed_in(await town.account())
    home = keys.account(account_of(actor.user), town.store.partitions)
    await town.store.change("HSET", f"{home}:s:{actor.session}", field, value)
    (finding,) = (await Fsck(town.store).run()).findings
    assert finding.fault is ConsistencyFault.BAD_RECORD
    assert finding.detail == f"{actor.session} of {actor.user} has malformed proofs"
