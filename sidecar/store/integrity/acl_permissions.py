"""Commands that a sidecar's Redis user must be permitted, and a trial of each.

The trial changes nothing: its key holds a string and expires, and each command fails on it or has no effect. A server
checks permissions first, so any reply except a permission error shows that the command is permitted. The trial needs no
permission of its own, unlike ACL DRYRUN.
"""

from dataclasses import dataclass
from typing import Final

from redis import exceptions

from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError, is_not_permitted
from sidecar.store.servers.topology import StoreServer

KEYS: Final = "~sc:*"
_NEEDED: Final = """
eval evalsha ping xread time get set del exists incr pexpire pexpireat pttl hexists hget hset hsetnx hmget hgetall hdel
hincrby hkeys hvals hscan sadd srem scard sismember smembers sscan zadd zrem zscore zcard zrange zrangebyscore zrevrange
zrevrangebyscore zremrangebyscore zremrangebyrank xadd xlen xrange xrevrange xtrim
"""
NEEDED: Final = tuple(_NEEDED.split())
"""Commands called by `serve` and the scripts. A test compares README's line with them."""
CHECKS: Final = ("info", "config|get")
"""Commands that the checks of eviction, append-only file and replicas need."""
FSCK: Final = "scan"
REPLICAS: Final = ("wait", "role")
"""Commands needed with replicas and with Sentinel. Discovery needs more (servers/discovery.py)."""

TRIAL_MS: Final = 60_000
_TRIAL: Final = f"sc:{keys.tag(0)}:rights"
_FORMS: Final = {
    "eval": "return 1",
    "evalsha": "0" * 40,
    "ping": "",
    "time": "",
    "role": "",
    "info": "server",
    "config|get": "appendfsync",
    "scan": "0 COUNT 1",
    "wait": "0 1",
    "xread": "COUNT 1 STREAMS KEY 0",
    "pexpire": f"KEY {TRIAL_MS}",
    "pexpireat": "KEY 32503680000000",
    "hset": "KEY f v",
    "hsetnx": "KEY f v",
    "hexists": "KEY f",
    "hget": "KEY f",
    "hmget": "KEY f",
    "hdel": "KEY f",
    "hincrby": "KEY f 1",
    "hscan": "KEY 0",
    "sscan": "KEY 0",
    "sadd": "KEY m",
    "srem": "KEY m",
    "sismember": "KEY m",
    "zadd": "KEY 1 m",
    "zrem": "KEY m",
    "zscore": "KEY m",
    "zrange": "KEY 0 0",
    "zrevrange": "KEY 0 0",
    "zrangebyscore": "KEY 0 0",
    "zrevrangebyscore": "KEY 0 0",
    "zremrangebyscore": "KEY 0 0",
    "zremrangebyrank": "KEY 0 0",
    "xadd": "KEY * f v",
    "xrange": "KEY - + COUNT 1",
    "xrevrange": "KEY + - COUNT 1",
    "xtrim": "KEY MAXLEN 1",
}
"""Arguments of the trial; KEY alone for a command without an entry."""


@dataclass(frozen=True, slots=True)
class MissingPermissions:
    """Commands that are not permitted, in the order of the ACL line.

    ``needed``: required for checks or changes. ``other``: required for server checks, fsck or confirmation by replicas.
    ``discovery``: required at the Sentinels or the Cluster's nodes to find the masters.
    """

    needed: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    discovery: tuple[str, ...] = ()


async def missing_permissions(store: Store) -> MissingPermissions:
    """Return the commands that a server denies. Raises StoreUnavailable for a store that does not respond.

    Without discovery no server is known, so only its commands are returned.
    """
    discovery = tuple(await store.place.denied())
    refused: dict[str, None] = {}
    try:
        servers = await store.servers()
    except StoreUnavailableError:
        if not discovery:
            raise
        servers = []
    for server in servers:
        refused.update(dict.fromkeys(await _refused(server)))
    return MissingPermissions(
        tuple(name for name in ("keys", *NEEDED) if name in refused),
        tuple(name for name in (*CHECKS, FSCK, *REPLICAS) if name in refused),
        discovery,
    )


async def _refused(server: StoreServer) -> list[str]:
    """Return the commands that this server denies; ``keys`` alone when it denies keys of this name."""
    first = await _refusal(server, "SET", _TRIAL, "x", "PX", TRIAL_MS)
    if first is not None and "key" in first.lower():
        return ["keys"]
    refused = ["set"] if first is not None else []
    # Without the trial key, a write command would write: try only the commands that do not.
    tried = NEEDED if first is None else ("eval", "evalsha", "ping", "time", "get", "exists", "xread")
    plain = [name for name in (*tried, *CHECKS, FSCK, *REPLICAS) if name not in {"set", "del"}]
    refused += [name for name in plain if await _refusal(server, *_words(name)) is not None]
    if await _refusal(server, "DEL", _TRIAL) is not None:
        refused.append("del")
    return refused


def _words(name: str) -> list[str | int]:
    words: list[str | int] = [*name.upper().split("|")]
    if name in {"eval", "evalsha"}:
        return [*words, _FORMS[name], 0]
    return [*words, *(_TRIAL if word == "KEY" else word for word in _FORMS.get(name, "KEY").split())]


async def _refusal(server: StoreServer, *words: str | int) -> str | None:
    """Return the text of a permission error; None for every other reply."""
    try:
        await server.command(*words)
    except (exceptions.ResponseError, StoreUnavailableError) as error:
        if is_not_permitted(error):
            return str(error)
        if isinstance(error, StoreUnavailableError) and not error.answered:
            raise
    return None
