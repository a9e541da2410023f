"""Outgoing mail queue. A request only queues a job. The mail is written and sent after the request.

Requests therefore take equally long for known and unknown e-mails (R12), and never wait for a mail server. Queues are
bounded and in memory: a crash loses them, and users request the mail again. Mails requested by strangers and by
signed-in users have separate queues and senders, so that neither displaces the other (R16).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final

from sidecar.domain.users import UserRecord
from sidecar.identity.emails import Email
from sidecar.identity.hash_limits import LoginLimits, MailSource
from sidecar.identity.mail import MailMessage, SendError
from sidecar.store.connection import StoreUnavailableError
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.tracing import Span, SpanKind, child, continuing, current

MAX_WAITING: Final = 1000
"""Maximum jobs per queue."""

SENDERS: Final = 2
"""Sender tasks per queue."""

PAUSES: Final = (1.0, 5.0, 15.0)
"""Seconds before each retry. After the last one, the mail has failed."""

CLOSING: Final = 2.0
LOG_SECONDS: Final = 60.0
"""Period with at most one log line per source and outcome."""

MailJob = Callable[[], Awaitable[Sequence[MailMessage]]]
"""Mail job: looks up the recipients and returns their mails. Called again if the store is unavailable."""

Queued = tuple[MailJob, Span | None]
"""A mail job, and the span of the request that queued it."""

_log = logger("identity")


class MailOutcome(StrEnum):
    """Label of ``sidecar_mails_total``: queued, sent, failed, or the reason for not queueing."""

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
    """Mail queues. ``send`` delivers one mail or raises SendError. ``count`` increments the metric."""

    def __init__(
        self,
        send: Callable[[MailMessage], Awaitable[None]],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        count: Count = uncounted,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._pause = pause
        self._count = count
        self._monotonic = monotonic
        self._waiting: dict[MailSource, asyncio.Queue[Queued]] = {
            source: asyncio.Queue(MAX_WAITING) for source in (MailSource.USER, MailSource.ANONYMOUS)
        }
        self._logged: dict[tuple[MailSource, MailOutcome], float] = {}

    def post(self, job: MailJob, source: MailSource) -> bool:
        """Queue ``job`` without waiting. Returns False and drops it if the queue of ``source`` is full."""
        try:
            self._waiting[source].put_nowait((job, current()))
        except asyncio.QueueFull:
            self.reject(source, MailOutcome.QUEUE_FULL)
            return False
        self._count(source, MailOutcome.QUEUED)
        return True

    def waiting(self, source: MailSource) -> int:
        """Return the number of queued jobs (metric ``sidecar_mails_waiting``)."""
        return self._waiting[source].qsize()

    def reject(self, source: MailSource, outcome: MailOutcome) -> None:
        """Count a mail that is not queued. Log it at most once per minute, so that requests cannot flood the log."""
        self._count(source, outcome)
        now = self._monotonic()
        if now - self._logged.get((source, outcome), float("-inf")) >= LOG_SECONDS:
            self._logged[source, outcome] = now
            _log.warning("mail not queued: see sidecar_mails_total", source=source.value, reason=outcome.value)

    async def run(self) -> None:
        """Send queued mails until cancelled. Failed mails and mail servers are logged."""
        async with asyncio.TaskGroup() as senders:
            for source in self._waiting:
                for _ in range(SENDERS):
                    senders.create_task(self._work(source))

    async def close(self) -> None:
        """Try each queued mail once, mails of signed-in users first. Call this after ``run`` was cancelled.

        Stops after ``CLOSING`` seconds.
        """
        self._pause = _never
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                for source, waiting in self._waiting.items():
                    while not waiting.empty():
                        await self._carry_out(waiting.get_nowait(), source)

    async def _work(self, source: MailSource) -> None:
        waiting = self._waiting[source]
        while True:
            job = await waiting.get()
            try:
                await self._carry_out(job, source)
            except asyncio.CancelledError:
                with suppress(asyncio.QueueFull):
                    waiting.put_nowait(job)
                raise

    async def _carry_out(self, queued: Queued, source: MailSource) -> None:
        job, span = queued
        try:
            with continuing(span):
                for mail in await self._written(job):
                    await self._deliver(mail)
                    self._count(source, MailOutcome.SENT)
        except (SendError, StoreUnavailableError) as failed:
            self._count(source, MailOutcome.FAILED)
            _log.error("mail not sent", error=str(failed) or type(failed).__name__)
        except Exception:
            self._count(source, MailOutcome.FAILED)
            _log.exception("mail job failed")

    async def _written(self, job: MailJob) -> Sequence[MailMessage]:
        for pause in PAUSES:
            try:
                return await job()
            except StoreUnavailableError:
                await self._pause(pause)
        return await job()

    async def _deliver(self, mail: MailMessage) -> None:
        for pause in PAUSES:
            try:
                return await self._sent(mail)
            except SendError as failed:
                if failed.permanent:
                    raise
                _log.warning("mail delivery failed; retrying", error=str(failed), seconds=pause)
                await self._pause(pause)
        return await self._sent(mail)

    async def _sent(self, mail: MailMessage) -> None:
        with child("send mail", SpanKind.CLIENT):
            await self._send(mail)


async def _never(_seconds: float) -> None:
    raise SendError("the sidecar is stopping", permanent=True)


async def mail_refusal(limits: LoginLimits, recipient: UserRecord) -> MailOutcome | None:
    """Check the limits of a user's mail, the recipient's before the account's. Raises StoreUnavailableError."""
    if not await limits.may_mail(Email(recipient.email), MailSource.USER):
        return MailOutcome.RECIPIENT_LIMIT
    if not await limits.may_mail_for(recipient.account, MailSource.USER):
        return MailOutcome.ACCOUNT_LIMIT
    return None
