"""Labels of accounts: bounded, audited, and in every record of the account at the next read."""

import pytest

from sidecar.domain.labels import MAX_LABELS
from sidecar.domain.users import Actor, Status
from sidecar.store.account_labels import AccountLabels, LabelsDiffer, LabelsSet, LabelsUnchanged, TooManyLabels
from sidecar.store.integrity.feed_entries import change_of
from sidecar.store.live.change_feed import FeedReset
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.maintenance.backup import Backup
from sidecar.store.outcomes import ActorChanged, NoAccount
from sidecar.tokens.ids import new_account_id

OPERATOR = Actor.operator()


async def change(town, account, actor=OPERATOR, **labels):
    return await AccountLabels(town.store).change(account, labels, actor)


async def test_labels_are_set_replaced_and_removed(town):
    admin = await town.account()
    assert admin.labels == {}
    done = await change(town, admin.account, plan="pro", region="eu")
    assert isinstance(done, LabelsSet)
    assert done.account.labels == {"plan": "pro", "region": "eu"}
    assert (await change(town, admin.account, plan="free")).account.labels == {"plan": "free", "region": "eu"}
    assert (await change(town, admin.account, plan="", gone="")).account.labels == {"region": "eu"}
    assert (await change(town, admin.account, region="")).account.labels == {}
    assert (await town.accounts.find(admin.account)).labels == {}


async def test_labels_other_than_the_expected_ones_are_left(town):
    admin = await town.account()
    await change(town, admin.account, plan="pro")
    labels = AccountLabels(town.store)
    assert await labels.change(admin.account, {"plan": ""}, OPERATOR, expected={}) == LabelsDiffer()
    assert (await town.accounts.find(admin.account)).labels == {"plan": "pro"}
    done = await labels.change(admin.account, {"plan": ""}, OPERATOR, expected={"plan": "pro"})
    assert isinstance(done, LabelsSet)
    assert done.account.labels == {}


async def test_every_record_of_the_account_holds_them(town):
    admin = await town.account()
    bob = await town.member(OPERATOR, admin.account, "b@example.com")
    invited = (await town.invite(OPERATOR, admin.account, "c@example.com")).member.record
    other = await town.account("Other", email="x@example.com")
    await change(town, admin.account, plan="pro")
    for uid in (admin.id, bob.id, invited.id):
        assert (await town.users.record(uid)).labels == {"plan": "pro"}
    assert {member.record.labels["plan"] for member in (await town.users.roster(admin.account)).members} == {"pro"}
    assert (await town.users.record(other.id)).labels == {}


async def test_R31_a_change_is_one_acknowledged_event(town):
    admin = await town.account()
    done = await change(town, admin.account, plan="pro")
    event = (await town.feed())[-1]
    assert (event["n"], event["k"], event["a"], event["ack"]) == (str(done.position.n), "account", admin.account, "1")
    feed = len(await town.feed())
    same = await change(town, admin.account, plan="pro", other="")
    assert isinstance(same, LabelsUnchanged)
    assert (same.account.labels, same.position.n) == ({"plan": "pro"}, done.position.n)
    assert len(await town.feed()) == feed


async def test_a_copy_is_dropped_with_the_change(town, clock):
    admin = await town.account()
    records = RecordCache(town.store, lease=1.0, clock=clock.monotonic)
    records.flush(FeedReset(0, int((await town.feed())[-1]["n"]), new_data_set=False))
    records.registered(0, clock.monotonic())
    records.on_heartbeat(0, clock.monotonic())
    assert (await records.read(admin.id)).labels == {}
    assert records.peek(admin.id) is not None
    await change(town, admin.account, plan="pro")
    records.apply(0, change_of((await town.feed())[-1]))
    assert records.peek(admin.id) is None
    assert (await records.read(admin.id)).labels == {"plan": "pro"}
    assert records.peek(admin.id).labels == {"plan": "pro"}


async def test_the_audit_has_both_states(town):
    admin = await town.account()
    await change(town, admin.account, plan="pro")
    await change(town, admin.account, plan="", region="eu")
    rows = [
        (row["before"], row["after"]) for row in await town.audit(admin.account) if row["action"] == "account.labels"
    ]
    assert rows == [
        ('{"labels":""}', '{"labels":"plan=pro"}'),
        ('{"labels":"plan=pro"}', '{"labels":"region=eu"}'),
    ]


async def test_the_number_of_labels_is_bounded(town):
    admin = await town.account()
    many = {f"l{number}": "x" for number in range(MAX_LABELS)}
    assert isinstance(await change(town, admin.account, **many), LabelsSet)
    assert await change(town, admin.account, more="x") == TooManyLabels()
    assert len((await change(town, admin.account, more="x", l0="")).account.labels) == MAX_LABELS


@pytest.mark.parametrize(("name", "value"), [("Plan", "pro"), ("", "x"), ("a b", "x"), ("a", "x y"), ("a", "x" * 41)])
async def test_a_malformed_label_is_an_error(town, name, value):
    admin = await town.account()
    with pytest.raises(ValueError, match="1 to 40"):
        await AccountLabels(town.store).change(admin.account, {"plan": "pro", name: value}, OPERATOR)
    assert (await town.accounts.find(admin.account)).labels == {}


async def test_a_gone_account_and_a_gone_actor_are_refused(town):
    admin = await town.account()
    actor = await town.signed_in(admin)
    await town.users.sign_out_everywhere(admin.id, OPERATOR)
    assert await change(town, admin.account, actor, plan="pro") == ActorChanged()
    assert await change(town, new_account_id(b"x" * 17), plan="pro") == NoAccount()
    await town.accounts.delete(admin.account, OPERATOR)
    assert await change(town, admin.account, plan="pro") == NoAccount()


async def test_labels_survive_a_suspension_and_a_restore(town, tmp_path):
    admin = await town.account()
    await change(town, admin.account, plan="pro", region="eu")
    await town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR)
    assert (await town.users.record(admin.id)).labels == {"plan": "pro", "region": "eu"}
    await town.accounts.set_status(admin.account, Status.ACTIVE, OPERATOR)
    await Backup(town.store).save(tmp_path / "backup")
    await change(town, admin.account, plan="", region="", other="1")
    await Backup(town.store).load(tmp_path / "backup")
    assert (await town.users.record(admin.id)).labels == {"plan": "pro", "region": "eu"}
