"""R51: a script that fails at any of its calls leaves the records unchanged, or an event that reports the change."""

import re

import pytest

from sidecar.store import keys
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.change_feed import entries_of
from sidecar.store.scripts import names, script
from tests.store.half_failing import Scenarios, failing

pytestmark = pytest.mark.slow

COUNTERS = frozenset({"seq", "rows", "born", "acked", "swept"})
"""Counters in an account's own hash, which describe no user."""

WRITES = re.compile(r"'(SET|DEL|INCR|P?EXPIRE(AT)?|H(SET|SETNX|DEL|INCRBY)|S(ADD|REM)|Z(ADD|REM\w*)|X(ADD|TRIM))'")


def writing() -> list[str]:
    """Scripts that write: by a command of their own, or through a function of the prelude."""
    through = ("publish(", "remember(", "audit(", "settle_admin(", "end_session", "switch(", "keep_files(")
    found = []
    for name in names():
        body = script(name).text.removeprefix(_prelude()).removeprefix(_generations())
        if WRITES.search(body) or any(word in body for word in through):
            found.append(name)
    return found


def _generations() -> str:
    """Return the prelude of the scripts about generations, which one read-only script has too."""
    return script("policy_look").text.partition("-- standalone")[0]


def _prelude() -> str:
    return script("account").text.partition("-- Read only: the account and its seats")[0]


async def test_every_script_that_writes_has_a_scenario():
    missing = [name for name in writing() if not callable(getattr(Scenarios, name, None))]
    assert missing == [], "tests/store/half_failing.py: a method of this name prepares and returns the change"


async def records(store, account: str) -> dict[str, object]:
    """Return everything of the account that a check reads."""
    if account == "meta":
        feed = keys.feed(0)
        return {
            "meta": await store.pairs("HGETALL", keys.partition_meta(0)),
            "gen": await store.command("GET", f"{feed}:gen"),
        }
    if account == "policy":  # the switch: its event is the record that every sidecar follows
        return {"active": sorted(await store.pairs("HGETALL", f"{keys.policy()}:active"))}
    if not account:
        return {}
    home = keys.account(account, store.partitions)
    found: dict[str, object] = {}
    for key in await store.command("KEYS", f"{home}:*"):
        kind = key.removeprefix(home).split(":")[1]
        if kind in {"u", "i", "pep", "links", "factors"}:  # a hash of the same password is no change
            found[key] = sorted(pair for pair in await store.pairs("HGETALL", key) if pair[0] != "pw")
        elif kind == "us":
            found[key] = sorted(await store.command("ZRANGE", key, 0, -1))
        elif kind == "s":
            found[key] = await store.command("HMGET", key, "at", "by")
    found[home] = sorted(pair for pair in await store.pairs("HGETALL", home) if pair[0] not in COUNTERS)
    return found


async def events(store, account: str, after: str) -> list[dict[str, str]]:
    rows = await store.command("XRANGE", keys.feed(0), f"({after}", "+")
    found = [fields for _, fields in entries_of([["feed", rows]])] if rows else []
    return [fields for fields in found if account == "meta" or _is_of(fields, account)]


def _is_of(fields: dict[str, str], account: str) -> bool:
    return fields["k"] == "policy" if account == "policy" else fields["a"] == account


async def tail(store) -> tuple[str, int]:
    rows = await store.command("XREVRANGE", keys.feed(0), "+", "-", "COUNT", 1)
    return (rows[0][0] if rows else "0-0"), int(await store.command("GET", f"{keys.feed(0)}:n") or 0)


async def numbers(store, stream: str) -> list[int]:
    return [int(row[0].partition("-")[0]) for row in await store.command("XRANGE", stream, "-", "+")]


@pytest.mark.parametrize(
    "for_good", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["once", "the command for good"]
)
@pytest.mark.parametrize("name", writing())
async def test_R51_a_script_failing_at_any_call_leaves_no_stale_copy(town, store, monkeypatch, name, for_good):
    call = 0
    while True:
        call += 1
        where = f"{name}, call {call}"
        change = await getattr(Scenarios(town, call * 1000), name)()
        before, (position, _) = await records(store, change.account), await tail(store)
        await store.change("DEL", "test:reached")
        with failing(monkeypatch, name, call, for_good=for_good):
            if not await _fails(store, change, where):
                break
        left = await records(store, change.account)
        told = await events(store, change.account, position)
        assert left == before or told, f"{where}: the records changed without an event"
        await _counts_have_no_gap(store, change.account, where, for_good=for_good)
        await _retried(town, change, told, left == before, where)
    assert call > 1


async def _fails(store, change, where: str) -> bool:
    """Return whether the script reached its failing call. A script that continues after it reports that in
    its reply.
    """
    try:
        reply = await change.act()
    except StoreUnavailableError:
        return True
    if not await store.command("EXISTS", "test:reached"):
        return False
    assert reply["refused"], f"{where}: failed without an error"
    return True


async def _retried(town, change, told, unchanged: bool, where: str) -> None:
    """Assert that the retry is done or rejected. A reply of "nothing to change" waits for the event of the
    failed call.
    """
    outcome = await change.act()
    kind = type(outcome).__name__
    if kind in {"Unchanged", "SessionGone"} and outcome.position and not unchanged:
        acked = [int(fields["n"]) for fields in told if fields["ack"] == "1"]
        assert acked, f"{where}: a retry says {kind} for a change without an acknowledgement"
        assert outcome.position.n >= max(acked), f"{where}: a retry says {kind}, and waits for an older change"
    if kind == "Unchanged" and unchanged:
        raise AssertionError(f"{where}: a retry says Unchanged, and nothing was changed")


async def _counts_have_no_gap(store, account: str, where: str, *, for_good: bool) -> None:
    rows = await store.command("XRANGE", keys.feed(0), "-", "+")
    counted = [int(fields["n"]) for _, fields in entries_of([["feed", rows]])] if rows else []
    assert counted == sorted(set(counted)), where
    if for_good and counted[-1:] != [(await tail(store))[1]]:
        return  # neither the entry nor its number could be written
    assert not counted or counted[-1] == (await tail(store))[1], f"{where}: the feed's count has a gap"
    if account and account not in {"meta", "policy"}:
        home = keys.account(account, store.partitions)
        logged = await numbers(store, f"{home}:log")
        assert logged == list(range(1, len(logged) + 1)), f"{where}: the audit has a gap"
        assert int(await store.command("HGET", home, "rows") or 0) == len(logged), (
            f"{where}: the audit's count is ahead"
        )
