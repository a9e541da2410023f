"""The one way to Redis: run a script, know what failed. Repeats nothing that it cannot repeat safely.

redis-py's own retries are off: they executed writes twice. Instead every writing script carries a request id under
which its answer is remembered, so a call whose connection broke is sent once more, and is not executed twice. A call
that timed out is not repeated: its caller has waited long enough, and is told ``StoreUnavailable``.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis import exceptions

from sidecar.store import keys, scripts
from sidecar.store.calling import Answer, Server, called, gathered
from sidecar.store.errors import StoreRefused, StoreUnavailable, is_elsewhere
from sidecar.store.live.direct_reads import Gate
from sidecar.store.maintenance import startup_checks
from sidecar.store.servers.address import masked
from sidecar.store.servers.connection_pools import Patience
from sidecar.store.servers.topology import Borrowed, Single, Topology, topology

__all__ = ["Store", "StoreRefused", "StoreUnavailable", "decoded", "gathered", "was_answered"]

READ_TIMEOUT: Final = 0.4
WRITE_TIMEOUT: Final = 2.0
CONFIRM_MS: Final = 500


class Store:
    """A connection to one Redis, its scripts, and how many partitions its accounts are spread over."""

    def __init__(
        self,
        place: Topology,
        *,
        where: str,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.on_request: Callable[[str, float], None] = lambda _name, _seconds: None
        self.on_failure: Callable[[str], None] = lambda _name: None
        """Told of every script: its name, how long it took, and that it was left without an answer."""
        self.gate = Gate()
        """What every read below passes, but those that ask one server of itself (``servers``) and the feed."""
        self.partitions = place.partitions
        self.where = where
        self.confirm_replicas = 0
        """Replicas that must have a change before it counts as durable; set by the start-up check."""
        self.identity: Mapping[str, str] = {}
        """What this process demands of the store's meta record (R22, R46); set by the start-up check."""
        self.lone_master = False
        """Accept a master that Sentinel or Cluster watches over and that writes without replicas."""
        self.watched_over = place.watched_over
        """Sentinel or Cluster may promote a replica."""
        self.client = place.only if isinstance(place, Single | Borrowed) else None
        """The client itself, where there is one server: for whoever looks at keys with their own eyes (tests)."""
        self.on_move: Callable[[], None] = lambda: None
        """Called when a master is another server than before."""
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
        """The store at ``url``, not asked yet: a server that starts while its store is out waits for it to come.

        Raises StoreRefused for a URL it cannot use.
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
        """As ``at``, and it answers. Raises StoreUnavailable when nothing does."""
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

    @classmethod
    def from_client(cls, client: Any, *, entropy: Callable[[int], bytes] = os.urandom) -> "Store":
        """Over a client that somebody else made and closes (tests: fakeredis)."""
        return cls(Borrowed(client), where="given client", entropy=entropy)

    def request_id(self) -> str:
        """Made here, never taken from a request (R13)."""
        return self._entropy(12).hex()

    @asynccontextmanager
    async def listening(self, key: str, patience: float) -> AsyncIterator[Any]:
        """A client of ONE connection, to the master of ``key``, for reads whose answers may take ``patience`` seconds.

        After an error that its user has seen, it is left and another one taken, so that who follows something can look
        whether it is still the same server. Not connected yet: the first command does that.
        """
        connection = await called(self.place.listener(key, patience))
        try:
            yield connection
        except StoreUnavailable:
            self.suspect()
            raise
        finally:
            with suppress(exceptions.RedisError, OSError):
                await connection.aclose()

    async def run(
        self, name: str, keys: Sequence[str], args: Mapping[str, object] | Sequence[str], *, write: bool = False
    ) -> dict[str, Any]:
        """One script, one round trip, its JSON answer. ``args``: one JSON object, or plain words."""
        if not write:
            self.gate.admit(name, keys[0] if keys else "")
        began = time.perf_counter()
        try:
            return await self._run(name, keys, args, write=write)
        except StoreUnavailable:
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
        """Once more on a new connection when the old one was dead, or the key's master is another one by now."""
        try:
            return await called(call())
        except StoreUnavailable as problem:
            if not is_elsewhere(problem):
                self.suspect()
                raise
            moved = problem.__cause__
        try:
            await called(self.place.look_again(moved if isinstance(moved, exceptions.MovedError) else None))
            return await called(call())
        except StoreUnavailable:
            self.suspect()
            raise

    async def _evaluate(
        self, script: scripts.Script, keys: Sequence[str], words: Sequence[str], *, write: bool
    ) -> dict[str, Any]:
        client = await self.place.client(keys[0], write=write)
        if write and self.confirm_replicas > 0:
            return await self._evaluate_confirmed(client, script, keys, words)
        try:
            raw = await client.evalsha(script.sha, len(keys), *keys, *words)
        except exceptions.NoScriptError:  # after a restart, on a fail-over's target: normal
            raw = await client.eval(script.text, len(keys), *keys, *words)
        return decoded(raw)

    async def _evaluate_confirmed(
        self, client: Any, script: scripts.Script, keys: Sequence[str], words: Sequence[str]
    ) -> dict[str, Any]:
        """The script and WAIT on one connection: WAIT counts the replicas that have what this connection wrote."""
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
        """Create or compare the store's own record (R22, R23) and check how the server is set up. Returns warnings.

        What is None is neither set nor compared: a command line that does not serve need not know the issuer.
        Raises StoreRefused: another issuer, audience or pepper, a demo's store, another schema, an eviction policy.
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
        """The store's own record as it stands; empty where no sidecar has been. Makes nothing."""
        return dict(await self.pairs("HGETALL", keys.META))

    async def command(self, *words: str | int) -> Any:
        """A plain command on the key that is its second word, for the few reads that are no script."""
        self.gate.admit(str(words[0]), str(words[1]) if len(words) > 1 else "")
        return await self._twice(lambda: self._ask(words))

    async def read_anyway(self, *words: str | int) -> Any:
        """A plain read past the gate: for the recovery of a store that nothing else may read (R48)."""
        return await self._twice(lambda: self._ask(words))

    async def change(self, *words: str | int) -> Any:
        """A plain command that writes, where no script is needed because doing it twice is doing it once."""
        return await self._twice(lambda: self._ask(words, write=True))

    async def servers(self) -> list[Server]:
        """Every master, to be asked for what is its own: INFO, CONFIG, SCAN."""
        return [Server(client) for client in await called(self.place.masters())]

    async def pairs(self, *words: str | int) -> list[tuple[str, str]]:
        """A command that answers with a map: a dict here, a flat list there (RESP2, RESP3, fakeredis)."""
        raw = await self.command(*words)
        if isinstance(raw, Mapping):
            return list(raw.items())
        if not isinstance(raw, list) or len(raw) % 2:
            raise StoreUnavailable("what answers is no Redis: it has no hashes", answered=True, refused=True)
        return list(zip(raw[::2], raw[1::2], strict=True))

    async def ping(self) -> None:
        """Returns when the store answers; StoreUnavailable otherwise."""
        await self.command("PING")

    async def close(self) -> None:
        await self.place.close()

    def take_over(self, other: "Store") -> Topology:
        """Use another store's connections from now on: the same data by another URL. Returns the old ones, to be closed
        when the calls on their way have ended."""
        before = self.place
        self.where, self.client, self.confirm_replicas = other.where, other.client, other.confirm_replicas
        self.watched_over = other.watched_over
        self._use(other.place)
        return before

    def _use(self, place: Topology) -> None:
        self.place = place
        place.on_move = self._note_move

    def _note_move(self) -> None:
        self.on_move()

    def suspect(self) -> None:
        """The masters may be others by now, as after READONLY or NOREPLICAS: Sentinel or Cluster is asked soon."""
        self.place.suspect()

    async def _ask(self, words: Sequence[str | int], *, write: bool = False) -> Any:
        client = await self.place.client(str(words[1]) if len(words) > 1 else keys.META, write=write)
        return await client.execute_command(*words)


def was_answered(problem: Exception) -> bool:
    """It came from a store that answers: of several questions at once, it may be for the sake of one alone."""
    return not isinstance(problem, StoreUnavailable) or problem.answered


def decoded(raw: Any) -> dict[str, Any]:
    """A script's answer. Anything but a JSON object is not from a server that ran the script (R50)."""
    try:
        reply = json.loads(raw)
    except (TypeError, ValueError):
        reply = None
    if not isinstance(reply, dict):
        raise StoreUnavailable("what answers runs no scripts: it is no Redis, or a proxy", answered=True, refused=True)
    return reply
