"""``sidecar policy status`` against an ops listener that reports fleets in agreement, diverged, rejecting, unknown."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from sidecar.cli.policy import status as policy_status
from sidecar.policy.generation import content_hash
from sidecar.sources.policy_files import packaged, read_policy_files

G1, G2 = "1" * 32, "2" * 32
FINDING = {
    "severity": "error",
    "code": "unknown-role",
    "file": "policy/policy.csv",
    "line": 7,
    "column": 4,
    "message": '"marketeer" is not a role',
    "hint": 'did you mean "marketer"?',
}


def member(name: str, generation: str, state: str = "current") -> dict[str, Any]:
    return {"id": name, "generation": generation, "state": state, "applied": 1}


def report(*fleet: dict[str, Any], generation: str = G1, state: str = "current", diagnostics: Any = ()) -> Any:
    return {"generation": generation, "state": state, "diagnostics": list(diagnostics), "fleet": list(fleet)}


class Ops(HTTPServer):
    """Serves one ``/status`` report after the other; the last one repeats."""

    reports: list[Any]


@pytest.fixture
def ops() -> Iterator[Ops]:
    class Handler(BaseHTTPRequestHandler):
        server: Ops

        def do_GET(self) -> None:
            assert self.path == "/status"
            reports = self.server.reports
            body = json.dumps(reports.pop(0) if len(reports) > 1 else reports[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = Ops(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ask(cli, ops):
    """Query a sidecar that serves these reports."""

    def call(reports: list[Any], *words: str):
        ops.reports = reports
        return cli("policy", "status", "--ops-listen", f"127.0.0.1:{ops.server_address[1]}", *words)

    return call


def test_all_agree(ask) -> None:
    done = ask([report(member("a", G1), member("b", G1))])
    assert done.status == 0
    assert done.out.splitlines()[1].split() == ["a", G1, "current", "files"]
    assert done.err == ""


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (report(member("a", G1), member("b", G2)), "2 generations"),
        (report(member("a", G1), member("b", G1, "rejected")), "rejected"),
        (report(member("a", G2)), "2 generations"),
    ],
)
def test_they_do_not_agree(ask, told, why) -> None:
    done = ask([told])
    assert done.status == 1
    assert why in done.err


def test_what_is_wrong_with_the_files_is_told(ask) -> None:
    done = ask([report(member("a", G1, "rejected"), state="rejected", diagnostics=[FINDING])])
    assert done.status == 1
    assert 'policy/policy.csv:7:4: unknown-role: "marketeer" is not a role (did you mean "marketer"?)' in done.out


def test_json(ask) -> None:
    done = ask([report(member("a", G1), member("b", G2))], "--json")
    told = json.loads(done.out)
    assert (done.status, told["agreed"], told["generation"]) == (1, False, G1)
    assert [one["id"] for one in told["fleet"]] == ["a", "b"]


def test_wait_returns_when_they_agree_and_not_before(ask, ops, monkeypatch) -> None:
    monkeypatch.setattr(policy_status, "INTERVAL", 0)
    apart = report(member("a", G1), member("b", G2))
    done = ask([apart, apart, report(member("a", G2), member("b", G2), generation=G2)], "--wait")
    assert done.status == 0
    assert len(ops.reports) == 1, "it polled once per report"
    assert G2 in done.out


def test_wait_ends_at_its_timeout(ask, monkeypatch) -> None:
    monkeypatch.setattr(policy_status, "INTERVAL", 0)
    done = ask([report(member("a", G1), member("b", G2))], "--wait", "--timeout", "0.05")
    assert done.status == 1


def test_a_generation_can_be_asked_for_by_its_first_characters(ask) -> None:
    told = [report(member("a", G1))]
    assert ask(told, "--generation", "1111").status == 0
    assert ask([report(member("a", "ab" * 16), generation="ab" * 16)], "--generation", "ABABA").status == 0
    done = ask(told, "--generation", "2222")
    assert done.status == 1
    assert f"they serve {G1}" in done.err


def test_the_files_can_be_what_is_asked_for(ask) -> None:
    folder, model = packaged()
    generation = content_hash(read_policy_files(folder, model).files)
    words = ("--files", "--policy-dir", str(folder), "--model", str(model))
    assert ask([report(member("a", generation), generation=generation)], *words).status == 0
    assert ask([report(member("a", G1))], *words).status == 1
    assert ask([report(member("a", G1))], *words, "--generation", "1111").status == 2


@pytest.mark.parametrize("named", ["", "111", "xyz1", "1" * 33, "1111 ", "main"])
def test_an_impossible_generation_is_wrong_usage_without_a_wait(ask, named) -> None:
    done = ask([report(member("a", G1))], "--generation", named, "--wait")
    assert (done.status, done.out) == (2, "")
    assert "give 4 to 32 hex digits" in done.err


def test_a_store_that_is_out_is_no_agreement(ask) -> None:
    assert ask([report()]).status == 3


def test_nobody_answers(cli) -> None:
    done = cli("policy", "status", "--ops-listen", "127.0.0.1:1")
    assert done.status == 3
    assert "no sidecar responds" in done.err


def test_wait_outlasts_a_restart(ask, cli) -> None:
    looks = iter(
        [
            policy_status.FleetPolicyStatus({}, "apart"),
            policy_status.unavailable("gone"),
            policy_status.FleetPolicyStatus({}, ""),
        ]
    )
    times = iter(range(100))
    found = policy_status.until_agreed(
        lambda: next(looks), next(looks), 60, clock=lambda: float(next(times)), sleep=lambda _: None
    )
    assert isinstance(found, policy_status.FleetPolicyStatus)
    assert found.agreed
