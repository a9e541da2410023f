"""Password hashes: argon2id over a peppered password, in a bounded thread pool. Only this module imports argon2.

Hashing runs off the event loop, on at most as many threads as there are spare cores. Sign-ins therefore neither delay
checks nor exhaust memory (19 MiB per thread). Jobs wait in three lanes (R16, R17). Sign-ins cannot displace password
changes and accepted invitations, and suspect sign-ins cannot displace other ones. A full lane returns ``Overloaded``.
"""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import Final, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from sidecar.domain.users import UserId
from sidecar.telemetry.tracing import child
from sidecar.tokens.opaque import Pepper, Purpose

T = TypeVar("T")

_NO_USER: Final = UserId("usr_nobody")

SUSPECTS: Final = 4
"""Maximum waiting suspect sign-ins per thread: 0.1 s of work."""

MOST_THREADS: Final = 4
"""Maximum threads per process. A container sees all cores of its node, and each thread takes 19 MiB."""

STEP_BACK: Final = 10
"""Niceness of the hashing threads, so that checks run first when cores are scarce."""


class Priority(Enum):
    """Queue of a hashing job, by priority: caller with a proof, sign-in, suspect sign-in."""

    PROVEN = "proven"
    SIGN_IN = "sign_in"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class HashParameters:
    """Cost of argon2id. The default is OWASP's minimum of 2024: 19 MiB, two passes, one lane (about 20 ms)."""

    time_cost: int = 2
    memory_kib: int = 19 * 1024
    parallelism: int = 1


DEAREST: Final = HashParameters(time_cost=16, memory_kib=8 * 19 * 1024, parallelism=8)
"""Maximum cost of a stored hash. A costlier one, for example of a crafted backup, counts as damaged, because strangers
choose when it is verified."""


@dataclass(frozen=True, slots=True)
class Overloaded:
    """Rejected job: the lane is full. Nothing was hashed. ``retry_after``: seconds."""

    retry_after: int = 1


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of a comparison. ``outdated``: the hash has other parameters than the current ones."""

    matches: bool
    outdated: bool


class Hashing:
    """Hashing pool, one per worker process. ``places``: maximum waiting jobs per thread, for each of the first two
    lanes."""

    def __init__(
        self,
        pepper: Pepper,
        *,
        parameters: HashParameters = HashParameters(),
        threads: int | None = None,
        places: int = 64,
    ) -> None:
        self._pepper = pepper
        self._argon2 = argon2.PasswordHasher(
            time_cost=parameters.time_cost, memory_cost=parameters.memory_kib, parallelism=parameters.parallelism
        )
        self._threads = threads or max(1, min(MOST_THREADS, (os.cpu_count() or 1) - 1))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="argon2", initializer=_step_back)
        self._waiting: dict[Priority, deque[asyncio.Future[None]]] = {priority: deque() for priority in Priority}
        self._places = {
            Priority.PROVEN: places * self._threads,
            Priority.SIGN_IN: places * self._threads,
            Priority.SUSPECT: SUSPECTS * self._threads,
        }
        self._turn = Priority.SIGN_IN
        self._busy = 0
        self._dummy: str | None = None
        self.on_hashed: Callable[[float], None] = lambda _seconds: None
        """Receives the seconds of each job, with its wait for a thread."""
        self.seconds = 0.02
        """Smoothed duration of a comparison. Callers use it to make two code paths take equal time."""

    @property
    def queue_depth(self) -> int:
        """Number of waiting jobs (metric ``sidecar_hash_queue_depth``)."""
        return sum(len(priority) for priority in self._waiting.values())

    async def hash(self, priority: Priority, user: UserId, password: str) -> str | Overloaded:
        """Hash ``user``'s normalised password. Returns the text to store."""
        return await self._run(priority, lambda: self._argon2.hash(self._peppered(user, password)))

    async def compare(self, priority: Priority, user: UserId, password: str, kept: str) -> VerifyResult | Overloaded:
        """Compare a normalised password with the stored hash ``kept``. A damaged hash never matches."""
        return await self._run(priority, lambda: self._compare(user, password, kept))

    async def verify_dummy(self, priority: Priority, password: str) -> VerifyResult | Overloaded:
        """Do the same work for an unknown user, with the current parameters. Never matches."""
        return await self._run(priority, lambda: self._compare(_NO_USER, password, self._dummy_hash()))

    def close(self) -> None:
        """Shut the pool down without waiting. Running jobs finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _peppered(self, user: UserId, password: str) -> bytes:
        # The MAC covers the user id, which contains the account id. A hash moved to another user never matches (R19).
        return self._pepper.mac(Purpose.PASSWORD, user, password)

    def _compare(self, user: UserId, password: str, kept: str) -> VerifyResult:
        started = perf_counter()
        try:
            if not _is_affordable(kept):
                return VerifyResult(False, False)
            self._argon2.verify(kept, self._peppered(user, password))
        except (VerificationError, InvalidHashError):  # a damaged hash never matches: fail closed
            return VerifyResult(False, False)
        finally:
            self.seconds += (perf_counter() - started - self.seconds) / 8
        return VerifyResult(user != _NO_USER, self._argon2.check_needs_rehash(kept))

    def _dummy_hash(self) -> str:
        if self._dummy is None:
            self._dummy = self._argon2.hash(self._pepper.mac(Purpose.PASSWORD, _NO_USER, os.urandom(16)))
        return self._dummy

    async def _run(self, priority: Priority, job: Callable[[], T]) -> T | Overloaded:
        with child("argon2") as span:
            span.set("sidecar.hash.priority", priority.value)
            outcome = await self._queued(priority, job)
            if isinstance(outcome, Overloaded):
                span.fail("overloaded")
            return outcome

    async def _queued(self, priority: Priority, job: Callable[[], T]) -> T | Overloaded:
        loop, started = asyncio.get_running_loop(), perf_counter()
        if self._busy < self._threads:
            self._busy += 1
        elif len(self._waiting[priority]) >= self._places[priority]:
            return Overloaded(1 + int(self.seconds * self.queue_depth / self._threads))
        else:
            await self._wait(priority, loop.create_future())
        work = loop.run_in_executor(self._pool, job)
        work.add_done_callback(lambda _: self._pass_on())  # also for a cancelled caller: the thread is busy until then
        hashed = await asyncio.shield(work)
        self.on_hashed(perf_counter() - started)
        return hashed

    async def _wait(self, priority: Priority, turn: asyncio.Future[None]) -> None:
        self._waiting[priority].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._pass_on()  # already granted: pass it to the next job
            raise
        finally:
            with suppress(ValueError):
                self._waiting[priority].remove(turn)

    def _pass_on(self) -> None:
        """Give the free thread to the next job. The first two lanes alternate, so that neither starves."""
        first, second = (
            (Priority.PROVEN, Priority.SIGN_IN)
            if self._turn is Priority.SIGN_IN
            else (Priority.SIGN_IN, Priority.PROVEN)
        )
        for priority in (first, second, Priority.SUSPECT):
            while self._waiting[priority]:
                turn = self._waiting[priority].popleft()
                if not turn.done():  # its caller may have been cancelled
                    self._turn = priority
                    turn.set_result(None)
                    return
        self._busy -= 1


def _is_affordable(kept: str) -> bool:
    """Return True if the cost of a stored hash is at most ``DEAREST``. Raises InvalidHashError."""
    cost = argon2.extract_parameters(kept)
    return (
        cost.time_cost <= DEAREST.time_cost
        and cost.memory_cost <= DEAREST.memory_kib
        and cost.parallelism <= DEAREST.parallelism
    )


def _step_back() -> None:
    """Set the niceness of a pool thread at its start. Only Linux has a niceness per thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), STEP_BACK)
