"""Identity services of a serving process: rate limits, and an outbox when a mail server is set."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.config.settings import Settings
from sidecar.http.client_ip import limiter_address
from sidecar.identity.hash_limits import MailSource
from sidecar.identity.hashing import Hashing
from sidecar.identity.login_rate_limits import Throttle
from sidecar.identity.mail import Smtp, mail_server
from sidecar.identity.outbox import Count, MailOutcome, Outbox, uncounted
from sidecar.identity.services import People, people
from sidecar.identity.sessions import Issuer
from sidecar.store.connection import Store
from sidecar.store.live.fleet import Fleet
from sidecar.store.live.memory_pressure import Memory
from sidecar.store.rate_limiter import Buckets
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.task_supervision import Work
from sidecar.tokens.opaque import Pepper


class MailProblem(Exception):
    """The mail settings are invalid. One sentence, without the password."""


@dataclass(frozen=True, slots=True)
class Everybody:
    """Identity services and their background tasks. Call ``close`` after the tasks of ``work`` are cancelled."""

    people: People
    memory: Memory
    outbox: Outbox | None

    def work(self) -> Iterator[tuple[str, Work]]:
        yield "memory watch", self.memory.watch
        if self.outbox is not None:
            yield "outbox", self.outbox.run

    async def close(self) -> None:
        if self.outbox is not None:
            await self.outbox.close()


def everybody(
    settings: Settings,
    store: Store,
    fleet: Fleet,
    *,
    hashing: Hashing,
    issuer: Issuer,
    pepper: Pepper,
    metrics: Metrics,
) -> Everybody:
    """Build the identity services. Raises MailProblem."""

    def count(source: MailSource, outcome: MailOutcome) -> None:
        metrics.mails.labels(source.value, outcome.value).inc()

    memory, outbox = Memory(store), outbox_of(settings, count)
    throttle = Throttle(Buckets(store), pepper, address_of=limiter_address, short=lambda: memory.short)
    together = people(
        store,
        fleet,
        hashing=hashing,
        issuer=issuer,
        limits=throttle,
        pepper=pepper,
        entropy=os.urandom,
        public_url=settings.public_url,
        invite_ttl=settings.invite_ttl,
        outbox=outbox,
        clock=time.time,
    )
    return Everybody(together, memory, outbox)


def outbox_of(settings: Settings, count: Count = uncounted) -> Outbox | None:
    """Return None without a mail server: links are then shown and not sent. Raises MailProblem."""
    if settings.smtp_url is None:
        return None
    try:
        server = mail_server(settings.smtp_url)
    except ValueError as error:
        raise MailProblem(f"SIDECAR_SMTP_URL: {error}") from None
    try:
        return Outbox(Smtp(server, sender=settings.mail_from or "").send, count=count)
    except ValueError as error:
        raise MailProblem(f"SIDECAR_MAIL_FROM: {error}") from None
