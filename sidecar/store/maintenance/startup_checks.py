"""Check of a store's identity and schema, at the start and while the store is in use (R22, R23, R46).

The meta record, ``sc:meta``, is created once; each partition has a copy. A store with data but without its meta record
is rejected, because nothing proves the origin of the data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from sidecar.store import keys
from sidecar.store.errors import StoreMismatchError
from sidecar.store.integrity import server_checks
from sidecar.store.integrity.proof import META_FIELDS

SCHEMA: Final = "3"


class StartupStore(server_checks.CheckedStore, Protocol):
    """Part of a Store that the check needs. Protocol: store/connection.py imports this module."""

    partitions: int
    identity: Mapping[str, str]

    async def run(
        self, name: str, keys: Sequence[str], args: Mapping[str, object] | Sequence[str], *, write: bool = ...
    ) -> dict[str, Any]: ...
    async def change(self, *words: str | int) -> Any: ...
    async def command(self, *words: str | int) -> Any: ...
    async def pairs(self, *words: str | int) -> list[tuple[str, str]]: ...


async def check(
    store: StartupStore,
    *,
    issuer: str | None,
    audience: str | None,
    demo: bool,
    pepper: str | None,
    data_set: str,
    repair: bool = False,
) -> tuple[str, ...]:
    """Inspect the setup of the servers, then create or compare the meta record. Returns warnings.

    ``repair`` rewrites a missing meta record from a partition's copy. Raises StoreMismatchError with one sentence.
    """
    findings = await server_checks.inspect(store)
    for finding in findings:
        if finding.fatal:
            raise StoreMismatchError(finding.message)
    await _require_meta(store, repair=repair)
    expected = {
        "schema": SCHEMA,
        "P": str(store.partitions),
        "demo": "1" if demo else "0",
        "issuer": issuer,
        "audience": audience,
        "pepper": pepper,
    }
    known = {field: value for field, value in expected.items() if value is not None}
    reply = await store.run("meta", [keys.META], known, write=True)
    meta: dict[str, str] = reply["meta"]
    compare(store.where, meta, expected)
    store.partitions = int(meta["P"])
    for partition in range(store.partitions):
        copy = await store.run("meta", [keys.partition_meta(partition)], meta, write=True)
        compare(store.where, copy["meta"], expected)
        await store.change("SET", f"{keys.feed(partition)}:gen", data_set, "NX")
    store.identity = {field: value for field, value in known.items() if field in META_FIELDS}
    return tuple(finding.message for finding in findings)


async def objection(store: StartupStore) -> str:
    """Return why the meta record of a store in use no longer matches this process; empty if it does. Writes nothing.

    Raises StoreUnavailableError.
    """
    meta = dict(await store.pairs("HGETALL", keys.META))
    if not meta:
        return "its meta record is gone: run `sidecar fsck --repair`"
    try:
        compare(store.where, meta, store.identity)
    except StoreMismatchError as problem:
        return str(problem)
    return ""


async def holds_data(store: StartupStore) -> bool:
    """Return whether a sidecar has used the store: it has a data set or an account."""
    return bool(await store.command("EXISTS", f"{keys.feed(0)}:gen", keys.names()))


async def _require_meta(store: StartupStore, *, repair: bool) -> None:
    """Reject a store with data but without its meta record, unless ``repair`` can rewrite it."""
    if await store.command("EXISTS", keys.META) or not await holds_data(store):
        return
    if await store.command("EXISTS", keys.META):  # another sidecar created the store in between
        return
    copy = await store.pairs("HGETALL", keys.partition_meta(0))
    if repair and copy:
        await store.change("HSET", keys.META, *(word for pair in copy for word in pair))
        return
    remedy = "run `sidecar fsck --repair`" if copy else "restore a backup into an empty one"
    raise StoreMismatchError(f"the store at {store.where} holds data and its meta record is gone: {remedy}")


def compare(where: str, meta: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """Raise StoreMismatchError where ``meta`` differs from ``expected``. An expected None is not compared."""
    schema = meta.get("schema", "")
    if schema != SCHEMA:
        raise StoreMismatchError(
            f"the store at {where} has schema {schema}, this sidecar needs {SCHEMA}: "
            "run `sidecar migrate`, or the sidecar version that wrote it"
        )
    if (demo := expected.get("demo")) is not None and meta.get("demo") != demo:
        kind = "was made by `sidecar demo`" if meta.get("demo") == "1" else "is not a demo store"
        raise StoreMismatchError(f"the store at {where} {kind}: use another one, demo data and real data never mix")
    others = other_names(where, meta, issuer=expected.get("issuer"), audience=expected.get("audience"))
    if others:
        raise StoreMismatchError(others[0])
    if expected.get("pepper") is not None and meta.get("pepper") != expected["pepper"]:
        raise StoreMismatchError(
            f"the store at {where} holds passwords made with another pepper: "
            "point SIDECAR_KEYS_DIR at the keys that belong to this store"
        )


def other_names(where: str, meta: Mapping[str, str], *, issuer: str | None, audience: str | None) -> list[str]:
    """Return one sentence per name that differs from the record (R22). None and names not set yet match."""
    ways = {
        "issuer": f"set SIDECAR_ISSUER to the store's, or end all sessions with `sidecar issuer change {issuer}`",
        "audience": "set SIDECAR_AUDIENCE to the store's, or use another store",
    }
    return [
        f"the store at {where} was made with {field} {meta[field]!r}, this sidecar has {expected!r}: {ways[field]}"
        for field, expected in (("issuer", issuer), ("audience", audience))
        if expected is not None and meta.get(field, expected) != expected
    ]
