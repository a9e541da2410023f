"""Sinks of the audit that outlive a pod: an HTTP receiver that fails in every way, and standard output."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from sidecar.config.audit_sink import AuditSink, audit_sink, authorization
from sidecar.config.parsers import InvalidValueError
from sidecar.config.problems import problems
from sidecar.config.settings import load
from sidecar.server.audit_exporter import AuditReceiver, ExportAlarm, SinkError, own_export

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """HTTP server with a scripted response. It keeps what it took with 2xx."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.headers: list[Any] = []
        self.url = ""
        self.answer: Answer = self.take

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(request.headers.copy())
        self.taken.append(await request.read())
        return web.Response(status=204)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    app = web.Application()
    app.router.add_post("/audit", one.handle)
    app.router.add_post("/elsewhere", one.take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/audit"
    yield one
    await runner.cleanup()


async def test_R32_a_receiver_gets_each_batch_with_its_credential(receiver: Receiver) -> None:
    sink = AuditReceiver(receiver.url, "Bearer s3cret")
    await sink.write(b"1\n2\n")
    await sink.write(b"3\n")
    assert receiver.taken == [b"1\n2\n", b"3\n"]
    assert {head["Authorization"] for head in receiver.headers} == {"Bearer s3cret"}
    assert {head["Content-Type"] for head in receiver.headers} == {"application/x-ndjson"}


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


def status(number: int, **more: Any) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=number, **more)

    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


FAILURES = {
    "unavailable": (status(503), "status 503 instead of 2xx"),
    "unauthorized": (status(401, text="s3cret"), "status 401"),
    "a redirect": (status(307, headers={"Location": "/elsewhere"}), "status 307"),
    "no answer": (never, "no response within 0.2 s"),
    "a cut connection": (cut, "connection failed"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_R32_a_failing_receiver_is_an_error_without_the_secret(receiver: Receiver, name: str) -> None:
    receiver.answer, message = FAILURES[name]
    sink = AuditReceiver(receiver.url, "Bearer s3cret", seconds=0.2 if name == "no answer" else 10)
    with pytest.raises(SinkError, match=message) as caught:
        await sink.write(b"1\n")
    assert "s3cret" not in str(caught.value)
    assert receiver.taken == []


async def test_R32_a_receiver_that_is_down_is_an_error() -> None:
    with pytest.raises(SinkError, match="connection failed"):
        await AuditReceiver("http://127.0.0.1:9/audit").write(b"1\n")


CHILD = """
import asyncio, sys
from sidecar.server.audit_exporter import AuditStdout
lines = b"".join(b'{"seq":%d}\\n' % n for n in range(int(sys.argv[1])))
try:
    asyncio.run(AuditStdout().write(lines))
except OSError as problem:
    print(type(problem).__name__, problem, file=sys.stderr)
"""


def test_R32_standard_output_takes_whole_lines() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, "5000"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(range(5000))


def test_R32_standard_output_without_a_reader_is_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-c", CHILD, "9"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr.startswith("SinkError standard output took 0 of ")


def test_a_lasting_problem_is_logged_once_and_its_end_too(capsys: pytest.CaptureFixture[str]) -> None:
    alarm = ExportAlarm()
    alarm.end()
    for _ in range(3):
        alarm(SinkError("full"))
    alarm.end()
    alarm.end()
    out = capsys.readouterr()
    assert (out.out + out.err).count("cannot be exported") == 1
    assert (out.out + out.err).count("exported again") == 1


SINKS = ("file", "stdout", "/var/a.jsonl", "https://siem.example.com/in", "http://127.0.0.1:8080/in", "http://[::1]/in")


@pytest.mark.parametrize("text", SINKS)
def test_a_sink_is_shown_as_written(text: str) -> None:
    assert str(audit_sink(text)) == text


WRONG = ("", "off", "none", "http://siem.example.com/in", "https://u:p@h/in", "https://h/in?t=x", "https://h:x/in")


@pytest.mark.parametrize("text", [*WRONG, "https:///in", "ftp://h/in"])
def test_a_wrong_sink_is_rejected(text: str) -> None:
    with pytest.raises(InvalidValueError):
        audit_sink(text)


@pytest.mark.parametrize("text", ["Bearer a\nb", "Bearer é", " x", "x" * 4097])
def test_R24_a_wrong_credential_is_rejected_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        authorization(text)
    assert text not in str(caught.value)


def test_the_export_of_a_sidecar_is_the_file_of_its_sink() -> None:
    assert audit_sink("file") == AuditSink()
    assert str(own_export(load({}, {}))) == ".sidecar/audit.jsonl"
    assert str(own_export(load({}, {"SIDECAR_AUDIT_SINK": "a.jsonl"}))) == "a.jsonl"
    assert own_export(load({}, {"SIDECAR_AUDIT_SINK": "stdout"})) is None
    with_auth = load({}, {"SIDECAR_AUDIT_SINK": "stdout", "SIDECAR_AUDIT_SINK_AUTH": "Bearer s3cret"})
    assert any("SIDECAR_AUDIT_SINK_AUTH" in problem for problem in problems(with_auth))
    assert "s3cret" not in repr(with_auth)
