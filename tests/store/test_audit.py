"""The audit: a row per change, without gaps or secrets; export, chain, signature; detection of tampering."""

import asyncio
import itertools
import json
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.store import keys
from sidecar.store.account_labels import AccountLabels
from sidecar.store.audit import SYSTEM, Audit
from sidecar.store.audit_chain import AuditRow, ChainHead, chained, checkpoint, genesis, verify
from sidecar.store.audit_export import AuditFile, AuditGapError, Exporter, anchor, exported, sealed_head
from sidecar.store.outcomes import Changed

OPERATOR = Actor.operator()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def sign(message):
    return "k1", KEY.sign(message)


def holds(kid, message, signature):
    try:
        KEY.public_key().verify(signature, message)
    except InvalidSignature:
        return False
    return kid == "k1"


async def everything(town):
    """Make one of each change; return the account's administrator and the secrets involved."""
    admin = await town.account(cap=6)
    actor = await town.signed_in(admin)
    invited = await town.invite(actor, admin.account, "b@example.com", digest="SECRET-1")
    uid = invited.member.record.id
    await town.invitations.resend(actor, uid, digest="SECRET-2", ttl=60)
    await town.invitations.accept(
        uid, digest="SECRET-2", password_hash="SECRET-3", name="Bea", session=town.session(address="192.0.2.5")
    )
    await town.users.change(actor, uid, role="developer")
    await town.users.change(actor, uid, status=Status.SUSPENDED)
    await town.users.change(actor, uid, status=Status.ACTIVE)
    member = await town.users.record(uid)
    self_ = await town.signed_in(member)
    await town.users.change_password(uid, expected_epoch=1, password_hash="SECRET-4", session=None, actor=self_)
    await town.users.sign_out_everywhere(uid, actor)
    await town.users.raise_epoch(uid, 9)
    other = await town.signed_in(await town.users.record(uid))
    await town.sessions.rotate(uid, other.session, 0, ttl=60)
    await town.sessions.step_up(other, NewProof(Method.TOTP, "fac_1"))
    await town.sessions.end(uid, [other.session], other)
    await town.users.remove(actor, uid)
    gone = await town.invite(actor, admin.account, "c@example.com", digest="SECRET-5")
    await town.users.remove(actor, gone.member.record.id)
    await town.accounts.set_seats(admin.account, 9, OPERATOR)
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    await AccountLabels(town.store).change(admin.account, {"plan": "pro"}, OPERATOR)
    return admin, actor, uid


async def test_R32_each_change_has_a_row_without_gaps_or_secrets(town):
    admin, _, uid = await everything(town)

    page = await Audit(town.store).page(admin.account, limit=500)

    rows = page.rows[::-1]
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert page.next is None
    assert [row.action for row in rows] == [
        "account.created",
        "user.created",
        "session.opened",
        "user.invited",
        "invitation.resent",
        "invitation.accepted",
        "user.changed",
        "user.changed",
        "user.changed",
        "session.opened",
        "user.password",
        "user.signed_out",
        "user.epoch_raised",
        "session.opened",
        "session.stepped_up",
        "session.ended",
        "user.removed",
        "user.invited",
        "invitation.revoked",
        "account.seats",
        "account.status",
        "account.labels",
    ]
    assert "SECRET" not in str(rows)
    assert "hash-" not in str(rows)
    role = rows[6]
    assert (role.actor, role.target, role.address, role.request_id) == (admin.id, uid, "192.0.2.1", "req-1")
    assert (role.before["role"], role.after["role"]) == ("marketer", "developer")
    assert (rows[5].actor, rows[5].address) == (uid, "192.0.2.5")
    assert (rows[16].before["email"], rows[16].after) == ("b@example.com", None)
    assert (rows[19].actor, rows[19].before, rows[19].after) == ("", {"cap": "6"}, {"cap": "9"})
    assert sorted(row.at for row in rows) == [row.at for row in rows]


async def test_what_is_refused_or_changes_nothing_has_no_row(town):
    admin = await town.account(cap=1)
    before = (await Audit(town.store).page(admin.account)).rows
    await town.invite(OPERATOR, admin.account, "b@example.com")
    await town.users.change(OPERATOR, admin.id, role=ADMINISTRATOR)
    await town.users.remove(OPERATOR, admin.id)

    assert (await Audit(town.store).page(admin.account)).rows == before


async def test_pages_go_from_the_newest_to_the_oldest(town):
    admin = await town.account()
    for number in range(10):
        await town.users.change(OPERATOR, admin.id, name=f"N{number}")
    audit, seen, after = Audit(town.store), [], None
    for _ in range(10):
        page = await audit.page(admin.account, after=after, limit=5)
        seen += [row.seq for row in page.rows]
        after = page.next
        if after is None:
            break

    assert seen == list(range(12, 0, -1))
    assert (await audit.page(admin.account, after=1)).rows == ()
    assert len((await audit.page(admin.account, limit=0)).rows) == 1


async def test_what_belongs_to_no_account_is_noted(town):
    audit = Audit(town.store)
    assert (
        await audit.note("keys.rotated", OPERATOR, target="kid-2", before={"kid": "kid-1"}, after={"kid": "kid-2"}) == 1
    )
    assert await audit.note("store.backup", OPERATOR) == 2

    newest, first = (await audit.page(SYSTEM)).rows
    assert (newest.action, newest.before, newest.address) == ("store.backup", None, "cli")
    assert (first.action, first.target, first.before, first.after) == (
        "keys.rotated",
        "kid-2",
        {"kid": "kid-1"},
        {"kid": "kid-2"},
    )


# Export ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path):
    return AuditFile(tmp_path / "audit" / "audit.jsonl")


def exporter(town, sink, name="one", **more):
    return Exporter(town.store, sink, id=name, sign=sign, **more)


def lines(log):
    return log.path.read_bytes().splitlines()


async def test_R32_what_is_exported_is_chained_and_signed_and_holds(town, log):
    admin, *_ = await everything(town)
    await Audit(town.store).note("keys.rotated", OPERATOR)
    one = exporter(town, log)

    assert await one.export() == 23
    assert await one.export() == 0
    await town.accounts.set_status(admin.account, Status.ACTIVE, OPERATOR)
    assert await one.export() == 1

    found = verify(lines(log), signature_holds=holds)
    assert not found.faults
    assert (found.rows, found.checkpoints) == (24, 2)
    assert found.heads[admin.account] == await sealed_head(town.store, admin.account)
    assert log.path.stat().st_mode & 0o777 == 0o600


async def test_R32_only_exported_rows_are_trimmed_and_others_verify(town, log, monkeypatch):
    monkeypatch.setattr("sidecar.store.audit_export.BATCH", 4)
    admin = await town.account()
    for number in range(30):
        await town.users.change(OPERATOR, admin.id, name=f"N{number}")
    assert len(await town.audit(admin.account)) == 32

    await exporter(town, log, keep=10).export()

    kept = await town.audit(admin.account)
    assert 10 <= len(kept) < 14
    assert kept[-1]["id"] == "32-0"
    start = await anchor(town.store, admin.account)
    assert start.seq == int(kept[0]["id"].partition("-")[0]) - 1
    rest = [line async for line in exported(town.store, admin.account)]
    found = verify(rest, signature_holds=holds, anchors={admin.account: start})
    assert not found.faults
    assert found.heads[admin.account] == await sealed_head(town.store, admin.account)
    assert not verify(lines(log), signature_holds=holds).faults


async def test_R32_one_exporter_at_a_time_and_never_two_seals(town, log):
    admin = await town.account()
    one, two = exporter(town, log), exporter(town, log, "two")

    assert await one.export() == 2
    await town.users.change(OPERATOR, admin.id, name="New")
    assert await two.export() == 0  # the lease is the other's
    await town.store.change("DEL", f"sc:{keys.tag(0)}:exporter")
    assert await two.export() == 1
    assert not verify(lines(log), signature_holds=holds).faults


async def test_R32_no_sidecar_calls_the_audit_exported_while_all_fail(town, log):
    """A sink for all: the sidecar that finds the lease taken has no export to report either."""

    class Full:
        async def write(self, lines: bytes) -> None:
            assert await two.export() == 0, "the lease is the other's"
            assert not await two.is_complete()
            raise OSError("full")

    two = exporter(town, log, "two")
    await town.account()
    with pytest.raises(OSError, match="full"):
        await Exporter(town.store, Full(), id="one", sign=sign).export()
    assert not await two.is_complete()
    assert await exporter(town, log).export() == 2
    assert await two.is_complete()


async def test_R32_an_exporter_killed_before_sealing_rewrites_the_same(town, log, monkeypatch):
    await town.account()
    one = exporter(town, log)

    async def died(*_):
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(one, "_seal", died)
        with pytest.raises(asyncio.CancelledError):
            await one.export()
    await one.export()

    found = verify(lines(log), signature_holds=holds)
    assert not found.faults
    assert found.rows == 2
    assert len(lines(log)) == 5


async def test_R32_a_disk_that_is_full_seals_nothing(town):
    admin = await town.account()

    class Full:
        async def write(self, lines):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="space"):
        await exporter(town, Full()).export()
    assert await sealed_head(town.store, admin.account) == genesis(admin.account)
    assert len(await town.audit(admin.account)) == 2


async def test_R32_a_row_taken_from_the_store_is_noticed(town, log):
    admin = await town.account()
    await town.users.change(OPERATOR, admin.id, name="New")
    await town.store.change("XDEL", f"{keys.account(admin.account, 1)}:log", "2-0")

    with pytest.raises(AuditGapError, match="no row 2"):
        await exporter(town, log).export()


async def test_the_exporter_goes_on_after_a_problem(town, log):
    problems = []

    class Flaky:
        async def write(self, lines):
            if not problems:
                raise OSError("once")
            await log.write(lines)

    await town.account()
    task = asyncio.create_task(exporter(town, Flaky(), on_problem=problems.append).run(interval=0))
    while not log.path.exists():
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [str(problem) for problem in problems] == ["once"]


# Tampering ------------------------------------------------------------------------------------------------------------


def row(number, **more):
    fields = {"at": 1, "action": "x", "actor": "", "target": "", "before": None, "after": {"n": number}, "address": ""}
    return AuditRow(seq=number, request_id="", **{**fields, **more})


def a_log(count=6, log="acc_a"):
    head, made = genesis(log), []
    for number in range(1, count + 1):
        line, head = chained(log, head, row(number))
        made.append(line)
    made.append(checkpoint({log: head}, at=5, sign=sign))
    return made


def test_R32_an_untouched_log_holds():
    found = verify(a_log(), signature_holds=holds)
    assert (found.faults, found.rows, found.checkpoints) == ([], 6, 1)


def changed(line, **more):
    return json.dumps({**json.loads(line), **more}).encode()


TAMPERED = {
    "a row changed": (lambda log: [*log[:2], changed(log[2], actor="usr_x"), *log[3:]], "was changed"),
    "a row dropped": (lambda log: [*log[:2], *log[3:]], "rows 3 to 3 are missing"),
    "the first rows dropped": (lambda log: log[2:], "rows 1 to 2 are missing"),
    "the end cut off before a checkpoint": (lambda log: [*log[:4], log[6]], "signed rows up to here are missing"),
    "a checkpoint forged": (lambda log: [*log[:6], changed(log[6], at=6)], "is invalid"),
    "another key named": (lambda log: [*log[:6], changed(log[6], kid="k2")], "is invalid"),
    "a signature of no form": (lambda log: [*log[:6], changed(log[6], signature="%%")], "is invalid"),
    "a line that is none": (lambda log: [*log[:3], b"{", *log[3:]], "not JSON"),
    "a list": (lambda log: [*log[:3], b"[]", *log[3:]], "not an object"),
    "something else": (lambda log: [*log[:3], b'{"log":"acc_a"}', *log[3:]], "not a row"),
    "an older row put in again, changed": (
        lambda log: [*log[:4], chained("acc_a", genesis("acc_a"), row(1, actor="usr_x"))[0], *log[4:]],
        "is another row with the same number",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_R32_tampering_is_found(name):
    tamper, says = TAMPERED[name]
    found = verify(tamper(a_log()), signature_holds=holds)
    assert found.faults
    assert any(says in fault.detail for fault in found.faults), found.faults


UNTOUCHED = {
    "rows swapped": (lambda log: [log[0], log[2], log[1], *log[3:]], 0),
    "the last line first": (lambda log: log[::-1], 0),
    "a batch sent twice": (lambda log: [*log[:4], *log[2:]], 2),
    "overlapping files": (lambda log: [*log[3:], *log[:5], *log], 8),
    "the checkpoint twice": (lambda log: [*log, log[6]], 0),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_R32_order_and_copies_are_no_faults(name):
    arrange, repeated = UNTOUCHED[name]
    found = verify(arrange(a_log()), signature_holds=holds)
    assert (found.faults, found.rows, found.repeated) == ([], 6, repeated)


def test_R32_any_set_of_parts_is_judged_by_its_rows():
    chance = random.Random(32)
    whole = a_log(40)
    for _ in range(200):
        parts = [(start := chance.randrange(40), chance.randint(start + 1, 41)) for _ in range(chance.randint(1, 6))]
        lines = [line for start, end in parts for line in chance.sample(whole[start:end], end - start)]
        there = {json.loads(line).get("seq") for line in lines} - {None}
        last = max(there)
        signed = whole[40] in lines and last < 40
        found = verify(lines, signature_holds=holds)
        assert (found.rows, found.rows + found.repeated) == (len(there), len(lines) - lines.count(whole[40]))
        missing = {number for fault in found.faults for number in gap(fault.detail)}
        assert missing == set(range(1, last)) - there
        assert signed == any("signed rows" in fault.detail for fault in found.faults)


def gap(detail):
    words = detail.split()
    return range(int(words[1]), int(words[3]) + 1) if words[-1] == "missing" and words[0] == "rows" else ()


def test_R32_a_checkpoint_reveals_a_rewritten_log():
    head, forged = genesis("acc_a"), []
    for number in range(1, 7):
        line, head = chained("acc_a", head, row(number, actor="usr_x" if number > 3 else ""))
        forged.append(line)
    found = verify([*forged, a_log()[6]], signature_holds=holds)
    assert [fault.detail for fault in found.faults] == ["differs from the signed row"]


def test_logs_are_chained_each_by_itself():
    mixed = [line for pair in itertools.zip_longest(a_log(4, "acc_a"), a_log(4, "acc_b")) for line in pair]
    found = verify(mixed, signature_holds=holds)
    assert not found.faults
    assert found.heads["acc_a"] != found.heads["acc_b"]
    assert genesis("acc_a") != genesis("acc_b")
    assert verify([], signature_holds=holds, anchors={"acc_a": ChainHead(3, "x")}).heads == {"acc_a": ChainHead(3, "x")}


async def test_a_change_leaves_one_row_however_often_it_is_retried(town, monkeypatch):
    admin = await town.account()
    monkeypatch.setattr(town.store, "request_id", lambda: "the-same")
    first = await town.users.sign_out_everywhere(admin.id, OPERATOR)
    again = await town.users.sign_out_everywhere(admin.id, OPERATOR)

    assert isinstance(first, Changed)
    assert first == again
    assert [entry["action"] for entry in await town.audit(admin.account)].count("user.signed_out") == 1
