"""The one way to Redis: run a script, know what failed. Repeats nothing that it cannot repeat safely.

redis-py's own retries are off: they executed writes twice. Instead every writing script carries a request id under
which its answer is remembered, so a call whose connection broke is sent once more, and is not executed twice. A call
that timed out is not repeated: its caller has waited long enough, and is told ``StoreUnavailable``.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sidecar.store import scripts, startup
from sidecar.store.calling import called
from sidecar.store.errors import StoreRefused, StoreUnavailable

__all__ = ["Store", "StoreRefused", "StoreUnavailable", "gathered"]

READ_TIMEOUT: Final = 0.4
WRITE_TIMEOUT: Final = 2.0
CONNECTIONS: Final = 64
CONFIRM_MS: Final = 500


class Store:
    """A connection to one Redis, its scripts, and how many partitions its accounts are spread over."""

    def __init__(
        self,
        reads: Any,
        writes: Any,
        *,
        listener: Callable[[float], Any],
        where: str,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.partitions = 1
        self.where = where
        self.confirm_replicas = 0
        """Replicas that must have a change before it counts as durable; set by the start-up check."""
        self.watched_over = False
        """Sentinel or Cluster may promote a replica."""
        self.client = reads
        self._writes = writes
        self._listener = listener
        self._entropy = entropy

    @classmethod
    def at(
        cls,
        url: str,
        *,
        read_timeout: float = READ_TIMEOUT,
        write_timeout: float = WRITE_TIMEOUT,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "Store":
        """The store at ``url``, not asked yet: a server that starts while its store is out waits for it to come.

        Raises StoreRefused for a URL it cannot use.
        """

        def client(timeout: float, connections: int = CONNECTIONS) -> Any:
            return _client(url, timeout, connections)

        return cls(
            client(read_timeout),
            client(write_timeout),
            listener=lambda timeout: client(timeout, 2),
            where=_masked(url),
            entropy=entropy,
        )

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        read_timeout: float = READ_TIMEOUT,
        write_timeout: float = WRITE_TIMEOUT,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "Store":
        """As ``at``, and it answers. Raises StoreUnavailable when nothing does."""
        store = cls.at(url, read_timeout=read_timeout, write_timeout=write_timeout, entropy=entropy)
        try:
            await store.ping()
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    def from_client(cls, client: Any, *, entropy: Callable[[int], bytes] = os.urandom) -> "Store":
        """Over a client that somebody else made and closes (tests: fakeredis)."""
        return cls(client, client, listener=lambda _timeout: client, where="given client", entropy=entropy)

    def request_id(self) -> str:
        """Made here, never taken from a request (R13)."""
        return self._entropy(12).hex()

    @asynccontextmanager
    async def listening(self, patience: float) -> AsyncIterator[Any]:
        """A client of ONE connection for blocking reads whose answers may take ``patience`` seconds.

        It connects anew only after an error that its user has seen, so that who follows something can look whether it
        is still the same server. Not connected yet: the first command does that.
        """
        shared = self._listener(patience)
        connection = shared.client()
        try:
            yield connection
        finally:
            with suppress(exceptions.RedisError, OSError):
                await connection.aclose()
            if shared is not self.client:
                await shared.aclose()

    async def run(
        self, name: str, keys: Sequence[str], args: Mapping[str, object] | Sequence[str], *, write: bool = False
    ) -> dict[str, Any]:
        """One script, one round trip, its JSON answer. ``args``: one JSON object, or plain words."""
        script = scripts.script(name)
        words = [json.dumps(args, ensure_ascii=False)] if isinstance(args, Mapping) else list(args)
        client = self._writes if write else self.client
        try:
            return await called(self._evaluate(client, script, keys, words, confirm=write))
        except StoreUnavailable as problem:
            if not _connection_was_dead(problem):
                raise
        return await called(self._evaluate(client, script, keys, words, confirm=write))

    async def _evaluate(
        self, client: Any, script: scripts.Script, keys: Sequence[str], words: Sequence[str], *, confirm: bool
    ) -> dict[str, Any]:
        if confirm and self.confirm_replicas > 0:
            return await self._evaluate_confirmed(client, script, keys, words)
        try:
            raw = await client.evalsha(script.sha, len(keys), *keys, *words)
        except exceptions.NoScriptError:  # after a restart, on a fail-over's target: normal
            raw = await client.eval(script.text, len(keys), *keys, *words)
        return _decoded(raw)

    async def _evaluate_confirmed(
        self, client: Any, script: scripts.Script, keys: Sequence[str], words: Sequence[str]
    ) -> dict[str, Any]:
        """The script and WAIT on one connection: WAIT counts the replicas that have what this connection wrote."""
        async with client.pipeline(transaction=False) as both:
            both.eval(script.text, len(keys), *keys, *words)
            both.execute_command("WAIT", self.confirm_replicas, CONFIRM_MS)
            raw, replicas = await both.execute()
        return {**_decoded(raw), "durable": int(replicas) >= self.confirm_replicas}

    async def check_meta(
        self, *, issuer: str | None = None, audience: str | None = None, demo: bool = False, pepper: str | None = None
    ) -> tuple[str, ...]:
        """Create or compare the store's own record (R22, R23) and check how the server is set up. Returns warnings.

        What is None is neither set nor compared: a command line that does not serve need not know the issuer.
        Raises StoreRefused: another issuer, audience or pepper, a demo's store, another schema, an eviction policy.
        """
        return await startup.check(
            self, issuer=issuer, audience=audience, demo=demo, pepper=pepper, data_set=self._entropy(16).hex()
        )

    async def command(self, *words: str | int) -> Any:
        """A plain command, for the few reads that are no script."""
        return await called(self.client.execute_command(*words))

    async def change(self, *words: str | int) -> Any:
        """A plain command that writes, where no script is needed because doing it twice is doing it once."""
        return await called(self._writes.execute_command(*words))

    async def pairs(self, *words: str | int) -> list[tuple[str, str]]:
        """A command that answers with a map: a dict here, a flat list there (RESP2, RESP3, fakeredis)."""
        raw = await self.command(*words)
        if isinstance(raw, Mapping):
            return list(raw.items())
        listed = iter(raw)
        return list(zip(listed, listed, strict=True))

    async def ping(self) -> None:
        """Returns when the store answers; StoreUnavailable otherwise."""
        await self.command("PING")

    async def close(self) -> None:
        for client in (self.client, self._writes):
            await client.aclose()


def _connection_was_dead(problem: StoreUnavailable) -> bool:
    """As after the server's restart: the same words, under the same request id, may be sent on a new one."""
    cause = problem.__cause__
    if not isinstance(cause, exceptions.ConnectionError):
        return False
    refusing = exceptions.BusyLoadingError | exceptions.AuthenticationError | exceptions.MaxConnectionsError
    return not isinstance(cause, refusing) and not isinstance(cause.__cause__, TimeoutError | exceptions.TimeoutError)


def _decoded(raw: Any) -> dict[str, Any]:
    reply = json.loads(raw)
    if not isinstance(reply, dict):
        raise TypeError(f"a script answered {type(reply).__name__} instead of an object")
    return reply


def _client(url: str, timeout: float, connections: int) -> Any:
    if "://" not in url:
        raise StoreRefused(f"{_masked(url)} is not a store's address: write redis://host:6379/0 or unix:///path/socket")
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            health_check_interval=0,
            decode_responses=True,
            protocol=2,
        )
    except ValueError as error:
        raise StoreRefused(f"{_masked(url)} is not a store's address: {error}") from None
    return Redis.from_pool(pool)


def _masked(url: str) -> str:
    """The address without its secret (R24)."""
    return re.sub(r"//[^/@]*@", "//…@", url)


async def gathered(*calls: Any) -> list[Any]:
    """All of them at once; the first failure is raised after all have ended, so that none runs on unseen."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
