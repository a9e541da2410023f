"""Mails on their way out. A request only leaves an errand here, which is written and sent when the request is over.

So it takes as long for an e-mail that is known as for one that is not (R12), and no mail server ever holds a request
up. What waits is bounded and in memory: a crash loses it, and whoever waits for the mail asks again. Mails that
strangers ask for and mails that signed-in users ask for have separate queues and senders: neither displaces the other
(R16).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final

from sidecar.identity.hash_limits import MailSource
from sidecar.identity.mail import Letter, NotSent
from sidecar.store.connection import StoreUnavailable
from sidecar.telemetry.app_log import logger

MAX_WAITING: Final = 1000
"""Errands per queue."""

SENDERS: Final = 2
"""Tasks per queue."""

PAUSES: Final = (1.0, 5.0, 15.0)
"""Seconds before another try, each; then it is given up."""

CLOSING: Final = 2.0
LOG_SECONDS: Final = 60.0
"""At most one line per source and outcome in that time."""

Errand = Callable[[], Awaitable[Sequence[Letter]]]
"""Looks up whom to write to, and writes. Called again if the store did not answer."""

_log = logger("identity")


class MailOutcome(StrEnum):
    """Label of ``sidecar_mails_total``: queued or not queued, and why not; sent or failed."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    ADDRESS_LIMIT = "address_limit"
    RECIPIENT_LIMIT = "recipient_limit"
    ACCOUNT_LIMIT = "account_limit"
    QUEUE_FULL = "queue_full"
    STORE_UNAVAILABLE = "store_unavailable"


Count = Callable[[MailSource, MailOutcome], None]


def uncounted(_source: MailSource, _outcome: MailOutcome) -> None:
    """Discard the count."""


class Outbox:
    """``send`` hands one letter to the mail server, or raises NotSent. ``count`` is for the metric."""

    def __init__(
        self,
        send: Callable[[Letter], Awaitable[None]],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        count: Count = uncounted,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._pause = pause
        self._count = count
        self._monotonic = monotonic
        self._waiting: dict[MailSource, asyncio.Queue[Errand]] = {
            source: asyncio.Queue(MAX_WAITING) for source in (MailSource.USER, MailSource.STRANGER)
        }
        self._logged: dict[tuple[MailSource, MailOutcome], float] = {}

    def post(self, errand: Errand, source: MailSource) -> bool:
        """Queue ``errand`` without waiting. False: the queue of ``source`` is full, and the errand is dropped."""
        try:
            self._waiting[source].put_nowait(errand)
        except asyncio.QueueFull:
            self.reject(source, MailOutcome.QUEUE_FULL)
            return False
        self._count(source, MailOutcome.QUEUED)
        return True

    def reject(self, source: MailSource, outcome: MailOutcome) -> None:
        """Count a mail that is not sent, and log it once a minute: a flood of requests must not flood the log."""
        self._count(source, outcome)
        now = self._monotonic()
        if now - self._logged.get((source, outcome), float("-inf")) >= LOG_SECONDS:
            self._logged[source, outcome] = now
            _log.warning("mail not queued: see sidecar_mails_total", source=source.value, reason=outcome.value)

    async def run(self) -> None:
        """Until cancelled. No mail and no server brings it down."""
        async with asyncio.TaskGroup() as senders:
            for source in self._waiting:
                for _ in range(SENDERS):
                    senders.create_task(self._work(source))

    async def close(self) -> None:
        """After ``run`` was cancelled: what still waits gets one quick chance, signed-in users' mails first."""
        self._pause = _never
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                for source, waiting in self._waiting.items():
                    while not waiting.empty():
                        await self._carry_out(waiting.get_nowait(), source)

    async def _work(self, source: MailSource) -> None:
        waiting = self._waiting[source]
        while True:
            errand = await waiting.get()
            try:
                await self._carry_out(errand, source)
            except asyncio.CancelledError:
                with suppress(asyncio.QueueFull):
                    waiting.put_nowait(errand)
                raise

    async def _carry_out(self, errand: Errand, source: MailSource) -> None:
        try:
            for letter in await self._written(errand):
                await self._deliver(letter)
                self._count(source, MailOutcome.SENT)
        except (NotSent, StoreUnavailable) as failed:
            self._count(source, MailOutcome.FAILED)
            _log.error("a mail could not be sent", error=str(failed) or type(failed).__name__)
        except Exception:
            self._count(source, MailOutcome.FAILED)
            _log.exception("a mail could not be written or sent")

    async def _written(self, errand: Errand) -> Sequence[Letter]:
        for pause in PAUSES:
            try:
                return await errand()
            except StoreUnavailable:
                await self._pause(pause)
        return await errand()

    async def _deliver(self, letter: Letter) -> None:
        for pause in PAUSES:
            try:
                return await self._send(letter)
            except NotSent as failed:
                if failed.for_good:
                    raise
                _log.warning("the mail server did not take a mail; it is tried again", error=str(failed), seconds=pause)
                await self._pause(pause)
        return await self._send(letter)


async def _never(_seconds: float) -> None:
    raise NotSent("the sidecar is stopping", for_good=True)
