"""Continuous requests, with the send and receive time of each: the basis of all judgements about time."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tests.live.support import Http

UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True, slots=True)
class Question:
    """User, request and the right response while nothing changes."""

    who: str
    token: str
    path: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer. Times are of ``time.monotonic``."""

    question: Question
    url: str
    sent: float
    received: float
    status: int
    reason: str

    @property
    def right(self) -> bool:
        return (self.status, self.reason) == (self.question.status, self.question.reason)

    @property
    def unavailable(self) -> bool:
        return self.status in (403, 503) and self.reason == UNAVAILABLE


async def ask(http: Http, question: Question, url: str) -> Seen:
    sent = time.monotonic()
    answer = await http.check(question.path, token=question.token, url=url)
    return Seen(question, url, sent, time.monotonic(), answer.status, answer.headers["X-Auth-Reason"])


@asynccontextmanager
async def traffic(
    http: Http, urls: Sequence[str], pick: Callable[[random.Random], Question], *, clients: int = 8, seed: int = 1
) -> AsyncIterator[list[Seen]]:
    """``clients`` for each of ``urls``, each asking one question after the other. Raises the first failure."""
    seen: list[Seen] = []
    stop = asyncio.Event()

    async def client(url: str, chance: random.Random) -> None:
        while not stop.is_set():
            try:
                seen.append(await ask(http, pick(chance), url))
            except aiohttp.ClientConnectionError:
                if not stop.is_set():
                    raise
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            for url in urls:
                group.create_task(client(url, random.Random(f"{seed} {number} {url}")))
        try:
            yield seen
        finally:
            stop.set()
