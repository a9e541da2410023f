"""The change feed of one partition, followed in order and resumed exactly. A gap, or an older data set, is a flush.

``heard`` is when the read was SENT whose answer has been applied whole: everything acknowledged before that instant is
known here. The feed itself never decides what may be served; its followers do, by that instant.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis import exceptions

from sidecar.store import keys, scripts
from sidecar.store.calling import called
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailable
from sidecar.vocabulary.people import AccountId, UserId

BATCH: Final = 1000
RETRY: Final = 0.05
AT_ONCE: Final = 0.001
"""Seconds. Redis takes 0 for no end."""
READ_SLACK: Final = 0.5
"""How much longer than its block a read may take before the connection counts as dead."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry. ``kind``: user, removed, account, restored, pep, keys, policy. ``seq``: the account's count then."""

    n: int
    kind: str
    account: AccountId
    user: UserId
    epoch: int
    seq: int
    ack: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a feed stands when it is followed anew. ``new_data_set``: another one than before (a restore)."""

    partition: int
    n: int
    new_data_set: bool


class Follower(Protocol):
    """Who hears the feed. Every call is made in the feed's order; none of them may wait, but ``acknowledge``."""

    def apply(self, partition: int, change: Change, /) -> None: ...
    def heard(self, partition: int, at: float, /) -> None: ...
    def flush(self, tail: Tail, /) -> None:
        """Forget every copy of the partition: what happened meanwhile is not known."""

    async def acknowledge(self, partition: int, n: int, /) -> None: ...


class Feed:
    def __init__(
        self, store: Store, partition: int, followers: Sequence[Follower], *, lease: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._partition = partition
        self._followers = followers
        self._clock = clock
        self._block = max(0.01, min(0.25, lease / 4))
        self._key = keys.feed(partition)
        self._last = ""
        self._n = 0
        self._data_set = ""
        self._replication = ""

    async def run(self) -> None:
        """Follow until cancelled. Never raises for a store that is out: it is asked again and again."""
        while True:
            try:
                async with self._store.listening(self._key, self._block + READ_SLACK) as connection:
                    await self._resume(connection)
                    # Until a read is answered no copy may be used: the first waits for nothing to happen.
                    await self._read(connection, AT_ONCE)
                    while True:
                        await self._read(connection, self._block)
            except StoreUnavailable:
                await asyncio.sleep(RETRY)

    async def _read(self, connection: Any, block: float) -> None:
        """One read, applied. ``block``: seconds to wait for an entry when there is none."""
        sent, ms = self._clock(), round(block * 1000)
        raw = await called(
            connection.execute_command("XREAD", "COUNT", BATCH, "BLOCK", ms, "STREAMS", self._key, self._last)
        )
        wanted = 0
        entries = entries_of(raw)
        for entry_id, fields in entries:
            change = change_of(fields)
            if change.n != self._n + 1:
                await self._flush(connection)
                return
            for follower in self._followers:
                follower.apply(self._partition, change)
            self._last, self._n = entry_id, change.n
            wanted = change.n if change.ack else wanted
        if len(entries) < BATCH:
            for follower in self._followers:
                follower.heard(self._partition, sent)
        if wanted:
            for follower in self._followers:
                with suppress(StoreUnavailable):  # unheard, the writer waits for our lease instead
                    await follower.acknowledge(self._partition, wanted)

    async def _resume(self, connection: Any) -> None:
        """On a new connection: is this still the data set that I know, with my last entry where I left it?"""
        if self._last == "":
            await self._flush(connection)
            return
        tail = await self._tail(connection, self._last)
        replication = await _replication(connection)
        same = (
            tail["gen"] == self._data_set
            and replication == self._replication
            and int(tail["n"]) >= self._n
            and (tail["mine"] == str(self._n) or (self._last == "0-0" and int(tail["n"]) == self._n))
        )
        if not same:
            await self._flush(connection)

    async def _flush(self, connection: Any) -> None:
        """Start from the tail, with nothing known. The tail is read first: what changes after it will be heard."""
        tail = await self._tail(connection, "")
        if not tail["gen"]:
            raise StoreUnavailable("the store has lost its data set's id")
        other = self._data_set not in {"", tail["gen"]}
        self._replication = await _replication(connection)
        self._last, self._n, self._data_set = tail["id"], int(tail["n"]), tail["gen"]
        for follower in self._followers:
            follower.flush(Tail(self._partition, self._n, other))

    async def _tail(self, connection: Any, last: str) -> Mapping[str, Any]:
        script = scripts.script("feed_tail")
        raw = await called(connection.execute_command("EVAL", script.text, 1, self._key, last))
        reply: Mapping[str, Any] = json.loads(raw)
        return reply


async def _replication(connection: Any) -> str:
    """The replication id, which changes with the master; empty where there is no INFO. A replica is not followed: how
    far it is behind its master, it cannot say."""
    try:
        raw = await called(connection.execute_command("INFO", "replication"))
    except exceptions.ResponseError:
        return ""
    except StoreUnavailable as problem:
        if isinstance(problem.__cause__, exceptions.NoPermissionError):
            return ""
        raise
    if not isinstance(raw, Mapping):
        raw = {name: value.strip() for name, _, value in (line.partition(":") for line in str(raw).splitlines())}
    if raw.get("role", "master") != "master":
        raise StoreUnavailable("the server is a replica now")
    return str(raw.get("master_replid", ""))


def entries_of(raw: Any) -> list[tuple[str, dict[str, str]]]:
    """What XREAD of one stream says: nothing, a list (RESP2, fakeredis) or a map of nested lists (RESP3)."""
    if not raw:
        return []
    found = next(iter(raw.values()))[0] if isinstance(raw, Mapping) else raw[0][1]
    return [(entry_id, fields_of(fields)) for entry_id, fields in found]


def fields_of(raw: Any) -> dict[str, str]:
    if isinstance(raw, Mapping):
        return dict(raw)
    listed = iter(raw)
    return dict(zip(listed, listed, strict=True))


def change_of(fields: Mapping[str, str]) -> Change:
    return Change(
        n=int(fields["n"]),
        kind=fields["k"],
        account=AccountId(fields["a"]),
        user=UserId(fields["u"]),
        epoch=int(fields["tv"]),
        seq=int(fields["s"]),
        ack=fields["ack"] == "1",
    )
