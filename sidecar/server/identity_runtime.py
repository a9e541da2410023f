"""Identity services of a serving process: rate limits, and an outbox when a mail server is set."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.config.settings import Settings
from sidecar.http.client_ip import limiter_address
from sidecar.identity.hash_limits import MailSource
from sidecar.identity.hashing import Hashing
from sidecar.identity.login_rate_limits import LoginRateLimits
from sidecar.identity.mail import Smtp, mail_server
from sidecar.identity.outbox import Count, MailOutcome, Outbox, uncounted
from sidecar.identity.services import IdentityServices, build_services
from sidecar.identity.sessions import Issuer
from sidecar.store.connection import Store
from sidecar.store.live.fleet import Fleet
from sidecar.store.live.memory_pressure import MemoryPressure
from sidecar.store.rate_limiter import Buckets
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.task_supervision import Work
from sidecar.tokens.opaque import Pepper


class MailSetupError(Exception):
    """The mail settings are invalid. One sentence, without the password."""


@dataclass(frozen=True, slots=True)
class IdentityRuntime:
    """Identity services and their background tasks. Call ``close`` after the tasks of ``work`` are cancelled."""

    people: IdentityServices
    memory: MemoryPressure
    outbox: Outbox | None

    def work(self) -> Iterator[tuple[str, Work]]:
        yield "memory watch", self.memory.watch
        if self.outbox is not None:
            yield "outbox", self.outbox.run

    async def close(self) -> None:
        if self.outbox is not None:
            await self.outbox.close()


def build_identity(
    settings: Settings,
    store: Store,
    fleet: Fleet,
    *,
    hashing: Hashing,
    issuer: Issuer,
    pepper: Pepper,
    metrics: Metrics,
) -> IdentityRuntime:
    """Build the identity services. Raises MailSetupError."""

    def count(source: MailSource, outcome: MailOutcome) -> None:
        metrics.mails.labels(source.value, outcome.value).inc()

    memory, outbox = MemoryPressure(store), outbox_of(settings, count)
    rate_limits = LoginRateLimits(Buckets(store), pepper, address_of=limiter_address, memory_low=lambda: memory.low)
    together = build_services(
        store,
        fleet,
        hashing=hashing,
        issuer=issuer,
        limits=rate_limits,
        pepper=pepper,
        entropy=os.urandom,
        public_url=settings.public_url,
        invite_ttl=settings.invite_ttl,
        outbox=outbox,
        clock=time.time,
    )
    return IdentityRuntime(together, memory, outbox)


def outbox_of(settings: Settings, count: Count = uncounted) -> Outbox | None:
    """Return None without a mail server: links are then shown and not sent. Raises MailSetupError."""
    if settings.smtp_url is None:
        return None
    try:
        server = mail_server(settings.smtp_url)
    except ValueError as error:
        raise MailSetupError(f"SIDECAR_SMTP_URL: {error}") from None
    try:
        return Outbox(Smtp(server, sender=settings.mail_from or "").send, count=count)
    except ValueError as error:
        raise MailSetupError(f"SIDECAR_MAIL_FROM: {error}") from None
