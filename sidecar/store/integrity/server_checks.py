"""Setup of the Redis servers behind the store: eviction, append-only file, replicas, permissions, clock.

Read only. A setup that breaks a guarantee is fatal at start and a warning afterwards; one that weakens a guarantee is a
warning. A managed service may hide INFO or CONFIG: an unchecked setting is a warning as well.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from redis import exceptions

from sidecar.store.codec import info_fields
from sidecar.store.errors import StoreUnavailableError, is_not_permitted
from sidecar.store.servers.topology import StoreServer

OLDEST: Final = (6, 2)
SAFE_REPLICAS: Final = 2
"""Replicas per master. With a single one, its restart leaves a master that may not write."""


class FindingKind(StrEnum):
    """Label ``kind`` of ``sidecar_store_warnings``."""

    ROLE = "role"
    VERSION = "version"
    EVICTION = "eviction"
    DURABILITY = "durability"
    REPLICAS = "replicas"
    RIGHTS = "rights"
    CLOCK_SKEW = "clock_skew"


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """Finding on a server. ``message``: one sentence with value and remedy. ``fatal``: no sidecar starts on it."""

    kind: FindingKind
    message: str
    fatal: bool = False


class CheckedStore(Protocol):
    """Part of a Store that the checks need. Protocol: store/connection.py imports this module."""

    where: str
    confirm_replicas: int
    has_failover: bool
    lone_master: bool

    async def servers(self) -> Sequence[StoreServer]: ...


async def inspect(store: CheckedStore) -> list[ServerFinding]:
    """Return the findings of all servers without duplicates. Raises StoreUnavailableError."""
    found = {finding: None for server in await store.servers() for finding in await _inspect(store, server)}
    return list(found)


async def clock_skew(store: CheckedStore, clock: Callable[[], float]) -> float:
    """Return the seconds by which this machine's clock is ahead of the server that differs most.

    The server's time counts for the middle of the round trip. Raises StoreUnavailableError."""
    skews = [0.0]
    for server in await store.servers():
        sent = clock()
        found = await server.command("TIME")
        if not isinstance(found, list | tuple) or len(found) != 2:
            raise StoreUnavailableError("the server is not Redis: it has no clock", answered=True, refused=True)
        skews.append((sent + clock()) / 2 - (int(found[0]) + int(found[1]) / 1e6))
    return max(skews, key=abs)


async def _inspect(store: CheckedStore, server: StoreServer) -> list[ServerFinding]:
    info = await _info(server)
    if info is None:
        hidden = "the store does not permit INFO: eviction, append-only file and replicas are not checked (grant +info)"
        return [ServerFinding(FindingKind.RIGHTS, hidden)]
    found = [*_role(store.where, info, has_failover=store.has_failover), *_eviction(store.where, info)]
    found += _durability(info, await _config(server, "appendfsync"))
    return [*found, *await _replicas(store, server, info)]


def _role(where: str, info: Mapping[str, str], *, has_failover: bool) -> list[ServerFinding]:
    found = []
    mode = info.get("server_mode") or info.get("redis_mode")  # Valkey's name, Redis' name
    if mode == "sentinel":
        message = f"the server at {where} is a Sentinel: write redis+sentinel://HOST:26379/MASTER"
        return [ServerFinding(FindingKind.ROLE, message, fatal=True)]
    if info.get("role", "master") != "master" and not has_failover:
        message = f"the store at {where} is a replica: point SIDECAR_REDIS_URL at the master"
        found.append(ServerFinding(FindingKind.ROLE, message, fatal=True))
    if mode == "cluster" and not has_failover:
        message = f"the store at {where} is a Redis Cluster: write redis+cluster://HOST:PORT in SIDECAR_REDIS_URL"
        found.append(ServerFinding(FindingKind.ROLE, message, fatal=True))
    if _version(info) < OLDEST:
        message = f"the store at {where} is Redis {info['redis_version']}: 6.2 or newer is needed"
        found.append(ServerFinding(FindingKind.VERSION, message, fatal=True))
    return found


def _eviction(where: str, info: Mapping[str, str]) -> list[ServerFinding]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    message = (
        f"the store at {where} evicts data when memory is short (maxmemory-policy {policy}): "
        "set maxmemory-policy to noeviction"
    )
    return [ServerFinding(FindingKind.EVICTION, message, fatal=True)]


def _durability(info: Mapping[str, str], appendfsync: str | None) -> list[ServerFinding]:
    if info.get("aof_enabled") != "1":
        message = (
            "the store has no append-only file: acknowledged changes can be lost when it stops (set appendonly yes)"
        )
    elif appendfsync is None:
        message = "the store does not show its appendfsync: only `always` preserves every acknowledged change"
    elif appendfsync != "always":
        message = f"the store's appendfsync is {appendfsync}: a power cut can lose the last second or two (set always)"
    else:
        return []
    return [ServerFinding(FindingKind.DURABILITY, message)]


async def _replicas(store: CheckedStore, server: StoreServer, info: Mapping[str, str]) -> list[ServerFinding]:
    """Return findings on replicas (R31): a fail-over can undo a revocation unless writes need a replica."""
    replicas = int(info.get("connected_slaves", "0"))
    if not replicas and not store.has_failover:
        return []
    needed = await _config(server, "min-replicas-to-write")
    if needed is None:
        message = "the store does not show its min-replicas-to-write: it has to be 1 or more where there are replicas"
        return [ServerFinding(FindingKind.REPLICAS, message)]
    if int(needed) < 1:
        return [_unconfirmed(store, replicas)]
    store.confirm_replicas = int(needed)
    if store.has_failover and replicas < SAFE_REPLICAS:
        message = (
            f"a master of the store at {store.where} has {replicas or 'no'} replica{'s' if replicas != 1 else ''}: "
            f"give each master {SAFE_REPLICAS}, or a restart of the one that is left denies everything"
        )
        return [ServerFinding(FindingKind.REPLICAS, message)]
    return []


def _unconfirmed(store: CheckedStore, replicas: int) -> ServerFinding:
    """Return the finding on a master that acknowledges writes without a replica."""
    if not replicas and store.lone_master:
        message = (
            f"a master of the store at {store.where} has no replica and writes without one, as "
            "SIDECAR_REDIS_LONE_MASTER permits: its loss is an outage, and a replica promoted later can bring revoked "
            "tokens back"
        )
        return ServerFinding(FindingKind.REPLICAS, message)
    if not replicas:
        message = (
            f"a master of the store at {store.where} has no replica: give each master {SAFE_REPLICAS} with "
            "min-replicas-to-write 1 and min-replicas-max-lag 5, or set SIDECAR_REDIS_LONE_MASTER=true (README: the "
            "risk)"
        )
        return ServerFinding(FindingKind.REPLICAS, message, fatal=True)
    message = (
        f"the store at {store.where} has replicas but writes without them: set min-replicas-to-write to 1 or more "
        "and min-replicas-max-lag to 5 or less, or a fail-over can bring revoked tokens back"
    )
    return ServerFinding(FindingKind.REPLICAS, message, fatal=True)


async def _info(server: StoreServer) -> Mapping[str, str] | None:
    """Return the fields of INFO; None where the command is missing (fakeredis) or not permitted."""
    reply = await _permitted(server, "INFO")
    return None if reply is None else info_fields(reply)


async def _config(server: StoreServer, name: str) -> str | None:
    raw = await _permitted(server, "CONFIG", "GET", name)
    if isinstance(raw, Mapping):
        return None if name not in raw else str(raw[name])
    return str(raw[1]) if raw else None


async def _permitted(server: StoreServer, *words: str) -> Any:
    """Return the reply; None where the command is unknown or not permitted."""
    try:
        return await server.command(*words)
    except (exceptions.ResponseError, StoreUnavailableError) as error:
        if not is_not_permitted(error):
            raise
        return None


def _version(info: Mapping[str, str]) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", info.get("redis_version", ""))
    return (99, 0) if found is None else (int(found[1]), int(found[2]))
