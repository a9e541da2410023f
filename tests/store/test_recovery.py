"""R48: acknowledged changes that the store lost stay in force. Older states replace the store's content, under sidecars
that know the lost changes wholly, in part or not at all, and before a restart.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from sidecar.domain.peps import PepId, Scope
from sidecar.domain.users import ADMINISTRATOR, Actor, Status, UserId, UserRecord
from sidecar.sources.journal_file import JournalFile
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.integrity.data_set import code_of
from sidecar.store.integrity.journal import Journal
from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.integrity.recovering import PartitionRecovery, read_lost
from sidecar.store.integrity.recovery import RecoveryTask
from sidecar.store.live.replica import RecordReplica
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.outcomes import Changed, LastAdmin, NotHeld
from sidecar.store.peps import Peps
from sidecar.tokens.opaque import Pepper
from tests.store.older_state import commands, put_back

pytestmark = pytest.mark.slow

LEASE = 0.2
OPERATOR = Actor.operator()
SEAL = partial(code_of, Pepper(b"p" * 32))


async def eventually(happens, seconds=30.0):
    deadline = time.monotonic() + seconds
    while True:
        found = happens()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"it did not happen in time: {[one.reason for one in Sidecar.made]}"
        await asyncio.sleep(0.01)


@dataclass
class Sidecar:
    """A live copy, as a serving process has it. ``folder``: its state directory."""

    store: object
    folder: Path
    name: str
    live: RecordReplica = field(init=False)
    task: asyncio.Task | None = None
    made: ClassVar[list] = []

    async def start(self, *, ready=True):
        journal = JournalFile(self.folder / self.name)
        self.live = RecordReplica(
            self.store, id=self.name, lease=LEASE, clock=time.monotonic, seal=SEAL, journal=journal
        )
        self.live.close_until_proven()
        self.task = asyncio.create_task(self.live.run())
        Sidecar.made.append(self)
        if ready:
            await eventually(lambda: self.state is PartitionState.OK and self.live.journal.position(0))
            await eventually(lambda: self.live.journal.start(0) is None)
        return self

    async def stop(self):
        if self.task:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        self.task = None

    @property
    def state(self) -> PartitionState:
        return self.live.states.status(0).state

    @property
    def reason(self) -> str:
        return self.live.states.status(0).reason

    async def read(self, uid: UserId) -> UserRecord | str | None:
        """Return the record as a check reads it, or the reason why it is unknown."""
        try:
            return self.live.records.peek(uid) or await self.live.records.read(uid)
        except StoreUnavailableError:
            return "store_unavailable"

    async def held(self, uid: UserId) -> bool:
        record = await self.read(uid)
        return isinstance(record, UserRecord) and record.review is not None

    async def serves(self, uid: UserId) -> bool:
        return isinstance(await self.read(uid), UserRecord)


@pytest.fixture
async def sidecar(town, tmp_path) -> AsyncIterator[Callable[..., Sidecar]]:
    made = []

    async def start(name="a", **how):
        made.append(Sidecar(town.store, tmp_path, name))
        return await made[-1].start(**how)

    Sidecar.made.clear()
    yield start
    for one in made:
        await one.stop()


@dataclass
class Scene:
    """An administrator, and a marketer whose role an acknowledged change may set to accountant."""

    town: object
    ada: UserRecord
    bob: UserRecord

    async def lose(self, change, *, after=0):
        """Make the change, and restore the state before it, with ``after`` unrelated changes on top."""
        kept = await commands(self.town.store)
        await change()
        await self.settle()
        await put_back(self.town.store, kept)
        for number in range(after):
            await self.town.users.change(OPERATOR, self.ada.id, name=f"Ada {number}")

    async def settle(self):
        """Wait until an acknowledged change was applied by every sidecar."""
        n = int(await self.town.store.client.get("sc:{p00}:feed:n") or 0)
        running = [one for one in Sidecar.made if one.task]

        def applied() -> bool:
            positions = [one.live.journal.position(0) for one in running if one.state is PartitionState.OK]
            return len(positions) == len(running) and all(at is not None and at.n >= n for at in positions)

        await eventually(applied)


@pytest.fixture
async def scene(town) -> Scene:
    ada = await town.account(cap=20)
    bob = await town.member(OPERATOR, ada.account, "bob@example.com", role="accountant")
    return Scene(town, ada, bob)


def changes(scene):
    town, bob = scene.town, scene.bob
    return {
        "role": lambda: town.users.change(OPERATOR, bob.id, role="marketer"),
        "suspension": lambda: town.users.change(OPERATOR, bob.id, status=Status.SUSPENDED),
        "removal": lambda: town.users.remove(OPERATOR, bob.id),
        "epoch": lambda: town.users.sign_out_everywhere(bob.id, OPERATOR),
    }


BEFORE = {
    "role": ("marketer", "accountant", "active", "active"),
    "suspension": ("accountant", "accountant", "suspended", "active"),
    "removal": ("accountant", "accountant", "removed", "active"),
    "epoch": ("accountant", "accountant", "active", "active"),
}


@pytest.mark.parametrize("after", [0, 1, 7], ids=["no change after", "one change after", "more changes than lost"])
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("kind", list(BEFORE))
async def test_R48_a_user_whose_change_was_lost_is_held(scene, sidecar, kind, restarted, after):
    one = await sidecar()
    assert isinstance(await one.read(scene.bob.id), UserRecord)
    if restarted:
        kept = await commands(scene.town.store)
        await changes(scene)[kind]()
        await scene.settle()
        await one.stop()
        await put_back(scene.town.store, kept)
        for number in range(after):
            await scene.town.users.change(OPERATOR, scene.ada.id, name=f"Ada {number}")
        one = await sidecar(ready=False)
    else:
        await scene.lose(changes(scene)[kind], after=after)

    allowed_until = time.monotonic() + (0 if restarted else LEASE + 0.5)

    async def back():
        record = await one.read(scene.bob.id)
        if time.monotonic() > allowed_until and isinstance(record, UserRecord):
            assert record.review is not None, "an allow that the acknowledged state would deny"
        return one.state is PartitionState.OK and isinstance(record, UserRecord)

    await eventually(back)
    review = (await one.read(scene.bob.id)).review
    found = (review.role_before, review.role_now, review.status_before, review.status_now)
    assert found == BEFORE[kind]
    ada = await eventually(lambda: one.read(scene.ada.id))
    assert ada.review is None
    assert ada.epoch == scene.ada.epoch + 1
    assert [finding for finding in (await Fsck(scene.town.store).run()).findings if not finding.is_note] == []


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_R48_a_lost_password_change_is_a_reset(scene, sidecar, restarted):
    one = await sidecar()
    town, bob = scene.town, scene.bob
    kept = await commands(town.store)
    await town.users.change_password(bob.id, expected_epoch=1, password_hash="new", session=None, actor=OPERATOR)
    await scene.settle()
    if restarted:
        await one.stop()
    await put_back(town.store, kept)
    if restarted:
        one = await sidecar(ready=False)

    await eventually(lambda: one.state is PartitionState.OK and one.live.journal.position(0).ancestors)
    found = await town.users.credentials_of(bob.id)
    assert found.reset_required
    assert found.record.epoch == 3
    assert found.record.review is None
    assert not (await town.users.credentials_of(scene.ada.id)).reset_required


async def test_R48_every_session_ends_and_no_token_of_before_passes(scene, sidecar):
    one = await sidecar()
    await scene.town.signed_in(scene.ada)
    await scene.lose(changes(scene)["role"])
    await eventually(lambda: one.held(scene.bob.id))
    ada = await one.read(scene.ada.id)
    assert (dict(ada.sessions), ada.epoch) == ({}, 2)


async def test_R48_a_key_that_was_revoked_is_revoked_again(scene, sidecar):
    peps = Peps(scene.town.store)
    pep = PepId(f"pep_{scene.ada.account[4:]}_{'k' * 12}")
    await peps.create(OPERATOR, pep, name="k", scopes=frozenset({Scope.EVALUATE}), digest="d", ttl=60, rate=10)
    one = await sidecar()
    await scene.lose(lambda: peps.revoke(OPERATOR, pep))
    await eventually(lambda: one.state is PartitionState.REGRESSED)
    await eventually(lambda: one.state is PartitionState.OK)
    assert await peps.listing(scene.ada.account) == []


@pytest.mark.parametrize("status", [Status.SUSPENDED, "deleted"])
async def test_R48_members_of_a_suspended_or_deleted_account_are_held(scene, sidecar, status):
    one = await sidecar()
    accounts = scene.town.accounts
    if status == "deleted":
        await scene.lose(lambda: accounts.delete(scene.ada.account, OPERATOR))
    else:
        await scene.lose(lambda: accounts.set_status(scene.ada.account, Status.SUSPENDED, OPERATOR))
    await eventually(lambda: one.held(scene.bob.id))
    assert await one.held(scene.ada.id)
    wanted = "removed" if status == "deleted" else "suspended"
    assert (await one.read(scene.bob.id)).review.status_before == wanted


async def test_R48_a_lost_suspension_counts_despite_later_seats(scene, sidecar):
    one = await sidecar()

    async def suspended_with_more_seats():
        await scene.town.accounts.set_status(scene.ada.account, Status.SUSPENDED, OPERATOR)
        await scene.town.accounts.set_seats(scene.ada.account, 9, OPERATOR)

    await scene.lose(suspended_with_more_seats)
    await eventually(lambda: one.held(scene.bob.id))
    assert (await one.read(scene.bob.id)).review.status_before == "suspended"


async def test_R48_what_came_back_to_what_it_was_holds_nobody(scene, sidecar):
    one = await sidecar()

    async def there_and_back():
        await scene.town.users.change(OPERATOR, scene.bob.id, role="marketer")
        await scene.town.users.change(OPERATOR, scene.bob.id, role="accountant")

    await scene.lose(there_and_back)
    await eventually(lambda: one.state is PartitionState.REGRESSED)
    await eventually(lambda: one.state is PartitionState.OK)
    assert (await one.read(scene.bob.id)).review is None


async def test_R48_an_invitation_with_a_lost_change_cannot_be_accepted(scene, sidecar):
    town = scene.town
    invited = (await town.invite(OPERATOR, scene.ada.account, "eve@example.com", role=ADMINISTRATOR)).member.record
    one = await sidecar()
    await scene.lose(lambda: town.users.remove(OPERATOR, invited.id))
    await eventually(lambda: one.held(invited.id))
    accept = partial(
        town.invitations.accept,
        invited.id,
        digest="digest-eve@example.com",
        password_hash="h",
        name=None,
        session=None,
    )
    assert type(await accept()).__name__ == "InvitationGone"
    reviewed = await town.users.review(OPERATOR, invited.id, role=ADMINISTRATOR, status=Status.ACTIVE)
    assert isinstance(reviewed, Changed)
    assert type(await accept()).__name__ == "Accepted"


async def test_R48_a_user_with_a_lost_acceptance_is_held_as_invited(scene, sidecar):
    """The invitation has no epoch, which the user had: its record is not older data for ever."""
    town = scene.town
    invited = (await town.invite(OPERATOR, scene.ada.account, "eve@example.com", role="developer")).member.record
    one = await sidecar()
    accept = partial(
        town.invitations.accept,
        invited.id,
        digest="digest-eve@example.com",
        password_hash="h",
        name=None,
        session=None,
    )

    async def joins():
        assert type(await accept()).__name__ == "Accepted"
        await eventually(lambda: one.serves(invited.id))

    await scene.lose(joins)
    await eventually(lambda: one.held(invited.id))
    review = (await one.read(invited.id)).review
    assert (review.status_before, review.status_now) == ("active", "invited")
    reviewed = await town.users.review(OPERATOR, invited.id, role="developer", status=Status.ACTIVE)
    assert isinstance(reviewed, Changed)
    assert type(await accept()).__name__ == "Accepted"
    await eventually(lambda: active(one, invited.id))


async def active(sidecar, uid):
    record = await sidecar.read(uid)
    return isinstance(record, UserRecord) and record.status is Status.ACTIVE


async def test_R48_the_same_older_state_again_after_the_recovery(scene, sidecar):
    """A server without an append-only file starts with the same dump at each restart."""
    one = await sidecar()
    kept = await commands(scene.town.store)
    for role in ("marketer", "developer"):
        await scene.town.users.change(OPERATOR, scene.bob.id, role=role)
        await scene.settle()
        epoch = (await scene.town.users.record(scene.bob.id)).epoch
        await put_back(scene.town.store, kept)
        await eventually(lambda: one.state is PartitionState.REGRESSED)
        await eventually(lambda: one.state is PartitionState.OK)
        assert (await one.read(scene.bob.id)).review.role_before == role
        assert (await one.read(scene.bob.id)).epoch > epoch
        if role == "marketer":
            reviewed = await scene.town.users.review(OPERATOR, scene.bob.id, role="accountant", status=Status.ACTIVE)
            assert isinstance(reviewed, Changed)
            await scene.settle()


async def test_R48_the_same_older_state_again_before_a_restart(scene, sidecar):
    one = await sidecar()
    kept = await commands(scene.town.store)
    await changes(scene)["removal"]()
    await scene.settle()
    await put_back(scene.town.store, kept)
    await eventually(lambda: one.held(scene.bob.id))
    await eventually(lambda: one.live.journal.position(0).ancestors)
    await scene.settle()
    await one.stop()
    await put_back(scene.town.store, kept)
    one = await sidecar(ready=False)
    await eventually(lambda: one.held(scene.bob.id))


async def test_R48_a_known_recovery_is_not_reported_as_a_loss(scene, sidecar, monkeypatch):
    """The feed follows the recovered store before the state is reported and the journal has read the feed."""
    one = await sidecar()
    monkeypatch.setattr(Journal, "read_back", lambda _self: asyncio.sleep(0))
    await scene.lose(changes(scene)["role"])
    await eventually(lambda: one.held(scene.bob.id))
    assert one.live.journal.marks(0)[-1].n < one.live.journal.position(0).n
    await one.stop()
    one.live.states.report(0, PartitionState.REGRESSED, "not up to date")
    recovery = RecoveryTask(scene.town.store, one.live.journal, one.live.states, id="a", lease=LEASE, seal=SEAL)
    await recovery.turn()
    assert await read_lost(scene.town.store, 0) is None


@pytest.mark.parametrize("kind", list(BEFORE))
async def test_R48_a_loss_before_the_feed_was_read_back_is_known(scene, sidecar, monkeypatch, kind):
    """The entry after which the feed is followed is evidence too: the store kept it, and lost what came after it."""
    monkeypatch.setattr(Journal, "read_back", lambda _self: asyncio.sleep(0))
    one = await sidecar(ready=False)
    await eventually(lambda: one.state is PartitionState.OK and one.live.journal.position(0))
    await scene.lose(changes(scene)[kind])
    await eventually(lambda: one.held(scene.bob.id))


async def test_R48_of_two_sidecars_one_knows_more(scene, sidecar):
    """The other was stopped before the change: its store went back to a state that it knows."""
    one, two = await sidecar("a"), await sidecar("b")
    await two.stop()
    await scene.lose(changes(scene)["role"])
    await eventually(lambda: one.state is PartitionState.REGRESSED)
    late = await sidecar("c", ready=False)
    await eventually(lambda: one.held(scene.bob.id))
    await eventually(lambda: late.held(scene.bob.id))
    two = await sidecar("b", ready=False)
    await eventually(lambda: two.held(scene.bob.id))
    await eventually(lambda: one.state is two.state is late.state is PartitionState.OK)


async def test_R48_a_sidecar_that_starts_meanwhile_waits(scene, sidecar, monkeypatch):
    monkeypatch.setattr(PartitionRecovery, "leads", lambda _self, _partition: asyncio.sleep(0, result=False))
    one = await sidecar("a")
    await scene.lose(changes(scene)["role"])
    await eventually(lambda: read_lost(scene.town.store, 0))
    late = await sidecar("late", ready=False)
    await eventually(lambda: late.state is PartitionState.RECOVERING)
    assert await late.read(scene.bob.id) == await one.read(scene.bob.id) == "store_unavailable"
    monkeypatch.undo()
    await eventually(lambda: late.held(scene.bob.id))
    await eventually(lambda: one.state is PartitionState.OK)


async def test_R48_a_starting_sidecar_completes_an_abandoned_recovery(scene, sidecar, monkeypatch):
    monkeypatch.setattr(PartitionRecovery, "leads", lambda _self, _partition: asyncio.sleep(0, result=False))
    one = await sidecar("a")
    await scene.lose(changes(scene)["role"])
    await eventually(lambda: read_lost(scene.town.store, 0))
    await one.stop()
    monkeypatch.undo()
    late = await sidecar("late", ready=False)
    await eventually(lambda: late.held(scene.bob.id))


async def gap(scene, sidecar, change=None):
    """A sidecar that knows the end of the lost changes, and not their beginning."""
    one = await sidecar("a")
    kept = await commands(scene.town.store)
    await (change or changes(scene)["role"])()
    await scene.settle()
    await one.stop()
    await scene.town.store.client.xtrim("sc:{p00}:feed", maxlen=0, approximate=False)
    late = await sidecar("late")
    await scene.town.users.change(OPERATOR, scene.ada.id, name="Ada L.")
    await scene.settle()
    await put_back(scene.town.store, kept)
    return late


async def test_R48_a_partition_is_closed_while_a_loss_is_unknown(scene, sidecar):
    late = await gap(scene, sidecar)
    await eventually(lambda: "fsck --accept-loss" in late.reason)
    await asyncio.sleep(4 * LEASE)
    assert late.state is PartitionState.REGRESSED
    assert await late.read(scene.bob.id) == "store_unavailable"


async def test_R48_a_sidecar_that_was_away_completes_what_is_known(scene, sidecar):
    late = await gap(scene, sidecar)
    await eventually(lambda: "fsck --accept-loss" in late.reason)
    one = Sidecar(scene.town.store, late.folder, "a")
    try:
        await one.start(ready=False)
        await eventually(lambda: late.state is PartitionState.OK)
    finally:
        await one.stop()


@pytest.mark.parametrize("everyone", [False, True], ids=["hold-known", "hold-all"])
async def test_R48_an_accepted_loss_opens_the_partition(scene, sidecar, everyone):
    late = await gap(scene, sidecar)
    await eventually(lambda: "fsck --accept-loss" in late.reason)
    lost = await read_lost(scene.town.store, 0)
    assert lost.missing
    recovering = PartitionRecovery(scene.town.store, id="operator", everyone=everyone)
    dry = await PartitionRecovery(scene.town.store, id="operator", everyone=everyone, dry=True).users(lost)
    assert await recovering.users(lost) == dry
    assert (dry.users, dry.held) == (2, 2 if everyone else 0)
    assert await recovering.finish(lost, SEAL)
    await eventually(lambda: late.state is PartitionState.OK)
    assert await late.held(scene.bob.id) is everyone


LATE = {
    "role": (("bob",), ("marketer", "active")),
    "suspension": (("bob",), ("accountant", "suspended")),
    "removal": (("bob",), ("accountant", "removed")),
    "account": (("ada", "bob", "eve"), ("accountant", "suspended")),
}
"""The lost change: the users that it holds, and bob's role and status before the loss."""


@pytest.mark.parametrize("kind", list(LATE))
async def test_R48_a_late_sidecar_holds_only_users_of_its_lost_changes(scene, sidecar, kind):
    town, (expected, before) = scene.town, LATE[kind]
    eve = await town.member(OPERATOR, scene.ada.account, "eve@example.com", role="developer")
    other = await town.account(email="max@example.com", name="Other")
    people = {"ada": scene.ada, "bob": scene.bob, "eve": eve, "max": other}
    lost_change = {
        **changes(scene),
        "account": lambda: town.accounts.set_status(scene.ada.account, Status.SUSPENDED, OPERATOR),
    }[kind]
    late = await gap(scene, sidecar, lost_change)
    await eventually(lambda: "fsck --accept-loss" in late.reason)
    operator = PartitionRecovery(town.store, id="operator")
    lost = await read_lost(town.store, 0)
    assert (await operator.users(lost)).held == 0
    assert await operator.finish(lost, SEAL)
    await eventually(lambda: late.serves(scene.bob.id))
    assert [name for name, user in people.items() if await late.held(user.id)] == []

    await sidecar("a", ready=False)
    await eventually(lambda: late.held(scene.bob.id))
    review = (await late.read(scene.bob.id)).review
    assert (review.role_before, review.status_before) == before
    await scene.settle()
    assert [name for name, user in people.items() if await late.held(user.id)] == list(expected)

    for name in expected[::-1]:
        record = await late.read(people[name].id)
        await town.users.review(OPERATOR, record.id, role=record.role, status=Status.ACTIVE)
    await Sidecar.made[-1].stop()
    again = await sidecar("a", ready=False)  # its journal still has the change
    await eventually(lambda: again.serves(scene.bob.id))
    await asyncio.sleep(4 * LEASE)
    assert [name for name, user in people.items() if await late.held(user.id)] == []


async def test_R48_a_late_report_of_an_accepted_loss_holds_once(scene, sidecar):
    one = await sidecar("a")
    late = await sidecar("late")
    kept = await commands(scene.town.store)
    await changes(scene)["role"]()
    await scene.settle()
    await one.stop()
    await late.stop()
    await put_back(scene.town.store, kept)
    new = await sidecar("new")  # without knowledge of the loss, as after its state directory was lost
    lost_by_others = one.live.journal.marks(0)
    await eventually(lambda: new.serves(scene.bob.id))
    for name in ("a", "late"):
        await sidecar(name, ready=False)
        await eventually(lambda: new.held(scene.bob.id))
    assert lost_by_others


async def test_R48_a_review_either_way_ends_the_hold(scene, sidecar):
    one = await sidecar()
    await scene.lose(changes(scene)["role"])
    await eventually(lambda: one.held(scene.bob.id))
    done = await scene.town.users.review(OPERATOR, scene.bob.id, role="marketer", status=Status.ACTIVE)
    assert isinstance(done, Changed)
    await eventually(lambda: one.live.records.position(scene.ada.account) >= done.position.n)
    assert ((await one.read(scene.bob.id)).role, (await one.read(scene.bob.id)).review) == ("marketer", None)
    again = await scene.town.users.review(OPERATOR, scene.bob.id, role="marketer", status=Status.ACTIVE)
    assert isinstance(again, NotHeld)


async def test_R48_an_operator_releases_a_held_last_administrator(scene, sidecar):
    one = await sidecar()
    await scene.town.administrator(OPERATOR, scene.ada.account, "eve@example.com")
    eve = await scene.town.users.find(scene.ada.account, "eve@example.com")

    async def lose_both():
        await scene.town.users.change(OPERATOR, scene.ada.id, role="marketer")
        await scene.town.users.sign_out_everywhere(eve, OPERATOR)

    await scene.lose(lose_both)
    await eventually(lambda: one.held(scene.ada.id))
    assert await one.held(eve)
    users = scene.town.users
    assert isinstance(await users.review(OPERATOR, scene.ada.id, role="marketer", status=Status.ACTIVE), Changed)
    assert isinstance(await users.review(OPERATOR, eve, role="marketer", status=Status.ACTIVE), LastAdmin)
    assert isinstance(await users.review(OPERATOR, eve, role=ADMINISTRATOR, status=Status.ACTIVE), Changed)
    assert (await Fsck(scene.town.store).run()).clean


async def test_R48_the_known_store_that_comes_back_ends_it_by_itself(scene, sidecar):
    one = await sidecar()
    older = await commands(scene.town.store)
    await changes(scene)["role"]()
    await scene.settle()
    newer = await commands(scene.town.store)
    await put_back(scene.town.store, older)
    await eventually(lambda: one.state is PartitionState.REGRESSED)
    await put_back(scene.town.store, newer)
    await eventually(lambda: one.state is PartitionState.OK)
    record = await one.read(scene.bob.id)
    assert (record.role, record.review, record.epoch) == ("marketer", None, 1)


async def test_R48_a_recovery_that_nothing_vouches_for_is_not_followed(scene, sidecar):
    one = await sidecar()
    await scene.lose(changes(scene)["role"])
    forged = partial(code_of, Pepper(b"x" * 32))
    lost = await eventually(lambda: read_lost(scene.town.store, 0))
    assert await PartitionRecovery(scene.town.store, id="forger").finish(lost, forged)
    await asyncio.sleep(4 * LEASE)
    assert one.state is not PartitionState.OK
    assert await one.read(scene.bob.id) == "store_unavailable"
