"""R30: a revision is reached once it is applied here; one beyond the feed differs from one that has not arrived."""

import pytest

from sidecar.domain.users import Actor
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.change_feed import FeedEntry
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.live.revision_status import PATIENCE, RevisionChecker, RevisionStatus

OPERATOR = Actor.operator()


class FakeSleep:
    """Move the clock in place of a sleep; at the ``at``-th pause, an event occurs."""

    def __init__(self, clock):
        self._clock = clock
        self.pauses = []
        self.happens = {}

    async def __call__(self, seconds):
        self.pauses.append(seconds)
        self._clock.advance(seconds)
        self.happens.pop(len(self.pauses), lambda: None)()


@pytest.fixture
def slept(clock):
    return FakeSleep(clock)


@pytest.fixture
def records(town, clock):
    return RecordCache(town.store, lease=1.0, clock=clock.monotonic)


@pytest.fixture
def freshness(town, records, clock, slept):
    return RevisionChecker(town.store, records, clock=clock.monotonic, sleep=slept)


def heard(records, admin, n):
    records.apply(0, FeedEntry(n=n, kind="user", account=admin.account, user=admin.id, epoch=1, seq=n, ack=False))


async def test_R30_an_applied_revision_is_reached_without_asking(town, records, freshness, slept):
    admin = await town.account()
    heard(records, admin, 1)
    await town.store.close()
    assert freshness.has(admin.account, 1)
    assert await freshness.reach(admin.account, 1) is RevisionStatus.REACHED
    assert slept.pauses == []


async def test_R30_what_is_on_its_way_is_waited_for(town, records, freshness, slept):
    admin = await town.account()
    await town.users.change(OPERATOR, admin.id, name="New")
    heard(records, admin, 1)
    slept.happens[3] = lambda: heard(records, admin, 2)
    assert await freshness.reach(admin.account, 2) is RevisionStatus.REACHED
    assert len(slept.pauses) == 3


async def test_R30_an_unseen_revision_is_late_after_a_bounded_wait(town, freshness, slept):
    admin = await town.account()
    assert await freshness.reach(admin.account, 1) is RevisionStatus.LATE
    assert PATIENCE <= sum(slept.pauses) < PATIENCE + 0.02


async def test_R30_beyond_the_tail_is_told_at_once(town, freshness, slept):
    admin = await town.account()
    assert await freshness.reach(admin.account, 2) is RevisionStatus.UNKNOWN
    assert slept.pauses == []


async def test_R30_a_store_that_is_out_cannot_tell(town, freshness, monkeypatch):
    admin = await town.account()

    async def out(*_words):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(town.store, "command", out)
    with pytest.raises(StoreUnavailableError):
        await freshness.reach(admin.account, 1)
