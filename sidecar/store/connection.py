"""Connection to the store: runs scripts and commands. Repeats only calls that are safe to repeat.

redis-py's own retries are off: they executed writes twice. Instead every writing script carries a request id under
which the server keeps its reply. After a broken connection the call is sent once more, and still executes once. A call
that timed out is not repeated, because its caller has waited long enough: it raises StoreUnavailableError.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis import exceptions

from sidecar.store import keys, scripts
from sidecar.store.errors import Answer, StoreMismatchError, StoreUnavailableError, guarded_call, is_elsewhere
from sidecar.store.live.direct_reads import ReadGate
from sidecar.store.maintenance import startup_checks
from sidecar.store.servers.address import masked
from sidecar.store.servers.connection_pools import Patience
from sidecar.store.servers.topology import SingleServer, StoreServer, Topology, topology
from sidecar.store.spans import store_span

__all__ = ["Store", "StoreMismatchError", "StoreUnavailableError", "decoded", "was_answered"]

READ_TIMEOUT: Final = 0.4
WRITE_TIMEOUT: Final = 2.0
CONFIRM_MS: Final = 500


class Store:
    """Connection to one store, and the number of partitions that its accounts are spread over."""

    def __init__(
        self,
        place: Topology,
        *,
        where: str,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.on_request: Callable[[str, float], None] = lambda _name, _seconds: None
        self.on_failure: Callable[[str], None] = lambda _name: None
        """``on_request`` receives each script's name and its seconds, ``on_failure`` the name of a failed script."""
        self.gate = ReadGate()
        """Gate of every read below, except reads of a server's own state (``servers``) and of the feed."""
        self.partitions = place.partitions
        self.where = where
        self.confirm_replicas = 0
        """Replicas that must confirm a change before it counts as durable; set by the start-up check."""
        self.identity: Mapping[str, str] = {}
        """Required fields of the store's meta record (R22, R46); set by the start-up check."""
        self.lone_master = False
        """Accept a master under Sentinel or Cluster that writes without replicas."""
        self.has_failover = place.has_failover
        """True when Sentinel or Cluster may promote a replica."""
        self.client = place.only if isinstance(place, SingleServer) else None
        """Client of a single server, for direct access to keys in tests; None for Sentinel and Cluster."""
        self.on_move: Callable[[], None] = lambda: None
        """Called when a master has moved to another server."""
        self._entropy = entropy
        self._use(place)

    @classmethod
    def at(
        cls,
        url: str,
        *,
        read_timeout: float = READ_TIMEOUT,
        write_timeout: float = WRITE_TIMEOUT,
        sentinel_password: str | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "Store":
        """Return the store at ``url`` without connecting: a sidecar may start during an outage of its store.

        Timeouts are seconds. Raises StoreMismatchError for a URL that cannot be used.
        """
        patience = Patience(read_timeout, write_timeout)
        place = topology(url, patience=patience, sentinel_password=sentinel_password)
        return cls(place, where=masked(url), entropy=entropy)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        read_timeout: float = READ_TIMEOUT,
        write_timeout: float = WRITE_TIMEOUT,
        sentinel_password: str | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "Store":
        """Return the store at ``url`` after a PING. Raises StoreUnavailableError, and as ``at`` does."""
        store = cls.at(
            url,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            sentinel_password=sentinel_password,
            entropy=entropy,
        )
        try:
            await store.ping()
        except BaseException:
            await store.close()
            raise
        return store

    def request_id(self) -> str:
        """Return a random id, never one taken from a request (R13)."""
        return self._entropy(12).hex()

    @asynccontextmanager
    async def listening(self, key: str, patience: float) -> AsyncIterator[Any]:
        """Yield a client of ONE connection to the master of ``key``, for reads that may take ``patience`` seconds.

        The first command connects. The connection does not outlive an error, so that the feed verifies the server
        behind each new one.
        """
        connection = await guarded_call(self.place.listener(key, patience))
        try:
            yield connection
        except StoreUnavailableError:
            self.suspect()
            raise
        finally:
            with suppress(exceptions.RedisError, OSError):
                await connection.aclose()

    async def run(
        self, name: str, keys: Sequence[str], args: Mapping[str, object] | Sequence[str], *, write: bool = False
    ) -> dict[str, Any]:
        """Run a script in one round trip. ``args``: a JSON object, or strings. Raises StoreUnavailableError."""
        if not write:
            self.gate.admit(name, keys[0] if keys else "")
        began = time.perf_counter()
        try:
            return await self._run(name, keys, args, write=write)
        except StoreUnavailableError:
            self.on_failure(name)
            raise
        finally:
            self.on_request(name, time.perf_counter() - began)

    async def _run(
        self, name: str, keys: Sequence[str], args: Mapping[str, object] | Sequence[str], *, write: bool = False
    ) -> dict[str, Any]:
        words = [json.dumps(args, ensure_ascii=False)] if isinstance(args, Mapping) else list(args)
        return await self._twice(lambda: self._evaluate(scripts.script(name), keys, words, write=write))

    async def _twice(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Call, and repeat once on a new connection when the old one was closed or the key has another master."""
        try:
            return await guarded_call(call())
        except StoreUnavailableError as problem:
            if not is_elsewhere(problem):
                self.suspect()
                raise
            moved = problem.__cause__
        try:
            await guarded_call(self.place.look_again(moved if isinstance(moved, exceptions.MovedError) else None))
            return await guarded_call(call())
        except StoreUnavailableError:
            self.suspect()
            raise

    async def _evaluate(
        self, script: scripts.Script, keys: Sequence[str], words: Sequence[str], *, write: bool
    ) -> dict[str, Any]:
        with store_span("EVALSHA", script.name):
            client = await self.place.client(keys[0], write=write)
            if write and self.confirm_replicas > 0:
                return await self._evaluate_confirmed(client, script, keys, words)
            try:
                raw = await client.evalsha(script.sha, len(keys), *keys, *words)
            except exceptions.NoScriptError:  # expected after a restart and on a promoted replica
                raw = await client.eval(script.text, len(keys), *keys, *words)
            return decoded(raw)

    async def _evaluate_confirmed(
        self, client: Any, script: scripts.Script, keys: Sequence[str], words: Sequence[str]
    ) -> dict[str, Any]:
        """Run the script and WAIT on one connection: WAIT counts the replicas that have this connection's writes."""
        async with client.pipeline(transaction=False) as both:
            both.eval(script.text, len(keys), *keys, *words)
            both.execute_command("WAIT", self.confirm_replicas, CONFIRM_MS)
            raw, replicas = await both.execute(raise_on_error=False)
        for answer in (raw, replicas):
            if isinstance(answer, Exception):
                raise answer
        return {**decoded(raw), "durable": int(replicas) >= self.confirm_replicas}

    async def check_meta(
        self,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        demo: bool = False,
        pepper: str | None = None,
        repair: bool = False,
    ) -> tuple[str, ...]:
        """Create or compare the store's meta record (R22, R23) and check the server's settings. Returns warnings.

        None is neither set nor compared: a command that does not serve need not know the issuer. Raises
        StoreMismatchError for another issuer, audience, pepper or schema, for a demo's store, and for an eviction
        policy.
        """
        return await startup_checks.check(
            self,
            issuer=issuer,
            audience=audience,
            demo=demo,
            pepper=pepper,
            data_set=self._entropy(16).hex(),
            repair=repair,
        )

    async def meta(self) -> dict[str, str]:
        """Return the store's meta record; empty when no sidecar has used the store. Creates nothing."""
        return dict(await self.pairs("HGETALL", keys.META))

    async def command(self, *words: str | int) -> Any:
        """Run a plain read command; its second word is the key. Raises StoreUnavailableError."""
        self.gate.admit(str(words[0]), str(words[1]) if len(words) > 1 else "")
        return await self._twice(lambda: self._execute(words))

    async def read_anyway(self, *words: str | int) -> Any:
        """Run a plain read command past the gate, for the recovery of a store that is closed to other reads (R48)."""
        return await self._twice(lambda: self._execute(words))

    async def change(self, *words: str | int) -> Any:
        """Run a plain write command. It must be idempotent, because it may be sent twice."""
        return await self._twice(lambda: self._execute(words, write=True))

    async def servers(self) -> list[StoreServer]:
        """Return every master, for commands about the server itself: INFO, CONFIG, SCAN."""
        return [StoreServer(client) for client in await guarded_call(self.place.masters())]

    async def pairs(self, *words: str | int) -> list[tuple[str, str]]:
        """Return the pairs of a map reply, which is a dict or a flat list (RESP2, RESP3, fakeredis)."""
        raw = await self.command(*words)
        if isinstance(raw, Mapping):
            return list(raw.items())
        if not isinstance(raw, list) or len(raw) % 2:
            raise StoreUnavailableError("the server is not Redis: it has no hashes", answered=True, refused=True)
        return list(zip(raw[::2], raw[1::2], strict=True))

    async def ping(self) -> None:
        """Return when the store responds. Raises StoreUnavailableError."""
        await self.command("PING")

    async def close(self) -> None:
        await self.place.close()

    def take_over(self, other: "Store") -> Topology:
        """Use the connections of ``other``: the same data by another URL.

        Returns the old connections, which the caller closes after the calls in flight have ended.
        """
        before = self.place
        self.where, self.client, self.confirm_replicas = other.where, other.client, other.confirm_replicas
        self.has_failover = other.has_failover
        self._use(other.place)
        return before

    def _use(self, place: Topology) -> None:
        self.place = place
        place.on_move = self._note_move

    def _note_move(self) -> None:
        self.on_move()

    def suspect(self) -> None:
        """Schedule a request to Sentinel or Cluster: a master may have moved, as after READONLY or NOREPLICAS."""
        self.place.suspect()

    async def _execute(self, words: Sequence[str | int], *, write: bool = False) -> Any:
        with store_span(str(words[0])):
            client = await self.place.client(str(words[1]) if len(words) > 1 else keys.META, write=write)
            return await client.execute_command(*words)


def was_answered(problem: Exception) -> bool:
    """Report whether the store responded. Of several batched reads, a single one may have caused the problem."""
    return not isinstance(problem, StoreUnavailableError) or problem.answered


def decoded(raw: Any) -> dict[str, Any]:
    """Return a script's reply. Raises StoreUnavailableError for a text that is no JSON object (R50)."""
    try:
        reply = json.loads(raw)
    except (TypeError, ValueError):
        reply = None
    if not isinstance(reply, dict):
        raise StoreUnavailableError(
            "the server runs no scripts: it is a proxy, or not Redis", answered=True, refused=True
        )
    return reply
