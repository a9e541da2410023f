"""Default deny: no store, no token, no headers, no configuration."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.domain.decision import Decision, Reason, Verdict
from tests.live.conftest import Start, http, start
from tests.live.support import Http, Process, eventually

__all__ = ["http", "start"]

GATEWAYS = {
    "/check": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "/check/nginx": ("X-Original-Method", "X-Original-URI"),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO", "get", "")


def test_two_reasons_allow_and_every_other_denies() -> None:
    allowing = {reason for reason in Reason if Decision(reason, "").allowed}
    assert allowing == {Reason.ALLOWED, Reason.PUBLIC}
    assert {reason for reason in Reason if reason.verdict is Verdict.ALLOW} == allowing


def routes(root: Path) -> list[tuple[str, str, str]]:
    lines = [
        line for line in (root / "policy/routes.csv").read_text().splitlines() if line and not line.startswith("#")
    ]
    return [(target, method, path) for target, method, path in csv.reader(lines, skipinitialspace=True)]


@pytest.fixture
async def without_store(start: Start, http: Callable[[Process], Http]) -> Http:
    """A sidecar that has never reached its store."""
    process = start(REDIS_URL="redis://127.0.0.1:1/0", wait=False)
    await eventually(lambda: process.http_status("/livez") == 200)
    assert process.http_status("/readyz") == 503
    return http(process)


async def test_without_a_store_only_what_is_public_is_open(without_store: Http, root: Path) -> None:
    for endpoint, (method_header, path_header) in GATEWAYS.items():
        for target, method, path in routes(root):
            for token in (None, "e30.e30.e30"):
                sent = {method_header: method, path_header: path.strip()}
                answer = await without_store.ask("GET", endpoint, token=token, headers=sent)
                assert (answer.status == 200) == (target.strip() == "public"), (endpoint, target, path, answer)


DENIALS = {400, 401, 403, 404, 405, 503}


async def test_nothing_sent_is_nothing_allowed(without_store: Http) -> None:
    paths = [
        "/check",
        "/check/",
        "/check/nginx",
        "/check/none",
        "/check/sections/billing",
        "/check/sections/",
        "/v1/check",
    ]
    for path in (*paths, "/", "/v1/me", "/v1/users", "/nowhere"):
        for method in METHODS:
            if method:
                url = without_store.url + path
                async with without_store.session.request(method, url, allow_redirects=False) as answer:
                    led = (
                        path == "/" and answer.headers.get("Location") == "/console/"
                    )  # no gateway takes it for an allow
                    assert answer.status == 302 if led else answer.status in DENIALS, (method, path, answer)


async def test_odd_methods_open_nothing(without_store: Http) -> None:
    for endpoint, (method_header, path_header) in GATEWAYS.items():
        for method in METHODS:
            if method not in {"GET", "HEAD"}:
                sent = {method_header: method, path_header: "/login"}
                answer = await without_store.ask("GET", endpoint, headers=sent)
                assert answer.status in {401, 403}, (method, answer)
