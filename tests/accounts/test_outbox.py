"""The outbox: nothing waits for it, nothing brings it down, and what can be sent is."""

import asyncio
from contextlib import suppress

import pytest
import structlog.testing

from sidecar.accounts.mail import Letter, NotSent
from sidecar.accounts.outbox import MAX_WAITING, PAUSES, Outbox
from sidecar.store.connection import StoreUnavailable

LETTER = Letter("bob@example.com", "s", "the secret link")


class Server:
    """Takes letters, unless it has another answer ready."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.took = []
        self.tries = 0
        self.pauses = []

    async def send(self, letter):
        self.tries += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.took.append(letter)

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
    return NotSent(f"SMTPDataError {code}", for_good=False)


async def test_a_letter_is_sent(running):
    server = Server()
    outbox = server.outbox()
    running(outbox)
    assert outbox.post(write)
    await until(lambda: server.took == [LETTER])


async def test_an_errand_without_a_letter_is_none(running):
    server = Server()
    outbox = server.outbox()
    running(outbox)

    async def nobody():
        return ()

    outbox.post(nobody)
    outbox.post(write)
    await until(lambda: server.took == [LETTER])
    assert server.tries == 1


async def test_what_may_be_taken_later_is_tried_again(running):
    server = Server(later(), later())
    outbox = server.outbox()
    running(outbox)
    outbox.post(write)
    await until(lambda: server.took == [LETTER])
    assert server.pauses == list(PAUSES[:2])


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        ([NotSent("SMTPRecipientsRefused 550", for_good=True)], 1),
        ([later()] * (len(PAUSES) + 1), len(PAUSES) + 1),
        ([RuntimeError("a bug of ours")], 1),
    ],
)
async def test_what_cannot_be_sent_is_given_up_and_logged_without_its_words(running, answers, tries):
    server = Server(*answers)
    outbox = server.outbox()
    with structlog.testing.capture_logs() as logged:
        running(outbox)
        outbox.post(write)
        await until(lambda: server.tries == tries)
        outbox.post(write)
        await until(lambda: server.took == [LETTER])
    assert any(line["log_level"] == "error" for line in logged)
    assert "secret" not in str(logged)
    assert "bob" not in str(logged)


async def test_a_store_that_is_out_is_asked_again(running):
    server = Server()
    outbox = server.outbox()
    running(outbox)
    outages = [StoreUnavailable("out"), StoreUnavailable("out")]

    async def look():
        if outages:
            raise outages.pop()
        return [LETTER]

    outbox.post(look)
    await until(lambda: server.took == [LETTER])


async def test_what_waits_is_bounded():
    server = Server()
    outbox = server.outbox()
    assert all(outbox.post(write) for _ in range(MAX_WAITING))
    with structlog.testing.capture_logs() as logged:
        assert not any(outbox.post(write) for _ in range(5))
    assert len(logged) == 1


async def test_at_the_end_what_waits_gets_one_chance():
    server = Server(later())
    outbox = server.outbox()
    for _ in range(3):
        outbox.post(write)
    await outbox.close()
    assert server.took == [LETTER, LETTER]
    assert server.pauses == []


async def test_a_letter_that_was_on_its_way_at_the_end_is_not_lost(running):
    took = []
    block = asyncio.Event()

    async def send(letter):
        await block.wait()
        took.append(letter)

    outbox = Outbox(send)
    task = asyncio.create_task(outbox.run())
    outbox.post(write)
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    block.set()
    await outbox.close()
    assert took == [LETTER]
