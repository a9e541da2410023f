"""R48: ``fsck --accept-loss`` on a real server that went back to an older state, with a lost change that is unknown."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sidecar.store.connection import Store
from sidecar.store.integrity.data_set import code_of
from sidecar.store.integrity.feed_entries import FeedReset, change_of, fields_of
from sidecar.store.integrity.journal import Journal
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates
from sidecar.store.integrity.proof import NO_ENTRY, FeedPosition
from sidecar.store.integrity.recovering import PartitionRecovery, read_lost
from sidecar.store.integrity.recovery import RecoveryTask
from sidecar.tokens.opaque import Pepper
from tests.store.older_state import commands, put_back

pytestmark = pytest.mark.slow

FEED = "sc:{p00}:feed"
UNKNOWN = 3
SENTENCE = (
    "partition 00: changes up to 5 are lost, changes 3 are known to no sidecar. hold-known holds 1 of 2 users, "
    "hold-all 2; either way all 2 sign in again.\n"
)
OPEN = "partition 00: open; 2 users sign in again, {held} held\n"


def at(url: str, job: Callable[[Store], Any]) -> Any:
    async def run() -> Any:
        store = await Store.open(url)
        try:
            return await job(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def go_back(store: Store, kept: list[list[str]]) -> None:
    """The older state is in place. A sidecar reports the feed of before, without one change."""
    journal = Journal(store)
    data_set = await store.client.get(f"{FEED}:gen")
    journal.flush(FeedReset(0, 0, False, FeedPosition(data_set, 0, NO_ENTRY), None))
    for entry, fields in await store.client.xrange(FEED):
        change = change_of(fields_of(fields), entry)
        if change.n != UNKNOWN:
            journal.apply(0, change)
    await put_back(store, kept)
    states = PartitionStates(clock=lambda: 0.0, later=lambda _delay, _callback: None)
    states.report(0, PartitionState.REGRESSED)
    seal = partial(code_of, Pepper(b"p" * 32))
    await RecoveryTask(store, journal, states, id="a", lease=0.05, seal=seal).turn()
    lost = await read_lost(store, 0)
    assert lost is not None
    assert lost.missing == ((UNKNOWN, UNKNOWN),)


@pytest.fixture
def lossy(at_store: Any, real_redis_url: str) -> Any:
    """Changes 3 to 5 are lost: the account's seats, which no sidecar knows, and two roles of an invited user."""
    assert at_store("user", "invite", "bob@acme.example", "--role", "developer").status == 0
    kept = at(real_redis_url, commands)
    assert at_store("account", "set-seats", "Acme", "7").status == 0
    for role in ("accountant", "marketer"):
        assert at_store("user", "set-role", "bob@acme.example", role).status == 0
    at(real_redis_url, lambda store: go_back(store, kept))
    return at_store


def held(sidecar: Any) -> dict[str, tuple[str, str]]:
    listed = json.loads(sidecar("user", "review", "--json").out)["held"]
    return {user["email"]: (user["review"]["role_before"], user["review"]["role_now"]) for user in listed}


def is_open(url: str) -> bool:
    return at(url, lambda store: read_lost(store, 0)) is None


def test_R48_without_a_loss_there_is_nothing_to_accept(at_store: Any) -> None:
    done = at_store("fsck", "--accept-loss", "hold-all", "--yes")
    assert (done.status, done.err) == (0, "")
    assert done.out == "no partition has lost changes: there is nothing to accept\n"
    assert json.loads(at_store("fsck", "--accept-loss", "hold-all", "--yes", "--json").out) == {"accepted": []}


def test_R48_choices_show_counts_and_change_nothing_unconfirmed(
    lossy: Any, typed: Callable[[str], None], real_redis_url: str
) -> None:
    before = at(real_redis_url, commands)
    for choice in ("hold-known", "hold-all"):
        typed("n\n")
        done = lossy("fsck", "--accept-loss", choice)
        assert done.status == 1
        assert done.out.startswith(SENTENCE)
        assert f"Accept the loss with {choice}?" in done.out
        typed("n\n")
        as_json = lossy("fsck", "--accept-loss", choice, "--json")
        assert (as_json.status, as_json.out) == (1, "")
        assert as_json.err.startswith(SENTENCE)
    typed("")
    assert lossy("fsck", "--accept-loss", "hold-all").status == 130
    assert lossy("fsck", "--accept-loss", "some").status == 2
    assert at(real_redis_url, lambda store: store.client.get(f"{FEED}:n")) == "2"
    after = at(real_redis_url, commands)
    keys = [key for key in {words[1] for words in [*before, *after]} if ":a:" in key or ":lost" in key]
    assert [words for words in after if words[1] in keys and words[0] != "PEXPIRE"] == [
        words for words in before if words[1] in keys and words[0] != "PEXPIRE"
    ]
    assert not is_open(real_redis_url)


def test_R48_hold_known_holds_the_users_with_a_known_lost_change(lossy: Any, real_redis_url: str) -> None:
    checked = lossy("fsck")
    assert checked.status == 1
    assert "sidecar fsck --accept-loss" in checked.out
    done = lossy("fsck", "--accept-loss", "hold-known", "--yes")
    assert (done.status, done.err) == (0, "")
    assert done.out == SENTENCE + OPEN.format(held=1)
    assert is_open(real_redis_url)
    assert held(lossy) == {"bob@acme.example": ("marketer", "developer")}
    assert lossy("fsck").status == 0


def test_R48_hold_all_holds_every_user(lossy: Any, typed: Callable[[str], None], real_redis_url: str) -> None:
    typed("y\n")
    done = lossy("fsck", "--accept-loss", "hold-all", "--json")
    assert done.status == 0
    assert json.loads(done.out) == {"accepted": [{"partition": "00", "users": 2, "held": 2}]}
    assert done.err.startswith(SENTENCE)
    assert is_open(real_redis_url)
    assert held(lossy) == {
        "ada@acme.example": ("account-administrator", "account-administrator"),
        "bob@acme.example": ("marketer", "developer"),
    }


def test_R48_a_report_meanwhile_leaves_the_partition_closed(
    lossy: Any, real_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sidecar reports a change between the count and the end: its users have not been held yet."""
    finish = PartitionRecovery.finish

    async def late(self: PartitionRecovery, lost: Any, seal: Any) -> bool:
        await self._store.client.hset("sc:{p00}:lost:meta", "top", "9")
        return await finish(self, lost, seal)

    monkeypatch.setattr(PartitionRecovery, "finish", late)
    done = lossy("fsck", "--accept-loss", "hold-known", "--yes")
    assert (done.status, done.err) == (1, "sidecar: a partition changed meanwhile and is still closed: run it again\n")
    assert "open" not in done.out.replace(SENTENCE, "")
    assert not is_open(real_redis_url)
    monkeypatch.undo()


def test_R48_an_unreachable_store_accepts_nothing(cli: Any) -> None:
    done = cli("fsck", "--accept-loss", "hold-all", "--yes", "--redis-url", "redis://127.0.0.1:1")
    assert done.status == 3
    assert done.err
