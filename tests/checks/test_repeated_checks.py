"""Cached responses of the API's checks always equal a new decision, and each evaluation has a valid PEP key."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import RawTestServer, TestClient

from sidecar.api import check_api, repeated_checks
from sidecar.api.authzen import evaluation
from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.api.traced_dispatcher import TracedDispatcher
from sidecar.domain.peps import Pep, PepId, Scope
from sidecar.identity.pep_keys import PepKeys, PresentedKey
from sidecar.pdp.evaluation import Subjects
from sidecar.telemetry.check_spans import TracedCheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import Span, Tracer
from tests.checks.test_response_cache import (
    BOB,
    CHANGES,
    World,
    change_the_policy,
    demote,
    end_session,
    lose_the_policy,
    run_out_the_session,
    suspend,
)
from tests.pdp_fixture import ACCOUNT, NOW, at_once, token

KEY = "pep_key"
PEP = Pep(PepId("pep_a"), ACCOUNT, "bench", frozenset(Scope), 0, NOW + 600, 1000, "digest")
ONE = {"section": "billing", "action": "view"}
BEARER = {"authorization": f"Bearer {token('b')}"}
EVALUATION = {
    "subject": {"type": "user", "id": BOB},
    "resource": {"type": "section", "id": "billing"},
    "action": {"name": "view"},
}


@dataclass
class Api:
    """Client of a dispatcher over a `World`. ``decided``: names of the endpoints that decided anew."""

    world: World
    client: TestClient
    dispatcher: Dispatcher
    peps: dict[PepId, Pep]
    decided: list[str]

    async def check(self, body: object = ONE, headers: dict[str, str] = BEARER) -> tuple[int, dict[str, Any]]:
        async with self.client.post("/v1/check", data=json.dumps(body), headers=headers) as answer:
            return answer.status, await answer.json()

    async def evaluate(self, body: object = EVALUATION, **headers: str) -> tuple[int, dict[str, Any]]:
        sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
        async with self.client.post("/access/v1/evaluation", data=json.dumps(body), headers=sent) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    world, decided = World(), []
    peps = {PEP.id: PEP}
    copies: Any = SimpleNamespace(peek=peps.get, read=_nothing)
    keys = PepKeys(copies, None, clock=lambda: world.now, monotonic=lambda: world.now)  # type: ignore[arg-type]
    keys._proven.set(KEY, PresentedKey(PEP.id, PEP.digest))
    subjects = Subjects(None, world, normalise=lambda _: None, is_mailbox=lambda *_: True)  # type: ignore[arg-type]
    for module, name in ((check_api, "record_checks"), (evaluation, "record_check")):
        record = getattr(module, name)
        spied = lambda *given, record=record: decided.append(given[1]) or record(*given)  # noqa: E731
        monkeypatch.setattr(module, name, spied)
    dispatcher = Dispatcher(replace(world.app, pep_keys=keys, subjects=subjects), CHECKS, checks=True)
    async with TestClient(RawTestServer(dispatcher)) as client:
        yield Api(world, client, dispatcher, peps, decided)


@pytest.fixture
async def traced_api(api: Api) -> AsyncIterator[tuple[Api, list[Span]]]:
    """The same client of a traced dispatcher. Its spans are of sampled parents alone."""
    spans: list[Span] = []
    recorder = TracedCheckRecorder(Metrics("0"), call_soon=at_once)
    dispatcher = TracedDispatcher(replace(api.dispatcher._app, recorder=recorder), CHECKS, checks=True)
    dispatcher.tracer = Tracer(spans.append, share=0.0)
    async with TestClient(RawTestServer(dispatcher)) as client:
        yield replace(api, client=client, dispatcher=dispatcher), spans


async def _nothing(_id: PepId) -> None:
    return None


def entries(api: Api) -> int:
    return len(api.dispatcher._responder.cache.responses)


async def test_repeated_checks_are_cached_counted_and_logged(api: Api) -> None:
    answers = [await api.check() for _ in range(5)] + [await api.evaluate() for _ in range(5)]
    assert len({repr(answer) for answer in answers}) == 2
    assert {status for status, _ in answers} == {200} and all(body["decision"] for _, body in answers)
    assert api.decided == ["/v1/check"] * 2 + ["/access/v1/evaluation"] * 2, "cached from the third on"
    text = api.world.app.metrics.exposition().decode()
    for path in ("/v1/check", "/access/v1/evaluation"):
        labels = f'decision="allow",endpoint="{path}",reason="allowed",section="billing"'
        assert f"sidecar_checks_total{{{labels}}} 5.0" in text
        assert f'sidecar_http_requests_total{{endpoint="{path}",status="200"}} 5.0' in text


@pytest.mark.parametrize("change", [*CHANGES, end_session, run_out_the_session])
async def test_after_any_change_a_check_is_decided_anew(api: Api, change: Callable[[World], None]) -> None:
    for _ in range(3):
        assert (await api.check())[1]["decision"] is True
    assert entries(api) == 1
    change(api.world)
    api.decided.clear()
    status, body = await api.check()
    assert (status, body.get("decision", False)) in ((401, False), (200, False), (503, False))
    api.dispatcher._responder.cache.responses.clear()
    anew = await api.check()
    assert (status, body) == anew


@pytest.mark.parametrize("change", [suspend, demote, change_the_policy, lose_the_policy])
async def test_after_any_change_a_subject_is_evaluated_anew(api: Api, change: Callable[[World], None]) -> None:
    for _ in range(3):
        assert (await api.evaluate())[1]["decision"] is True
    assert entries(api) == 1
    change(api.world)
    status, body = await api.evaluate()
    assert status == 503 or body["decision"] is False
    api.dispatcher._responder.cache.responses.clear()
    assert await api.evaluate() == (status, body)


async def test_R20_a_cached_evaluation_needs_a_valid_key(api: Api) -> None:
    for _ in range(3):
        assert (await api.evaluate())[0] == 200
    api.peps[PEP.id] = replace(PEP, account="acc_" + "z" * 12)
    assert (await api.evaluate())[1]["decision"] is False, "the key of another account"
    for other in (
        replace(PEP, suspended=True),
        replace(PEP, expires_at=NOW),
        replace(PEP, digest="another"),
        replace(PEP, scopes=frozenset()),
        None,
    ):
        api.peps.clear()
        if other is not None:
            api.peps[PEP.id] = other
        assert (await api.evaluate())[0] in (401, 403), other
    assert (await api.evaluate(authorization="Bearer pep_other"))[0] == 401


async def test_R20_cached_evaluations_are_charged(api: Api) -> None:
    api.peps[PEP.id] = replace(PEP, rate=5)
    statuses = [(await api.evaluate())[0] for _ in range(9)]
    assert statuses == [200] * 5 + [429] * 4


@pytest.mark.parametrize("headers", [{"cookie": "a=1"}, {"x-sidecar-at-least": "0"}])
async def test_other_headers_that_count_have_no_key(api: Api, headers: dict[str, str]) -> None:
    lines = [(name.encode(), value.encode()) for name, value in {**BEARER, **headers}.items()]
    assert repeated_checks.repeatable("/v1/check", lines, b"{}").key is None
    assert repeated_checks.repeatable("/v1/check", lines[:1], b"{}").key is not None
    assert repeated_checks.repeatable("/v1/check", [*lines[:1], *lines[:1]], b"{}").key is None
    assert entries(api) == 0


async def test_a_check_that_differs_has_its_own_response(api: Api) -> None:
    other = {"authorization": f"Bearer {token('c')}"}
    for _ in range(3):
        assert (await api.check())[1]["decision"] is True
        assert (await api.check(headers=other))[1]["decision"] is False
        assert (await api.check({**ONE, "section": "users"}))[1]["decision"] is False
        assert (await api.check({**ONE, "more": 1}))[0] == 400
        assert (await api.check(headers={}))[0] == 401
        assert (await api.check(headers={**BEARER, "host": "evil.com"}))[0] == 400
        assert (await api.check({"checks": [ONE, ONE]}))[1]["decisions"][0]["decision"] is True
        assert (await api.evaluate(**{"content-type": "text/plain"}))[0] == 400
        assert (await api.evaluate())[1]["decision"] is True
    assert entries(api) == 4


async def test_without_a_verified_store_nothing_cached_is_used(api: Api) -> None:
    for _ in range(3):
        await api.check()
    api.world.app.health.proven = False
    assert (await api.check())[0] == 503


async def test_a_cached_evaluation_logs_any_request_id(api: Api) -> None:
    recorded: list[bytes] = []
    replay = api.dispatcher._responder._replayed
    api.dispatcher._responder._replayed = lambda *given: recorded.append(given[1]) or replay(*given)
    for _ in range(3):
        await api.evaluate(**{"x-request-id": 'a"b\\c'})
    assert recorded == [b'a\\"b\\\\c']


async def test_repeated_checks_of_any_trace_are_cached(traced_api: tuple[Api, list[Span]]) -> None:
    api, spans = traced_api
    for number in range(1, 7):
        sent = {"traceparent": f"00-{number:032x}-{number:016x}-0{number % 2}"}
        assert (await api.check(headers={**BEARER, **sent}))[1]["decision"] is True
        assert (await api.evaluate(**sent))[1]["decision"] is True
    assert api.decided == ["/v1/check", "/access/v1/evaluation"] * 2, "cached from the third on"
    assert "trace" not in str(list(api.dispatcher._responder.cache.responses._values))
    names = ("POST /v1/check", "POST /access/v1/evaluation")
    assert [span.name for span in spans] == [*names] * 3
    for span in spans:
        assert span.parent is not None
        assert int(span.parent.span_id, 16) == int(span.context.trace_id, 16)
        assert span.attributes["sidecar.decision"] == "allow"
        assert span.attributes["http.response.status_code"] == 200
