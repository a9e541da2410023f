"""A sidecar that is down, broken, silent or slow: all requests are denied, and allowed again once it is back."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import judge
from tests.gateways.rig.outcomes import MARKETER, MEDIA
from tests.gateways.rig.programs import PROGRAMS
from tests.gateways.rig.relay import Mode
from tests.gateways.rig.rows import Row, request

pytestmark = pytest.mark.slow

ALLOWED = Row("allowed", request(MEDIA, token="marketer"), MARKETER)
PUBLIC = request("/login")

FAILED = {"nginx": {500}, "traefik": {500}, "caddy": {502}, "envoy": {403}, "envoy-grpc": {403}, "haproxy": {403}}
"""Response of each gateway if the sidecar is unavailable (measured)."""

PATIENCE = 4.0
"""Seconds. Each gateway except Traefik has given up by then; Traefik's own limit of 30 s cannot be configured."""


@pytest.fixture
def lane(bench: Bench, gateway: str) -> Lane:
    return bench.lane(gateway)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.CLOSE, Mode.BROKEN], ids=lambda mode: mode.value)
def test_a_sidecar_that_cannot_be_asked_lets_nobody_in(bench: Bench, lane: Lane, mode: Mode) -> None:
    lane.become(mode)
    try:
        for raw in (ALLOWED.bytes(bench.cast.tokens), PUBLIC):
            response, arrivals = lane.ask(raw)
            assert not arrivals
            assert response.status in FAILED[lane.name] | ({500} if mode is Mode.BROKEN else set())
    finally:
        lane.become(Mode.PASS)
    judge(bench, lane, ALLOWED)


def test_a_sidecar_that_does_not_answer_lets_nobody_in(bench: Bench) -> None:
    """All gateways at once: the test takes as long as the longest timeout."""
    lanes = bench.lanes()
    for lane in lanes:
        lane.become(Mode.HANG)
    reached = len(bench.backend.arrivals)
    try:
        with ThreadPoolExecutor(len(lanes) or 1) as pool:
            waits = [pool.submit(_status_or_silence, lane, ALLOWED.bytes(bench.cast.tokens)) for lane in lanes]
            answers = {lane.name: wait.result() for lane, wait in zip(lanes, waits, strict=True)}
    finally:
        for lane in lanes:
            lane.become(Mode.PASS)
    assert len(bench.backend.arrivals) == reached
    silent = {name for name, status in answers.items() if status is None}
    assert silent <= {"traefik"}, answers
    assert all(status in FAILED[name] | {504} for name, status in answers.items() if status is not None), answers
    for lane in lanes:
        judge(bench, lane, ALLOWED)


def _status_or_silence(lane: Lane, raw: bytes) -> int | None:
    try:
        return lane.ask(raw, timeout=PATIENCE)[0].status
    except TimeoutError:
        return None


def test_a_sidecar_that_is_slow_is_waited_for(bench: Bench, lane: Lane) -> None:
    """Slow, but within the timeouts of the configurations: the response counts as if it had been immediate."""
    lane.relay.delay = 0.4
    try:
        started = time.monotonic()
        judge(bench, lane, ALLOWED)
        assert time.monotonic() - started >= 0.4
    finally:
        lane.relay.delay = 0.0


@pytest.mark.parametrize("gateway", PROGRAMS)
def test_a_sidecar_that_is_paused_and_goes_on(bench: Bench, gateway: str) -> None:
    """The process itself is stopped, as on a machine under pressure."""
    lane = bench.lane(gateway)
    bench.sidecar.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lane.ask, ALLOWED.bytes(bench.cast.tokens))
            time.sleep(0.2)
            assert not waiting.done()
            bench.sidecar.go_on()
            response, arrivals = waiting.result()
    finally:
        bench.sidecar.go_on()
    assert response.status == 200
    assert len(arrivals) == 1
