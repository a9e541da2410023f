"""Gateways can be configured to forward requests without a decision. The sidecar never makes that a bypass: if it can
decide, it responds with 401 or 403, never with a 5xx and never by closing the connection.

The documentation advises against these settings. The tests show their effect.
"""

from collections.abc import Iterator

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import IDENTITY, judge
from tests.gateways.rig.outcomes import BILLING, MARKETER, MEDIA
from tests.gateways.rig.people import from_the_future
from tests.gateways.rig.relay import Mode
from tests.gateways.rig.rows import Deny, Row, request
from tests.gateways.rig.table import table

ENVOYS = ("envoy", "envoy-grpc")
SPOOFED = tuple(f"{name}: evil" for name in IDENTITY)


def _open(text: str) -> str:
    assert "failure_mode_allow: false" in text
    return text.replace("failure_mode_allow: false", "failure_mode_allow: true")


@pytest.fixture(scope="module")
def open_lanes(bench: Bench) -> dict[str, Lane]:
    return {}


@pytest.fixture
def open_lane(bench: Bench, open_lanes: dict[str, Lane], gateway: str) -> Lane:
    """Envoy with ``failure_mode_allow: true``."""
    if gateway not in open_lanes:
        open_lanes[gateway] = bench.start(gateway, edit=_open)
    return open_lanes[gateway]


@pytest.mark.parametrize("gateway", ENVOYS)
@pytest.mark.parametrize("row", [row for row in table() if isinstance(row.expect, Deny)], ids=lambda row: row.name)
def test_failure_mode_allow_opens_nothing_that_can_be_judged(bench: Bench, open_lane: Lane, row: Row) -> None:
    """Every denial of the table, again."""
    judge(bench, open_lane, row)


@pytest.mark.parametrize("gateway", ENVOYS)
@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.CLOSE], ids=lambda mode: mode.value)
def test_failure_mode_allow_opens_all_while_the_sidecar_is_down(bench: Bench, open_lane: Lane, mode: Mode) -> None:
    """As documented for the setting. Even then requests carry no identity: the identity headers are removed before the
    check.
    """
    open_lane.become(mode)
    try:
        response, arrivals = open_lane.ask(request(BILLING, *SPOOFED))
    finally:
        open_lane.become(Mode.PASS)
    assert response.status == 200
    assert not [value for name in IDENTITY for value in arrivals[0].values(name) if value]
    judge(bench, open_lane, Row("allowed", request(MEDIA, token="marketer"), MARKETER))


@pytest.mark.parametrize("gateway", ENVOYS)
@pytest.mark.parametrize("size", [20_000, 33_000, 58_000])
@pytest.mark.parametrize("start", ["Authorization: Bearer ", "Cookie: a=", "Accept: "])
def test_failure_mode_allow_opens_nothing_to_what_is_too_large(open_lane: Lane, size: int, start: str) -> None:
    """Up to Envoy's own limit. Over SIDECAR_MAX_HEAD the sidecar's parser responds 400, and waits for the rest; over
    gRPC it is a denial.
    """
    response, arrivals = open_lane.ask(request(BILLING, start + "x" * size))
    assert arrivals == []
    assert response.status in (400, 401, 403)


@pytest.fixture
def store_out(bench: Bench) -> Iterator[None]:
    """The store is down, and every lease has expired."""
    bench.pause_store()
    yield
    bench.resume_store()


def raw(bench: Bench, target: str, token: str) -> bytes:
    return Row("", request(target, token=token), MARKETER).bytes(bench.cast.tokens)


@pytest.mark.parametrize("fails_open", [False, True], ids=["as shipped", "failing open"])
def test_a_store_that_is_out_is_a_denial_at_every_gateway(
    bench: Bench, open_lanes: dict[str, Lane], store_out: None, *, fails_open: bool
) -> None:
    """``SIDECAR_UNAVAILABLE_STATUS`` is 403 by default, for this reason. Decisions without the store are unchanged."""
    lanes = open_lanes.values() if fails_open else bench.lanes()
    for lane in lanes:
        response, arrivals = lane.ask(raw(bench, MEDIA, "marketer"))
        assert (lane.name, response.status, arrivals) == (lane.name, 403, [])
        assert not lane.name.startswith("envoy") or response.value("x-auth-reason") == "store_unavailable"
        response, arrivals = lane.ask(raw(bench, MEDIA, "flipped"))
        assert (lane.name, response.status, arrivals) == (lane.name, 401, [])
        response, arrivals = lane.ask(request("/login"))
        assert (lane.name, response.status, len(arrivals)) == (lane.name, 200, 1)


@pytest.mark.parametrize("fails_open", [False, True], ids=["as shipped", "failing open"])
def test_a_store_that_went_back_in_time_is_a_denial(
    bench: Bench, open_lanes: dict[str, Lane], *, fails_open: bool
) -> None:
    """A token with a newer epoch than the store's is never allowed."""
    for lane in open_lanes.values() if fails_open else bench.lanes():
        newcomer = bench.joins(f"future-{lane.name}-{fails_open}", "account-administrator")
        token = from_the_future(bench.folder / "keys", newcomer.token)
        response, arrivals = lane.ask(request(MEDIA, f"Authorization: Bearer {token}"))
        assert (lane.name, response.status, arrivals) == (lane.name, 403, [])


def test_a_503_is_forwarded_over_http_and_denied_over_grpc(bench: Bench, store_out: None) -> None:
    """``SIDECAR_UNAVAILABLE_STATUS=503`` and ``failure_mode_allow: true`` must not be combined over HTTP."""
    with bench.another_sidecar(UNAVAILABLE_STATUS="503") as other:
        over_http = bench.start("envoy", edit=_open, sidecar=other)
        response, arrivals = over_http.ask(raw(bench, MEDIA, "marketer"))
        assert (response.status, len(arrivals)) == (200, 1), "Envoy forwards after a 5xx under failure_mode_allow"
        over_grpc = bench.start("envoy-grpc", edit=_open, sidecar=other)
        response, arrivals = over_grpc.ask(raw(bench, MEDIA, "marketer"))
        assert (response.status, arrivals) == (503, [])
