"""Data sets: each partition's data set has a random id, which a restore and a change of the issuer replace (R46).

A feed entry with an HMAC under the pepper announces the replacement. A running sidecar that reads the entry continues
with the new data set. Without the entry it rejects another data set.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError
from sidecar.tokens.opaque import Pepper, Purpose


@dataclass(frozen=True, slots=True)
class DataSetChange:
    """Replacement of a data set. ``before``, ``after``: ids. ``meta_before``, ``meta_after``: meta record digests."""

    partition: int
    before: str
    after: str
    meta_before: str
    meta_after: str


def change_of_entry(partition: int, fields: Mapping[str, str]) -> DataSetChange | None:
    """Return the change announced by a feed entry of kind ``data_set``; None when a field is missing."""
    try:
        return DataSetChange(partition, fields["a"], fields["u"], fields["mb"], fields["ma"])
    except KeyError:
        return None


def code_of(pepper: Pepper, change: DataSetChange) -> str:
    """Return the HMAC-SHA256 of the change under the pepper, as hex."""
    parts = (str(change.partition), change.before, change.after, change.meta_before, change.meta_after)
    return pepper.mac(Purpose.DATA_SET, *parts).hex()


def digest_of(meta: Mapping[str, str]) -> str:
    """Return the SHA-256 of a meta record's fields and values: 128 bits as hex."""
    hashed = hashlib.sha256()
    for field, value in sorted(meta.items()):
        for part in (field.encode("utf-8"), value.encode("utf-8")):
            hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.hexdigest()[:32]


async def replace(store: Store, pepper: Pepper | None, changed: Mapping[str, str] | None = None) -> None:
    """Give every partition a new data set id and its meta record the ``changed`` fields; announce both in the feed.

    ``pepper`` None: the entry has no code, and running sidecars do not follow.
    Raises StoreUnavailableError, and StoreMismatchError when another process replaced a data set in between.
    """
    fields = dict(changed or {})
    if fields:
        await store.change("HSET", keys.META, *(word for pair in fields.items() for word in pair))
    for partition in range(store.partitions):
        await replace_partition(store, pepper, partition, fields, remedy="try again")


async def replace_partition(
    store: Store, pepper: Pepper | None, partition: int, fields: Mapping[str, str], *, remedy: str
) -> None:
    """Replace the data set of one partition as ``replace`` does, in one script: all or nothing."""
    feed, home = keys.feed(partition), keys.partition_meta(partition)
    before = await store.command("GET", f"{feed}:gen") or ""
    meta = dict(await store.pairs("HGETALL", home))
    change = DataSetChange(partition, before, store.request_id() * 2, digest_of(meta), digest_of({**meta, **fields}))
    arguments = {
        "before": change.before,
        "after": change.after,
        "meta_before": change.meta_before,
        "meta_after": change.meta_after,
        "code": code_of(pepper, change) if pepper else "",
        "meta": [word for pair in fields.items() for word in pair],
    }
    reply = await store.run("data_set", [feed, home], arguments, write=True)
    if reply["o"] != "replaced":
        raise StoreMismatchError(f"the store at {store.where} got another data set meanwhile: {remedy}")
