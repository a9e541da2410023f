"""What is asked of a store before it is used: is it ours, is it of this schema, and does it keep what it acknowledges?

What would break a promise refuses the start (StoreRefused, one sentence); what weakens one is a warning, a value.
A managed service may hide INFO or CONFIG: what cannot be seen is said, not assumed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from redis import exceptions

from sidecar.store import keys
from sidecar.store.errors import StoreRefused, StoreUnavailable

SCHEMA: Final = "1"


class AskedServer(Protocol):
    """One server by itself."""

    async def command(self, *words: str | int) -> Any: ...


class Asked(Protocol):
    """The part of a Store that the check needs."""

    partitions: int
    where: str
    confirm_replicas: int
    watched_over: bool

    async def run(
        self, name: str, keys: Sequence[str], args: Mapping[str, object] | Sequence[str], *, write: bool = ...
    ) -> dict[str, Any]: ...
    async def servers(self) -> Sequence[AskedServer]: ...
    async def change(self, *words: str | int) -> Any: ...


async def check(
    store: Asked, *, issuer: str | None, audience: str | None, demo: bool, pepper: str | None, data_set: str
) -> tuple[str, ...]:
    """Create or compare the store's own record, then look at how the server is set up. Returns warnings."""
    warnings = {said: None for server in await store.servers() for said in await _check_server(store, server)}
    given = {
        "schema": SCHEMA,
        "P": str(store.partitions),
        "demo": "1" if demo else "0",
        "issuer": issuer,
        "audience": audience,
        "pepper": pepper,
    }
    known = {field: value for field, value in given.items() if value is not None}
    reply = await store.run("meta", [keys.META], known, write=True)
    meta: dict[str, str] = reply["meta"]
    _compare(store.where, meta, given)
    store.partitions = int(meta["P"])
    for partition in range(store.partitions):
        await store.change("SET", f"{keys.feed(partition)}:gen", data_set, "NX")
    return tuple(warnings)


def _compare(where: str, meta: Mapping[str, str], given: Mapping[str, str | None]) -> None:
    if meta["schema"] != SCHEMA:
        raise StoreRefused(
            f"the store at {where} has schema {meta['schema']}, this sidecar knows {SCHEMA}: "
            "run `sidecar migrate`, or the sidecar version that wrote it"
        )
    if meta["demo"] != given["demo"]:
        kind = "was made by `sidecar demo`" if meta["demo"] == "1" else "is no demo's"
        raise StoreRefused(f"the store at {where} {kind}: use another one, demo data and real data never mix")
    others = other_names(where, meta, issuer=given["issuer"], audience=given["audience"])
    if others:
        raise StoreRefused(others[0])
    if given["pepper"] is not None and meta["pepper"] != given["pepper"]:
        raise StoreRefused(
            f"the store at {where} holds passwords made with another pepper: "
            "point SIDECAR_KEYS_DIR at the keys that belong to this store"
        )


def other_names(where: str, meta: Mapping[str, str], *, issuer: str | None, audience: str | None) -> list[str]:
    """R22: a sentence for each name that the record has otherwise. None, and a name not set yet, differ in nothing."""
    ways = {
        "issuer": f"set SIDECAR_ISSUER to the first, or end all sessions with `sidecar issuer change {issuer}`",
        "audience": "set SIDECAR_AUDIENCE to the first, or use another store",
    }
    return [
        f"the store at {where} was made with {field} {meta[field]!r}, this sidecar says {given!r}: {ways[field]}"
        for field, given in (("issuer", issuer), ("audience", audience))
        if given is not None and meta.get(field, given) != given
    ]


async def _check_server(store: Asked, server: AskedServer) -> tuple[str, ...]:
    info = await _info(server)
    if info is None:
        return ()
    if info.get("role", "master") != "master":
        raise StoreRefused(f"the store at {store.where} is a replica: point SIDECAR_REDIS_URL at the master")
    if _version(info) < (6, 2):
        raise StoreRefused(f"the store at {store.where} is Redis {info['redis_version']}: 6.2 or newer is needed")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreRefused(
            f"the store at {store.where} evicts data when memory is short (maxmemory-policy {policy}): "
            "set maxmemory-policy to noeviction"
        )
    return (*_durability(info, await _config(server, "appendfsync")), *await _check_replicas(store, server, info))


def _durability(info: Mapping[str, str], appendfsync: str | None) -> list[str]:
    if info.get("aof_enabled") != "1":
        return [
            "the store has no append-only file: what it acknowledged can be lost when it stops (set appendonly yes)"
        ]
    if appendfsync is None:
        return ["the store does not show its appendfsync: `always` is what keeps every acknowledged change"]
    if appendfsync != "always":
        return [f"the store's appendfsync is {appendfsync}: a power cut can lose the last second or two (set always)"]
    return []


async def _check_replicas(store: Asked, server: AskedServer, info: Mapping[str, str]) -> list[str]:
    """R31: with replicas about, a fail-over could bring back what was revoked, unless writes need a replica."""
    replicas = int(info.get("connected_slaves", "0"))
    if not replicas and not store.watched_over:
        return []
    needed = await _config(server, "min-replicas-to-write")
    if needed is None:
        return ["the store does not show its min-replicas-to-write: it has to be 1 or more where there are replicas"]
    if int(needed) < 1:
        raise StoreRefused(
            f"the store at {store.where} has replicas but writes without them: set min-replicas-to-write to 1 or more "
            "and min-replicas-max-lag to 5 or less, or a fail-over can bring revoked tokens back"
        )
    store.confirm_replicas = int(needed)
    return []


async def _info(server: AskedServer) -> Mapping[str, str] | None:
    """INFO as text pairs; None where there is no such command (fakeredis) or no right to it."""
    try:
        raw = await server.command("INFO")
    except (exceptions.ResponseError, StoreUnavailable) as error:
        if isinstance(error, StoreUnavailable) and not isinstance(error.__cause__, exceptions.NoPermissionError):
            raise
        return None
    if isinstance(raw, Mapping):
        return {str(name): str(value) for name, value in raw.items()}
    lines = (line.partition(":") for line in str(raw).splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in lines}


async def _config(server: AskedServer, name: str) -> str | None:
    try:
        raw = await server.command("CONFIG", "GET", name)
    except (exceptions.ResponseError, StoreUnavailable) as error:
        if isinstance(error, StoreUnavailable) and not isinstance(error.__cause__, exceptions.NoPermissionError):
            raise
        return None
    if isinstance(raw, Mapping):
        return None if name not in raw else str(raw[name])
    return str(raw[1]) if raw else None


def _version(info: Mapping[str, str]) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", info.get("redis_version", ""))
    return (99, 0) if found is None else (int(found[1]), int(found[2]))
