"""Mails on their way out. A request only leaves an errand here, which is written and sent when the request is over.

So it takes as long for an e-mail that is known as for one that is not (R12), and no mail server ever holds a request
up. What waits is bounded and in memory: a crash loses it, and whoever waits for the mail asks again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from sidecar.accounts.mail import Letter, NotSent
from sidecar.store.connection import StoreUnavailable
from sidecar.telemetry.logs import logger

MAX_WAITING: Final = 1000
SENDERS: Final = 4
PAUSES: Final = (1.0, 5.0, 15.0)
"""Seconds before another try, each; then it is given up."""

CLOSING: Final = 2.0

Errand = Callable[[], Awaitable[Sequence[Letter]]]
"""Looks up whom to write to, and writes. Called again if the store did not answer."""

_log = logger("accounts")


class Outbox:
    """``send`` hands one letter to the mail server, or raises NotSent."""

    def __init__(
        self,
        send: Callable[[Letter], Awaitable[None]],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._send = send
        self._pause = pause
        self._waiting: asyncio.Queue[Errand] = asyncio.Queue(MAX_WAITING)
        self._overflowing = False

    def post(self, errand: Errand) -> bool:
        """Never waits. False: too many are waiting, and this one is dropped."""
        try:
            self._waiting.put_nowait(errand)
        except asyncio.QueueFull:
            if not self._overflowing:  # once, not once a request: whoever floods us shall not fill the log as well
                _log.error("mails are dropped: too many are waiting", waiting=MAX_WAITING)
            self._overflowing = True
            return False
        self._overflowing = False
        return True

    async def run(self) -> None:
        """Until cancelled. No mail and no server brings it down."""
        async with asyncio.TaskGroup() as senders:
            for _ in range(SENDERS):
                senders.create_task(self._work())

    async def close(self) -> None:
        """After ``run`` was cancelled: what still waits gets one quick chance."""
        self._pause = _never
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                while not self._waiting.empty():
                    await self._carry_out(self._waiting.get_nowait())

    async def _work(self) -> None:
        while True:
            errand = await self._waiting.get()
            try:
                await self._carry_out(errand)
            except asyncio.CancelledError:
                self.post(errand)
                raise

    async def _carry_out(self, errand: Errand) -> None:
        try:
            for letter in await self._written(errand):
                await self._deliver(letter)
        except (NotSent, StoreUnavailable) as failed:
            _log.error("a mail could not be sent", error=str(failed) or type(failed).__name__)
        except Exception:
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
