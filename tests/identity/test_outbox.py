"""The outbox: no request waits for it, no error stops it, and every mail that can be sent is sent."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
import structlog.testing

from sidecar.identity.hash_limits import MailSource
from sidecar.identity.mail import MailMessage, SendError
from sidecar.identity.outbox import LOG_SECONDS, MAX_WAITING, PAUSES, SENDERS, MailOutcome, Outbox
from sidecar.store.connection import StoreUnavailableError
from sidecar.telemetry.tracing import Tracer

USER, ANONYMOUS = MailSource.USER, MailSource.ANONYMOUS
LETTER = MailMessage("bob@example.com", "s", "the secret link")


class Server:
    """Accepts mails, unless the test has set another response."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.took = []
        self.tries = 0
        self.pauses = []

    async def send(self, mail):
        self.tries += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.took.append(mail)

    async def pause(self, seconds):
        self.pauses.append(seconds)

    def outbox(self):
        return Outbox(self.send, pause=self.pause)


async def write():
    return [LETTER]


@pytest.fixture
async def running():
    """``running(outbox)`` runs it until the test ends."""
    tasks = []

    def run(outbox):
        tasks.append(asyncio.create_task(outbox.run()))

    yield run
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


def later(code="451"):
    return SendError(f"SMTPDataError {code}", permanent=False)


async def test_a_letter_is_sent(running):
    server = Server()
    outbox = server.outbox()
    running(outbox)
    assert outbox.post(write, USER)
    await until(lambda: server.took == [LETTER])


async def test_an_errand_without_a_letter_is_none(running):
    server = Server()
    outbox = server.outbox()
    running(outbox)

    async def nobody():
        return ()

    outbox.post(nobody, USER)
    outbox.post(write, USER)
    await until(lambda: server.took == [LETTER])
    assert server.tries == 1


async def test_what_may_be_taken_later_is_tried_again(running):
    server = Server(later(), later())
    outbox = server.outbox()
    running(outbox)
    outbox.post(write, USER)
    await until(lambda: server.took == [LETTER])
    assert server.pauses == list(PAUSES[:2])


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        ([SendError("SMTPRecipientsRefused 550", permanent=True)], 1),
        ([later()] * (len(PAUSES) + 1), len(PAUSES) + 1),
        ([RuntimeError("a bug of ours")], 1),
    ],
)
async def test_an_undeliverable_mail_is_logged_without_its_text(running, answers, tries):
    server = Server(*answers)
    outbox = server.outbox()
    with structlog.testing.capture_logs() as logged:
        running(outbox)
        outbox.post(write, USER)
        await until(lambda: server.tries == tries)
        outbox.post(write, USER)
        await until(lambda: server.took == [LETTER])
    assert any(line["log_level"] == "error" for line in logged)
    assert "secret" not in str(logged)
    assert "bob" not in str(logged)


async def test_a_store_that_is_out_is_asked_again(running):
    server = Server()
    outbox = server.outbox()
    running(outbox)
    outages = [StoreUnavailableError("out"), StoreUnavailableError("out")]

    async def look():
        if outages:
            raise outages.pop()
        return [LETTER]

    outbox.post(look, USER)
    await until(lambda: server.took == [LETTER])


async def test_what_waits_is_bounded():
    server = Server()
    outbox = server.outbox()
    assert all(outbox.post(write, USER) for _ in range(MAX_WAITING))
    with structlog.testing.capture_logs() as logged:
        assert not any(outbox.post(write, USER) for _ in range(5))
    assert len(logged) == 1


async def test_R16_a_full_queue_of_strangers_takes_no_place_of_users(running):
    server = Server()
    outbox = server.outbox()
    while outbox.post(write, ANONYMOUS):
        pass
    assert outbox.post(write, USER)
    assert not outbox.post(write, ANONYMOUS)


async def test_R16_hanging_mails_of_strangers_delay_no_mail_of_users(running):
    took, block = [], asyncio.Event()

    async def send(mail):
        if mail.recipient == "slow@example.com":
            await block.wait()
        took.append(mail)

    async def slow():
        return [MailMessage("slow@example.com", "s", "t")]

    outbox = Outbox(send)
    running(outbox)
    for _ in range(SENDERS + 3):
        outbox.post(slow, ANONYMOUS)
    for _ in range(10):
        await asyncio.sleep(0)
    outbox.post(write, USER)
    await until(lambda: took == [LETTER])


async def test_at_the_end_users_mails_go_first():
    server = Server()
    outbox = server.outbox()
    other = MailMessage("eve@example.com", "s", "t")

    async def ask():
        return [other]

    outbox.post(ask, ANONYMOUS)
    outbox.post(write, USER)
    await outbox.close()
    assert server.took == [LETTER, other]


async def test_mails_are_counted_and_rejections_logged_once_a_minute(clock):
    counted = Counter()

    def count(source, outcome):
        counted[source, outcome] += 1

    server = Server(SendError("550", permanent=True))
    outbox = Outbox(server.send, pause=server.pause, count=count, monotonic=clock.monotonic)
    with structlog.testing.capture_logs() as logged:
        for _ in range(50):
            outbox.reject(ANONYMOUS, MailOutcome.ADDRESS_LIMIT)
            outbox.post(write, USER)  # a success in between resets nothing
        outbox.reject(USER, MailOutcome.ADDRESS_LIMIT)
        assert len(logged) == 2
        clock.advance(LOG_SECONDS)
        outbox.reject(ANONYMOUS, MailOutcome.ADDRESS_LIMIT)
    assert [(line["source"], line["reason"]) for line in logged] == [
        ("stranger", "address_limit"),
        ("user", "address_limit"),
        ("stranger", "address_limit"),
    ]
    await outbox.close()
    assert counted == {
        (ANONYMOUS, MailOutcome.ADDRESS_LIMIT): 51,
        (USER, MailOutcome.ADDRESS_LIMIT): 1,
        (USER, MailOutcome.QUEUED): 50,
        (USER, MailOutcome.SENT): 49,
        (USER, MailOutcome.FAILED): 1,
    }


async def test_at_the_end_what_waits_gets_one_chance():
    server = Server(later())
    outbox = server.outbox()
    for _ in range(3):
        outbox.post(write, USER)
    await outbox.close()
    assert server.took == [LETTER, LETTER]
    assert server.pauses == []


async def test_a_letter_that_was_on_its_way_at_the_end_is_not_lost(running):
    took = []
    block = asyncio.Event()

    async def send(mail):
        await block.wait()
        took.append(mail)

    outbox = Outbox(send)
    task = asyncio.create_task(outbox.run())
    outbox.post(write, USER)
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    block.set()
    await outbox.close()
    assert took == [LETTER]


async def test_a_mail_belongs_to_the_trace_that_queued_it(running):
    server, spans = Server(SendError("busy", permanent=False)), []
    outbox = server.outbox()
    running(outbox)
    with Tracer(spans.append, share=0.0).root("request") as root:
        assert outbox.post(write, USER)
    assert outbox.post(write, USER)
    await until(lambda: len(server.took) == 2)
    assert [(span.name, span.error) for span in spans] == [
        ("request", ""),
        ("send mail", "SendError"),
        ("send mail", ""),
    ]
    assert {span.parent.span_id for span in spans[1:]} == {root.context.span_id}
    assert "bob" not in str([span.attributes for span in spans])
