"""Entries of the change feed as values, and the interface of its followers. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sidecar.domain.users import AccountId, UserId
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.proof import FeedPosition

DATA_SET: Final = "data_set"
"""Kind of the entry that announces another data set."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Feed entry. ``kind``: user, removed, account, restored, pep, keys, policy, candidate, restore, data_set.
    ``seq``: the account's count at the change. ``role``, ``status``, ``password``, ``factors``: results of the change
    (R48). ``before``: number of the previous entry, None for ``n - 1``. ``switch``: all fields of an entry of kind
    policy."""

    n: int
    kind: str
    account: AccountId
    user: UserId
    epoch: int
    seq: int
    ack: bool
    role: str = ""
    status: str = ""
    password: bool = False
    entry: str = ""
    before: int | None = None
    factors: bool = False
    switch: Mapping[str, str] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FeedReset:
    """Position at which a feed restarts. ``new_data_set``: differs from the previous one (a restore).
    ``position``: set when the feed starts from it; ``change``: the entry that announced the data set."""

    partition: int
    n: int
    new_data_set: bool
    position: FeedPosition | None = field(default=None, compare=False)
    change: FeedEntry | None = field(default=None, compare=False)


class FeedListener(Protocol):
    """Follower of a feed. Calls are made in the feed's order. Only ``acknowledge`` may wait."""

    def apply(self, partition: int, change: FeedEntry, /) -> None: ...
    def on_heartbeat(self, partition: int, at: float, /) -> None: ...
    def flush(self, tail: FeedReset, /) -> None:
        """Drop every copy of the partition, because changes in between are unknown."""

    async def acknowledge(self, partition: int, n: int, /) -> None: ...


def entries_of(raw: Any) -> list[tuple[str, dict[str, str]]]:
    """Return the entries of one stream from an XREAD reply: nothing, a list (RESP2, fakeredis) or a map of nested lists
    (RESP3). Raises StoreUnavailableError for any other reply (R50)."""
    if not raw:
        return []
    try:
        found = next(iter(raw.values()))[0] if isinstance(raw, Mapping) else raw[0][1]
        return [(entry_id, fields_of(fields)) for entry_id, fields in found]
    except (TypeError, ValueError, IndexError, KeyError):
        raise StoreUnavailableError("the server is not Redis: it has no streams", answered=True, refused=True) from None


def fields_of(raw: Any) -> dict[str, str]:
    if isinstance(raw, Mapping):
        return dict(raw)
    listed = iter(raw)
    return dict(zip(listed, listed, strict=True))


def change_of(fields: Mapping[str, str], entry: str = "") -> FeedEntry:
    """Return the entry as a `FeedEntry`. ``entry``: its id in the stream. Schema 1 entries have no role or status."""
    return FeedEntry(
        n=int(fields["n"]),
        kind=fields["k"],
        account=AccountId(fields["a"]),
        user=UserId(fields["u"]),
        epoch=int(fields["tv"]),
        seq=int(fields["s"]),
        ack=fields["ack"] == "1",
        role=fields.get("r", ""),
        status=fields.get("st", ""),
        password=fields.get("pw") == "1",
        entry=entry,
        before=int(fields["p"]) if "p" in fields else None,
        factors=fields.get("fa") == "1",
        switch=dict(fields) if fields["k"] == "policy" else None,
    )
