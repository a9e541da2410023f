"""``sidecar doctor --from-gateway``: what the checks of a running sidecar say about its gateway."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from sidecar.cli.gateway_denials import findings_of, reasons_in
from sidecar.domain.decision import Decision, Reason
from sidecar.http.denial_causes import Cause, CauseKind
from sidecar.http.denial_log import SECONDS, DenialLog
from sidecar.server.preflight import CheckStatus
from sidecar.server.workers.supervisor_ops import merged_denials
from sidecar.telemetry.metrics import Metrics

Cli = Callable[..., Any]

DENIAL = {"kind": "missing_header", "endpoint": "/check/nginx", "detail": "missing X-Original-Method", "count": 7}


def exposition(**reasons: int) -> str:
    metrics = Metrics("1")
    for name, number in reasons.items():
        for section in ("billing", ""):  # reasons are added up over sections
            counter = metrics.checks.counter("/check", Decision(Reason(name), "g"), section)
            metrics.checks.count([counter] * number, [0.001] * number)
    return metrics.exposition().decode()


def test_reasons_are_read_from_the_metrics() -> None:
    assert reasons_in(exposition(allowed=3, bad_request=1)) == Counter(allowed=6, bad_request=2)


@pytest.mark.parametrize(
    ("reasons", "denials", "expected"),
    [
        ({}, [], [("gateway", "fault", "no check has arrived")]),
        ({"allowed": 5}, [], [("gateway", "ok", "5 checks, 5 allowed")]),
        (
            {"missing_token": 10},
            [],
            [("gateway", "warning", "10 missing_token"), ("gateway", "fault", "pass Authorization and Cookie on")],
        ),
        ({"missing_token": 9}, [], [("gateway", "warning", "9 checks, 0 allowed, 9 missing_token")]),
        (
            {"bad_request": 7},
            [{**DENIAL, "age_s": 3.2}],
            [
                ("gateway", "warning", "7 bad_request"),
                ("missing_header", "fault", "7 at /check/nginx, the last 3 s ago: missing X-Original-Method"),
            ],
        ),
        (
            {"bad_request": 7, "allowed": 90},
            [{**DENIAL, "age_s": 3.2}],
            [("gateway", "ok", "97 checks, 90 allowed, 7 bad_request"), ("missing_header", "warning", "missing X-Ori")],
        ),
    ],
)
def test_findings_name_cause_and_remedy(
    reasons: dict[str, int], denials: list[dict[str, Any]], expected: list[tuple[str, str, str]]
) -> None:
    found = list(findings_of({"denials": denials}, Counter(reasons)))
    assert [(one.check, one.status.value) for one in found] == [(check, status) for check, status, _ in expected]
    assert [detail in one.detail for one, (_, _, detail) in zip(found, expected, strict=True)] == [True] * len(found)


def test_a_sidecar_of_an_earlier_version_has_no_denials() -> None:
    assert [one.status for one in findings_of({}, Counter(allowed=1))] == [CheckStatus.OK]


def test_the_last_denial_of_each_kind_is_kept_with_its_count() -> None:
    now = [100.0]
    log = DenialLog(clock=lambda: now[0])
    log.cause(Cause(CauseKind.NO_ROUTE, "no route"), "/check")
    for text in ("first", "second"):
        now[0] += 2 * SECONDS
        log.cause(Cause(CauseKind.MISSING_HEADER, text), "/check/nginx")
    now[0] += 1
    found = [(one.kind, one.endpoint, one.detail, one.count, one.age_s) for one in log.recent()]
    assert found == [
        ("missing_header", "/check/nginx", "second", 2, 1.0),
        ("no_route", "/check", "no route", 1, 4 * SECONDS + 1),
    ]


def test_denials_of_workers_are_joined() -> None:
    newer = {**DENIAL, "age_s": 1.0, "detail": "newer", "count": 2}
    other = {**DENIAL, "kind": "no_route", "age_s": 0.5, "count": 1}
    found = merged_denials([[{**DENIAL, "age_s": 9.0}], [newer, other], []])
    assert [(one["kind"], one["count"], one["detail"]) for one in found] == [
        ("no_route", 1, DENIAL["detail"]),
        ("missing_header", 9, "newer"),
    ]


@pytest.fixture
def ops() -> Iterator[str]:
    """An ops listener with one denial."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = json.dumps({"denials": [{**DENIAL, "age_s": 3.2}]})
            body = (status if self.path == "/status" else exposition(bad_request=7)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_doctor_explains_the_last_denials(cli: Cli, ops: str) -> None:
    done = cli("doctor", "--from-gateway", "--ops-listen", ops, "--json")
    found = {one["check"]: one for one in json.loads(done.out)}
    assert done.status == 1
    assert found["missing_header"]["status"] == "fault"
    assert found["missing_header"]["detail"].endswith("missing X-Original-Method")


def test_doctor_without_a_running_sidecar_says_so(cli: Cli) -> None:
    done = cli("doctor", "--from-gateway", "--ops-listen", "127.0.0.1:1")
    assert done.status == 3
    assert "no sidecar responds at 127.0.0.1:1" in done.err
