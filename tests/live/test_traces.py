"""Traces of real sidecars in an OTLP receiver: check, sign-in, policy load and apply, each with the right parents.

None of them holds an e-mail, a token or a path.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="the extra [otel] is not installed")

from sidecar.sources.policy_files import packaged
from tests.live.conftest import Start
from tests.live.policy_support import Policy
from tests.live.support import PASSWORD, Http, Process, cli, eventually, found_account
from tests.telemetry.otlp_receiver import Received, Receiver, receiving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
EMAIL = "ada@example.com"
SERVER, CLIENT = 2, 3


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield found


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    shutil.copytree(packaged()[0], folder)
    return folder


def decisions(process: Process) -> list[dict[str, Any]]:
    text = Path(process.settings["DECISION_LOG"]).read_text()
    return [json.loads(line) for line in text.splitlines()]


async def check(api: Http, uri: str, token: str, traceparent: str, **more: str) -> int:
    headers = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": uri, "traceparent": traceparent, **more}
    return (await api.ask("GET", "/check", token=token, headers=headers)).status


def ancestors(receiver: Receiver, span: Received) -> list[str]:
    names: list[str] = []
    parent = receiver.parent_of(span)
    while parent is not None:
        names.append(parent.name)
        parent = receiver.parent_of(parent)
    return names


@pytest.mark.parametrize("fast", ["true", "false"])
async def test_spans_of_check_sign_in_and_policy_load(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], receiver: Receiver, policy: Path, fast: str
) -> None:
    process = start(REDIS_URL=real_redis_url, OTEL_SAMPLE="0", POLICY_DIR=str(policy), FAST_LANE=fast)
    found_account(process)
    api = http(process)
    ada = await api.sign_in(EMAIL)
    uri = "/dashboard/billing/?secret=query"
    for _ in range(4):  # never seen, then cached
        assert await check(api, uri, ada.access, SAMPLED, tracestate="vendor=1") == 200
    assert await check(api, uri, ada.access, UNSAMPLED) == 200
    assert (await api.check(uri, token=ada.access)).status == 200
    (policy / "policy.csv").write_text((policy / "policy.csv").read_text() + "\n# one more line\n")
    await eventually(lambda: len(receiver.named("policy load")) == 2 and len(receiver.named("GET /check")) == 4)

    for span in receiver.named("GET /check"):
        assert (span.kind, span.trace, span.parent, span.state) == (SERVER, TRACE, PARENT, "vendor=1")
        assert span.attributes["sidecar.decision"] == "allow"
        assert span.attributes["sidecar.section"] == "billing"
        assert span.attributes["http.response.status_code"] == 200
        assert span.attributes["http.route"] == "/check"
        assert "url.path" not in span.attributes

    sign_in, *_ = receiver.named("POST /token")
    assert (sign_in.parent, sign_in.attributes["sidecar.login.outcome"]) == ("", "granted")
    assert {one.name for one in receiver.trace_of(sign_in)} >= {"sign in", "argon2", "EVALSHA session_open"}
    for span in receiver.trace_of(sign_in):
        if span.name == "argon2" or span.kind == CLIENT:
            assert ancestors(receiver, span) == ["sign in", "POST /token"]

    loads = receiver.named("policy load")
    assert [one.parent for one in loads] == ["", ""]
    assert loads[0].attributes["sidecar.generation"] != loads[1].attributes["sidecar.generation"]
    gates = [one for one in receiver.named("policy gates") if one.trace == loads[1].trace]
    assert [one.parent for one in gates] == [loads[1].id]

    text = b"".join(receiver.raw).decode("latin-1")
    words = (EMAIL, "ada", PASSWORD, ada.access, ada.refresh, "eyJ", "/dashboard", "secret=query", str(policy))
    assert [word for word in words if word in text] == []
    assert receiver.spans[0].resource["service.name"] == "policy-sidecar"

    traced = [line for line in decisions(process) if "trace_id" in line]
    assert [line["trace_id"] for line in traced] == [TRACE] * 4
    assert len(decisions(process)) == 6


async def test_a_check_that_reads_the_store_holds_its_span(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], receiver: Receiver
) -> None:
    first = start(REDIS_URL=real_redis_url)
    found_account(first)
    ada = await http(first).sign_in(EMAIL)
    assert first.stop() == 0
    process = start(REDIS_URL=real_redis_url, OTEL_SAMPLE="0")  # its copies are empty
    assert await check(http(process), "/dashboard/billing/", ada.access, SAMPLED) == 200
    await eventually(lambda: receiver.named("GET /check"))
    (span,) = receiver.named("GET /check")
    (read,) = receiver.named("EVALSHA record")
    assert (read.parent, read.kind) == (span.id, CLIENT)
    assert read.attributes == {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": "record",
    }


async def test_paths_only_for_an_operator_who_wants_them(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], receiver: Receiver
) -> None:
    process = start(REDIS_URL=real_redis_url, OTEL_SAMPLE="1", OTEL_PATHS="true")
    assert (await http(process).check("/dashboard/billing/?secret=query")).status == 401
    await eventually(lambda: receiver.named("GET /check"))
    (span,) = receiver.named("GET /check")
    assert span.attributes["url.path"] == "/dashboard/billing/"
    assert (span.error, span.attributes["sidecar.reason"]) == (False, "missing_token")
    assert "secret=query" not in b"".join(receiver.raw).decode("latin-1")


async def test_a_collector_that_is_out_changes_no_answer(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], receiver: Receiver
) -> None:
    receiver.status = 400
    process = start(REDIS_URL=real_redis_url, OTEL_SAMPLE="1")
    assert [(await http(process).check("/x")).status for _ in range(50)] == [401] * 50
    await eventually(lambda: "spans not exported" in process.output())
    scraped = await http(process).ask("GET", "/metrics", url=process.ops)
    assert b'sidecar_spans_dropped_total{reason="export_failed"}' in scraped.body
    assert process.output().count("spans not exported") == 1
    assert process.stop() == 0


async def test_off_no_library_and_no_thread(start: Start, real_redis_url: str, receiver: Receiver) -> None:
    process = start(REDIS_URL=real_redis_url, own=True)
    maps = Path(f"/proc/{process.popen.pid}/task").iterdir()
    assert "spans" not in [(task / "comm").read_text().strip() for task in maps]
    assert process.stop() == 0
    assert receiver.headers == []


async def test_an_apply_is_one_trace_over_command_and_sidecars(
    start: Start, real_redis_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    edited = Policy(tmp_path / "edited")
    shared = {"REDIS_URL": real_redis_url, "OTEL_SAMPLE": "0", "POLICY_SOURCE": "store", **edited.settings}
    first = start(**shared, STATE_DIR=str(tmp_path / "one"))
    start(**shared, STATE_DIR=str(tmp_path / "two"))

    def of_apply(name: str) -> list[Received]:
        """Return the spans in the command's trace. The seed has spans of its own."""
        return [span for span in receiver.named(name) if span.trace == receiver.named("policy apply")[0].trace]

    edited.write(edited.commented("traced"))
    wanted = edited.generation_of(edited.files())
    done = await asyncio.to_thread(
        cli, first.settings, "policy", "apply", str(edited.folder), "--json", "--note", "for ada@example.com"
    )
    assert (done.returncode, json.loads(done.stdout)["generation"], done.stderr) == (0, wanted, "")
    await eventually(lambda: receiver.named("policy apply"))
    (command,) = receiver.named("policy apply")
    await eventually(lambda: len(of_apply("policy switch")) == 2)
    assert command.parent == ""
    for name in ("policy candidate", "policy switch"):
        spans = of_apply(name)
        assert [(span.trace, span.parent) for span in spans] == [(command.trace, command.id)] * 2
        assert [span.attributes["sidecar.generation"] for span in spans] == [wanted] * 2
        assert len({span.resource["service.instance.id"] for span in [*spans, command]}) == 3
    assert [span.attributes["sidecar.policy.mark"] for span in receiver.named("policy candidate")] == ["ready"] * 2
    for name in ("policy compile", "policy gates", "policy vote"):
        assert [ancestors(receiver, span) for span in of_apply(name)] == [["policy candidate", "policy apply"]] * 2
    assert [ancestors(receiver, span) for span in receiver.named("EVALSHA policy_activate")] == [["policy apply"]]
    assert len(of_apply("EVALSHA policy_look")) == 1, "no polls"

    text = b"".join(receiver.raw).decode("latin-1")
    assert [word for word in ("ada@", "policy.csv", str(tmp_path)) if word in text] == []


async def test_an_apply_without_a_collector_is_applied(
    start: Start, real_redis_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.status = 400
    edited = Policy(tmp_path / "edited")
    process = start(REDIS_URL=real_redis_url, OTEL_SAMPLE="0", POLICY_SOURCE="store", **edited.settings)
    edited.write(edited.commented("traced"))
    done = await asyncio.to_thread(cli, process.settings, "policy", "apply", str(edited.folder), "--json")
    assert (done.returncode, json.loads(done.stdout)["complete"]) == (0, True)
    assert "spans not exported: check OTEL_EXPORTER_OTLP_ENDPOINT and the collector" in done.stderr
