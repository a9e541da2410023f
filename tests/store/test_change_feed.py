"""The feed: in order, resumed exactly, and never followed into an unknown store (R46)."""

import asyncio
import contextlib
import time

import pytest

from sidecar.domain.users import Actor
from sidecar.store import keys
from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.live.change_feed import Feed, FeedEntry, FeedReset, change_of, entries_of

OPERATOR = Actor.operator()
FEED = keys.feed(0)


class Recorder:
    """A listener that records its notifications."""

    def __init__(self):
        self.changes: list[FeedEntry] = []
        self.flushes: list[FeedReset] = []
        self.acknowledged: list[int] = []
        self.heard_at: list[float] = []
        self.reports: list[tuple[int, PartitionState]] = []

    def report(self, partition, state, reason):
        self.reports.append((partition, state))

    def apply(self, partition, change):
        self.changes.append(change)

    def on_heartbeat(self, partition, at):
        self.heard_at.append(at)

    def flush(self, tail):
        self.flushes.append(tail)

    async def acknowledge(self, partition, n):
        self.acknowledged.append(n)


async def eventually(happens, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)


async def silent(recorder, seconds=0.4):
    """The feed extends no lease for this long. Returns once it has been silent for that time."""
    begun = time.monotonic()
    await eventually(lambda: time.monotonic() > begun + seconds)
    assert recorder.heard_at[-1] < begun + 0.1


@contextlib.asynccontextmanager
async def following(store, lease=0.2):
    recorder = Recorder()
    feed = Feed(store, 0, [recorder], lease=lease, clock=time.monotonic, report=recorder.report)
    task = asyncio.create_task(feed.run())
    try:
        await eventually(lambda: recorder.heard_at or task.done())
        yield recorder
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_changes_are_heard_in_order_from_the_tail_on(town):
    admin = await town.account()
    async with following(town.store) as heard:
        assert heard.flushes == [FeedReset(0, 1, new_data_set=False)]
        await town.users.change(OPERATOR, admin.id, name="New")
        await town.users.sign_out_everywhere(admin.id, OPERATOR)
        await eventually(lambda: len(heard.changes) == 2)

        named, out = heard.changes
        assert (named.n, named.kind, named.account, named.user, named.ack) == (
            2,
            "user",
            admin.account,
            admin.id,
            False,
        )
        assert (out.n, out.epoch, out.ack) == (3, 2, True)
        await eventually(lambda: heard.acknowledged == [1, 3])  # the position first, then its users


async def test_it_has_heard_what_was_sent_before_and_no_later(town):
    async with following(town.store) as heard:
        before = time.monotonic()
        await eventually(lambda: heard.heard_at[-1] >= before)
        assert heard.heard_at[-1] <= time.monotonic()
        assert heard.heard_at == sorted(heard.heard_at)


async def test_a_missing_number_is_a_flush(town):
    admin = await town.account()
    async with following(town.store) as heard:
        await town.store.change("INCR", f"{FEED}:n")
        await town.users.change(OPERATOR, admin.id, name="New")
        await eventually(lambda: len(heard.flushes) == 2)
        assert heard.changes == []
        assert heard.flushes[1] == FeedReset(0, 3, new_data_set=False)
        await town.users.change(OPERATOR, admin.id, name="Newer")
        await eventually(lambda: [change.n for change in heard.changes] == [4])


async def test_many_changes_at_once_are_all_heard(town, monkeypatch):
    monkeypatch.setattr("sidecar.store.live.change_feed.BATCH", 10)
    admin = await town.account()
    async with following(town.store) as heard:
        await asyncio.gather(*(town.users.change(OPERATOR, admin.id, name=f"N{number}") for number in range(64)))
        await eventually(lambda: len(heard.changes) == 64)
        assert [change.n for change in heard.changes] == list(range(2, 66))
        assert len(heard.flushes) == 1


# Cuts, on a real server: connections are killed, the data set is changed ----------------------------------------------


async def cut(town, meanwhile=None):
    """Kill the feed's connection, and run a function before it is back."""
    if meanwhile is None:
        await town.store.change("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return
    script = "redis.call('SET', 'sc:test', '1') " + meanwhile
    await town.store.change("EVAL", script, 1, FEED)
    await town.store.change("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def test_after_a_cut_it_resumes_without_loss_and_without_a_flush(real_town):
    admin = await real_town.account()
    async with following(real_town.store) as heard:
        for number in range(10):
            await real_town.users.change(OPERATOR, admin.id, name=f"N{number}")
            await cut(real_town)
        await eventually(lambda: len(heard.changes) == 10)
        assert [change.n for change in heard.changes] == list(range(2, 12))
        assert len(heard.flushes) == 1


async def test_R46_a_store_that_lost_its_last_changes_is_not_followed(real_town):
    admin = await real_town.account()
    async with following(real_town.store) as heard:
        for number in range(3):
            await real_town.users.change(OPERATOR, admin.id, name=f"N{number}")
        await eventually(lambda: len(heard.changes) == 3)

        await cut(
            real_town,
            "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 2) "
            "for _, entry in ipairs(last) do redis.call('XDEL', KEYS[1], entry[1]) end "
            "redis.call('DECRBY', KEYS[1] .. ':n', 2)",
        )

        await eventually(lambda: heard.reports)
        assert set(heard.reports) == {(0, PartitionState.REGRESSED)}
        assert len(heard.flushes) == 2
        await silent(heard)


async def test_R46_a_store_that_went_back_and_moved_on_is_not_followed(real_town):
    """Three acknowledged entries lost, five new ones written: the data set's id and the count alone would resume."""
    admin = await real_town.account()
    async with following(real_town.store) as heard:
        for number in range(3):
            await real_town.users.change(OPERATOR, admin.id, name=f"N{number}")
        await eventually(lambda: len(heard.changes) == 3)

        await cut(
            real_town,
            "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 3) "
            "for _, entry in ipairs(last) do redis.call('XDEL', KEYS[1], entry[1]) end "
            "redis.call('SET', KEYS[1] .. ':n', '1') "
            "for n = 2, 6 do redis.call('INCR', KEYS[1] .. ':n') redis.call('XADD', KEYS[1], '*', 'n', tostring(n), "
            "'k', 'user', 'a', 'a', 'u', 'u', 'tv', '1', 's', '1', 'ack', '0') end",
        )

        await eventually(lambda: heard.reports)
        assert set(heard.reports) == {(0, PartitionState.REGRESSED)}
        await silent(heard)


async def test_R46_a_store_regressed_while_connected_is_not_followed(real_town):
    """The first change after the loss arrives over the old connection, before any registration requires the proof."""
    admin = await real_town.account()
    async with following(real_town.store) as heard:
        for number in range(3):
            await real_town.users.change(OPERATOR, admin.id, name=f"N{number}")
        await eventually(lambda: len(heard.changes) == 3)
        script = (
            "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 2) "
            "for _, entry in ipairs(last) do redis.call('XDEL', KEYS[1], entry[1]) end "
            "redis.call('DECRBY', KEYS[1] .. ':n', 2)"
        )
        await real_town.store.change("EVAL", script, 1, FEED)

        await real_town.users.change(OPERATOR, admin.id, name="After the loss")

        await eventually(lambda: heard.reports)
        assert set(heard.reports) == {(0, PartitionState.REGRESSED)}
        assert [change.n for change in heard.changes] == [2, 3, 4]
        await silent(heard)


async def test_R46_only_the_known_data_set_is_followed_and_resumed(real_town):
    await real_town.account()
    async with following(real_town.store) as heard:
        known = await real_town.store.command("GET", f"{FEED}:gen")
        await cut(real_town, "redis.call('SET', KEYS[1] .. ':gen', 'another')")
        await eventually(lambda: heard.reports)
        assert set(heard.reports) == {(0, PartitionState.CHANGED)}
        await silent(heard)

        await real_town.store.change("SET", f"{FEED}:gen", known)

        back = time.monotonic()
        await eventually(lambda: heard.heard_at[-1] > back)


async def test_an_entry_trimmed_away_while_we_were_cut_off_is_a_flush(real_town):
    admin = await real_town.account()
    async with following(real_town.store) as heard:
        await real_town.users.change(OPERATOR, admin.id, name="New")
        await eventually(lambda: len(heard.changes) == 1)
        await cut(
            real_town,
            "for n = 3, 5 do redis.call('INCR', KEYS[1] .. ':n') redis.call('XADD', KEYS[1], 'MAXLEN', '1', '*', "
            "'n', tostring(n), 'k', 'user', 'a', 'a', 'u', 'u', 'tv', '1', 's', '1', 'ack', '0') end",
        )
        await eventually(lambda: len(heard.flushes) == 2 or heard.changes[-1].n == 5)


async def test_R46_a_store_that_lost_everything_is_not_followed(real_town):
    await real_town.account()
    async with following(real_town.store) as heard:
        await real_town.store.change("FLUSHALL")
        await cut(real_town)
        await eventually(lambda: heard.reports)
        assert set(heard.reports) == {(0, PartitionState.CHANGED)}
        await silent(heard)
        assert len(heard.flushes) == 2, "the copies are dropped once"


# Forms ----------------------------------------------------------------------------------------------------------------

FIELDS = {"n": "7", "k": "user", "a": "acc_x", "u": "usr_x", "tv": "2", "s": "9", "ack": "1"}
CHANGE = FeedEntry(7, "user", "acc_x", "usr_x", 2, 9, ack=True)


@pytest.mark.parametrize(
    "raw",
    [
        [[FEED, [("1-0", FIELDS)]]],
        [[FEED, [["1-0", [word for pair in FIELDS.items() for word in pair]]]]],
        {FEED: [[("1-0", FIELDS)]]},
    ],
    ids=["RESP2", "RESP2 raw", "RESP3"],
)
def test_an_answer_is_read_in_every_form(raw):
    ((entry_id, fields),) = entries_of(raw)
    assert (entry_id, change_of(fields)) == ("1-0", CHANGE)


@pytest.mark.parametrize("raw", [None, [], {}])
def test_no_answer_is_no_entry(raw):
    assert entries_of(raw) == []
