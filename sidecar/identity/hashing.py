"""Password hashes: argon2id over a peppered password, in a bounded pool of threads. The one import of argon2.

Nothing here runs on the event loop, and no more threads hash than there are cores to spare, so that sign-ins neither
hold up a check nor fill the memory (19 MiB each). Who waits stands in one of three lanes: a crowd of sign-ins takes no
place from people who change their password or accept an invitation, and suspect sign-ins take none from the others
(R16, R17). Full is an outcome, ``Overloaded``, never a longer queue.
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
from sidecar.tokens.opaque import Pepper, Purpose

T = TypeVar("T")

_NOBODY: Final = UserId("usr_nobody")

SUSPECTS: Final = 4
"""Suspect sign-ins that may wait, for each thread: a tenth of a second's work."""

MOST_THREADS: Final = 4
"""Of a process, on however many cores: a container sees all cores of its node, and each thread takes 19 MiB of it."""

STEP_BACK: Final = 10
"""How much nicer than the loop the hashing threads are: where cores are short, a check goes first."""


class Lane(Enum):
    """Who waits for a hash, the most deserving first: one with a proof of its own, a sign-in, a suspect sign-in."""

    PROVEN = "proven"
    SIGN_IN = "sign_in"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class Parameters:
    """argon2id's cost. OWASP's least for 2024: 19 MiB, two passes, one lane: about 20 ms."""

    time_cost: int = 2
    memory_kib: int = 19 * 1024
    parallelism: int = 1


DEAREST: Final = Parameters(time_cost=16, memory_kib=8 * 19 * 1024, parallelism=8)
"""What a stored hash may cost. One beyond it, as of a crafted backup, is damaged: strangers choose when it is tried."""


@dataclass(frozen=True, slots=True)
class Overloaded:
    """The lane is full. Nothing was hashed."""

    retry_after: int = 1


@dataclass(frozen=True, slots=True)
class Compared:
    """``matches``, and whether the hash was made with weaker parameters than today's."""

    matches: bool
    outdated: bool


class Hashing:
    """One a worker process. ``places`` bounds who may be waiting or at work in each lane, for each thread."""

    def __init__(
        self,
        pepper: Pepper,
        *,
        parameters: Parameters = Parameters(),
        threads: int | None = None,
        places: int = 64,
    ) -> None:
        self._pepper = pepper
        self._argon2 = argon2.PasswordHasher(
            time_cost=parameters.time_cost, memory_cost=parameters.memory_kib, parallelism=parameters.parallelism
        )
        self._threads = threads or max(1, min(MOST_THREADS, (os.cpu_count() or 1) - 1))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="argon2", initializer=_step_back)
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}
        self._places = {
            Lane.PROVEN: places * self._threads,
            Lane.SIGN_IN: places * self._threads,
            Lane.SUSPECT: SUSPECTS * self._threads,
        }
        self._turn = Lane.SIGN_IN
        self._busy = 0
        self._dummy: str | None = None
        self.seconds = 0.02
        """How long a comparison takes, smoothed. For those who must make two paths take equally long."""

    @property
    def queue_depth(self) -> int:
        """Who waits for a thread (metric ``sidecar_hash_queue_depth``)."""
        return sum(len(lane) for lane in self._waiting.values())

    async def hash(self, lane: Lane, user: UserId, password: str) -> str | Overloaded:
        """The text to keep of ``user``'s normalised password."""
        return await self._run(lane, lambda: self._argon2.hash(self._peppered(user, password)))

    async def compare(self, lane: Lane, user: UserId, password: str, kept: str) -> Compared | Overloaded:
        """Is ``password`` (normalised) the one that ``kept`` was made of?"""
        return await self._run(lane, lambda: self._compare(user, password, kept))

    async def compare_nobody(self, lane: Lane, password: str) -> Compared | Overloaded:
        """The same work for a user that does not exist, under today's parameters. Never matches."""
        return await self._run(lane, lambda: self._compare(_NOBODY, password, self._nobodys()))

    def close(self) -> None:
        """Let go of the threads; who is at work finishes."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _peppered(self, user: UserId, password: str) -> bytes:
        # The user's id holds its account's, and stands in the MAC: a hash moved to another user matches nothing (R19).
        return self._pepper.mac(Purpose.PASSWORD, user, password)

    def _compare(self, user: UserId, password: str, kept: str) -> Compared:
        started = perf_counter()
        try:
            if not _is_affordable(kept):
                return Compared(False, False)
            self._argon2.verify(kept, self._peppered(user, password))
        except (VerificationError, InvalidHashError):  # a damaged hash matches nothing: fails closed
            return Compared(False, False)
        finally:
            self.seconds += (perf_counter() - started - self.seconds) / 8
        return Compared(user != _NOBODY, self._argon2.check_needs_rehash(kept))

    def _nobodys(self) -> str:
        if self._dummy is None:
            self._dummy = self._argon2.hash(self._pepper.mac(Purpose.PASSWORD, _NOBODY, os.urandom(16)))
        return self._dummy

    async def _run(self, lane: Lane, job: Callable[[], T]) -> T | Overloaded:
        loop = asyncio.get_running_loop()
        if self._busy < self._threads:
            self._busy += 1
        elif len(self._waiting[lane]) >= self._places[lane]:
            return Overloaded(1 + int(self.seconds * self.queue_depth / self._threads))
        else:
            await self._wait(lane, loop.create_future())
        work = loop.run_in_executor(self._pool, job)
        work.add_done_callback(lambda _: self._pass_on())  # also when the caller has gone: the thread is busy till then
        return await asyncio.shield(work)

    async def _wait(self, lane: Lane, turn: asyncio.Future[None]) -> None:
        self._waiting[lane].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._pass_on()  # the turn had come already: somebody else takes it
            raise
        finally:
            with suppress(ValueError):
                self._waiting[lane].remove(turn)

    def _pass_on(self) -> None:
        """Give the free thread to the next: proven and sign-in by turns, so that neither starves; then the suspects."""
        first, second = (Lane.PROVEN, Lane.SIGN_IN) if self._turn is Lane.SIGN_IN else (Lane.SIGN_IN, Lane.PROVEN)
        for lane in (first, second, Lane.SUSPECT):
            while self._waiting[lane]:
                turn = self._waiting[lane].popleft()
                if not turn.done():  # its caller may have gone a moment ago
                    self._turn = lane
                    turn.set_result(None)
                    return
        self._busy -= 1


def _is_affordable(kept: str) -> bool:
    """Raises InvalidHashError."""
    cost = argon2.extract_parameters(kept)
    return (
        cost.time_cost <= DEAREST.time_cost
        and cost.memory_cost <= DEAREST.memory_kib
        and cost.parallelism <= DEAREST.parallelism
    )


def _step_back() -> None:
    """In each thread of the pool, as it begins. On Linux alone a thread has a niceness of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), STEP_BACK)
