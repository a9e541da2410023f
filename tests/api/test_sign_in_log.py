"""Failed sign-ins and step-ups in the log: one line each, bounded, without the e-mail."""

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.api import login_metrics
from sidecar.api.sign_in_log import MAX_LINES, MAX_PER_ADDRESS, WINDOW_SECONDS, FailureEvent, FailureLog
from sidecar.identity.factors.attempts import WrongCode
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, ResetRequired
from sidecar.identity.password_proof import WrongPassword
from sidecar.identity.sessions import InvalidGrant
from sidecar.telemetry.metrics import Metrics

NOW = [0.0]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> FailureLog:
    NOW[0] = 0.0
    made = FailureLog(clock=lambda: NOW[0])
    monkeypatch.setattr(login_metrics, "FAILURE_LOG", made)
    return made


def call() -> Any:
    return SimpleNamespace(app=SimpleNamespace(metrics=Metrics("1")), address="192.0.2.7", request_id="abc-1")


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        (InvalidGrant(), "invalid_grant"),
        (WrongCode(), "wrong_code"),
        (Limited(3), "rate_limited"),
        (AccountRequired(proven=False), "account_required"),
    ],
)
def test_a_failed_sign_in_has_one_line(log: FailureLog, outcome: Any, label: str) -> None:
    with capture_logs() as lines:
        login_metrics.count_login(call(), outcome)
    fields = {"event": "sign_in_failed", "outcome": label, "address": "192.0.2.7", "request_id": "abc-1"}
    assert [{name: line[name] for name in fields} for line in lines] == [fields]


@pytest.mark.parametrize("outcome", [AccountRequired(), ResetRequired(), Overloaded()])
def test_a_right_password_or_a_full_queue_has_no_line(log: FailureLog, outcome: Any) -> None:
    with capture_logs() as lines:
        login_metrics.count_login(call(), outcome)
    assert lines == []


@pytest.mark.parametrize("outcome", [WrongCode(), WrongPassword(), Limited(3)])
def test_a_failed_step_up_has_one_line(log: FailureLog, outcome: Any) -> None:
    with capture_logs() as lines:
        login_metrics.count_step_up(call(), outcome)
    assert [line["event"] for line in lines] == ["step_up_failed"]


def fail(log: FailureLog, address: str) -> None:
    log.failed(FailureEvent.SIGN_IN, "invalid_grant", address=address, request_id="abc-1")


def test_an_address_has_a_bounded_number_of_lines(log: FailureLog) -> None:
    with capture_logs() as lines:
        for _ in range(MAX_PER_ADDRESS + 5):
            fail(log, "192.0.2.7")
        fail(log, "192.0.2.8")
    assert [line["address"] for line in lines] == ["192.0.2.7"] * MAX_PER_ADDRESS + ["192.0.2.8"]
    NOW[0] += WINDOW_SECONDS
    with capture_logs() as lines:
        fail(log, "192.0.2.7")
    assert [line.get("count", line.get("address")) for line in lines] == [5, "192.0.2.7"]


def test_many_addresses_together_have_a_bounded_number_of_lines(log: FailureLog) -> None:
    with capture_logs() as lines:
        for number in range(MAX_LINES + 10):
            fail(log, str(number))
    assert len(lines) == MAX_LINES
    assert len(log._lines) == MAX_LINES
