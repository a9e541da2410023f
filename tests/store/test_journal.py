"""R48: the journal of the feed, in memory and in the state directory: bounded, torn lines, one writer, a full disk."""

import asyncio
import contextlib
import stat
import threading

import pytest

from sidecar.sources.journal_file import MAX_LINES, JournalFile
from sidecar.store.integrity import journal as journal_module
from sidecar.store.integrity.feed_entries import FeedEntry, FeedReset
from sidecar.store.integrity.journal import Journal, JournalEntry, journal_entry
from sidecar.store.integrity.losses import by_account, missing, split
from sidecar.store.integrity.proof import FeedPosition

START = FeedPosition("set-1", 0, "0-0")


def change(n, **more):
    told = {"kind": "user", "account": "acc_a", "user": "usr_a", "epoch": 1, "seq": n, "ack": True, **more}
    return FeedEntry(n=n, entry=f"{n}-0", **told)


def mark(n, **more) -> JournalEntry:
    return journal_entry(change(n, **more))


@pytest.fixture
def make(tmp_path, store):
    def made():
        return Journal(store, JournalFile(tmp_path / "journal"))

    return made


async def filled(journal, numbers=range(1, 6)):
    journal.flush(FeedReset(0, 0, new_data_set=False, position=START))
    await journal.read_back()
    await journal.write()
    for n in numbers:
        journal.apply(0, change(n))
    await journal.write()
    return journal


async def loaded(make) -> Journal:
    journal = make()
    await journal.load()
    return journal


async def test_R48_what_was_applied_is_there_after_a_restart(make, tmp_path):
    journal = await filled(make())
    journal.close()
    again = await loaded(make)
    assert again.position(0) == FeedPosition("set-1", 5, "5-0")
    assert again.marks(0) == journal.marks(0) == [mark(n) for n in range(1, 6)]
    for path in (tmp_path / "journal").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_R48_a_stop_waits_for_the_write_under_way(make, monkeypatch):
    """A cancelled task leaves its thread running: its entries must be on disk before the next process reads."""
    journal = await filled(make())
    journal.apply(0, change(6))
    append, entered, released = JournalFile._append, threading.Event(), threading.Event()

    def slow(self, partition, lines):
        entered.set()
        released.wait(5)
        append(self, partition, lines)

    monkeypatch.setattr(JournalFile, "_append", slow)
    writing = asyncio.create_task(journal.write())
    await asyncio.to_thread(entered.wait, 5)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    closing = asyncio.create_task(asyncio.to_thread(journal.close))
    await asyncio.wait([closing], timeout=0.1)
    assert not closing.done()
    released.set()
    await closing
    assert (await loaded(make)).position(0).n == 6


async def test_R48_a_torn_last_line_costs_that_line_alone(make, tmp_path):
    journal = await filled(make())
    journal.close()
    path = tmp_path / "journal" / "00.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    assert (await loaded(make)).position(0).n == 4


async def test_R48_nothing_before_a_gap_counts(make, tmp_path):
    journal = await filled(make())
    journal.close()
    path = tmp_path / "journal" / "00.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"garbage\n", *lines[4:]]))
    again = await loaded(make)
    assert [one.n for one in again.marks(0)] == [4, 5]


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"garbage\n", b"\xff\xfe\n", b"[1,2]\n"])
async def test_R48_a_file_that_is_no_journal_is_as_none(make, tmp_path, content):
    folder = tmp_path / "journal"
    folder.mkdir(mode=0o700)
    path = folder / "00.jsonl"
    path.write_bytes(content)
    path.chmod(0o600)
    assert (await loaded(make)).position(0) is None


async def test_R48_one_process_writes_and_the_next_takes_over(make):
    first = await filled(make())
    second = make()
    await filled(second, range(1, 4))
    assert (await loaded(make)).position(0).n == 5
    first.close()
    await second.write()
    assert (await loaded(make)).position(0).n == 3
    second.close()


async def test_R48_the_file_is_bounded(make, tmp_path, monkeypatch):
    monkeypatch.setattr("sidecar.sources.journal_file.MAX_LINES", 20)
    monkeypatch.setattr(journal_module, "MAX_ENTRIES", 10)
    assert MAX_LINES == 30_000
    journal = await filled(make(), range(1, 3))
    for n in range(3, 100):
        journal.apply(0, change(n))
        await journal.write()
    journal.close()
    assert len((tmp_path / "journal" / "00.jsonl").read_bytes().splitlines()) <= 22
    assert [one.n for one in (await loaded(make)).marks(0)][-10:] == list(range(90, 100))


async def test_R48_an_unwritable_disk_is_logged_once_and_retried(make, tmp_path, monkeypatch, capsys):
    journal = await filled(make())
    with monkeypatch.context() as broken:
        broken.setattr("os.write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        for n in (6, 7):
            journal.apply(0, change(n))
            await journal.write()
    assert capsys.readouterr().out.count("journal write failed") == 1
    await journal.write()
    await journal.write()
    assert (await loaded(make)).position(0).n == 7
    journal.close()


async def test_R48_what_the_feed_held_before_is_read_back(town, make):
    admin = await town.account()
    for number in range(5):
        await town.users.change(town_operator(), admin.id, name=f"Ada {number}")
    tail = await town.store.run("feed_tail", ["sc:{p00}:feed"], [""])
    journal = make()
    journal.flush(FeedReset(0, 6, new_data_set=False, position=FeedPosition("s", 6, tail["id"])))
    journal.apply(0, change(7))
    await journal.read_back()
    assert [one.n for one in journal.marks(0)] == list(range(1, 8))
    assert journal.marks(0)[0].role == "account-administrator"
    assert journal.marks(0)[0].password


def town_operator():
    from sidecar.domain.users import Actor

    return Actor.operator()


def test_R48_the_common_part_is_found_by_number_and_id():
    marks = [mark(n) for n in range(3, 9)]
    kept = {3: "3-0", 4: "4-0", 5: "other", 6: "6-1"}
    assert split(marks, kept, 1) == (4, marks[2:])
    assert split(marks, {}, None) == (None, marks)
    whole = [mark(n) for n in range(1, 3)]
    assert split(whole, {}, None) == (0, whole)
    assert split(whole, {1: "other"}, 1) == (0, whole)
    assert split(whole, {9: "other"}, 9) == (None, whole), "the store's feed was trimmed"


def test_R48_the_start_of_the_feed_is_a_common_part():
    marks = [mark(n) for n in range(3, 6)]
    kept = {1: "1-0", 2: "2-0", 3: "other"}
    assert split(marks, kept, 1, (2, "2-0")) == (2, marks)
    assert split(marks, kept, 1, (2, "2-1")) == (None, marks), "another entry under that number"
    assert split(marks, kept, 1, (1, "1-0")) == (None, marks), "an entry after it is unknown"
    assert split(marks, {**kept, 4: "4-0"}, 1, (2, "2-0")) == (4, marks[2:])


@pytest.mark.parametrize(
    ("base", "top", "numbers", "gaps"),
    [
        (3, 5, [4, 5], ()),
        (3, 7, [4, 5], ((6, 7),)),
        (3, 7, [5, 7], ((4, 4), (6, 6))),
        (None, 5, [4, 5], ((1, 3),)),
        (0, 2, [1, 2], ()),
        (3, 4, [1, 2, 3, 4], ()),
    ],
)
def test_R48_what_no_sidecar_knows_is_named(base, top, numbers, gaps):
    assert missing(base, top, [mark(n) for n in numbers]) == gaps


def test_R48_numbers_that_a_recovery_left_out_are_no_gap():
    assert missing(3, 9, [mark(4), JournalEntry(9, "9-0", 4, "data_set", "a", "b", 0, 0, "", "", False)]) == ()


def test_R48_the_last_of_several_lost_changes_counts():
    losses = by_account(
        [
            mark(1, role="developer", status="active", factors=True),
            mark(2, role="marketer", status="active", epoch=2, password=True),
            mark(3, kind="removed", status="removed", epoch=2),
            mark(4, kind="pep", user="pep_x", status="revoked"),
            mark(5, kind="pep", user="pep_y", status="active"),
            mark(6, kind="account", user="", status="suspended"),
            mark(7, kind="policy", account="", user=""),
        ]
    )
    loss = losses["acc_a"]
    assert (loss.seq, loss.status, loss.peps, list(losses)) == (6, "suspended", {"pep_x"}, ["acc_a"])
    assert loss.users["usr_a"].argument() == {
        "role": "marketer",
        "status": "removed",
        "entry": "3-0",
        "epochs": [[1, "0"], [2, "1"]],
        "factors": "1",
    }
