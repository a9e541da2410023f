"""Assertions for one request at one gateway: those common to all rows, then the row's own."""

import re
from collections.abc import Sequence
from typing import assert_never

from tests.gateways.rig.backend import Arrival
from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.people import Cast
from tests.gateways.rig.rows import Allow, Deny, Public, Row, permitted
from tests.gateways.rig.trusted_names import NEVER, OURS, read_by_a_back_end
from tests.gateways.rig.wire import Response

IDENTITY = tuple(name.lower() for name in OURS)
SIDECARS_COOKIES = ("__host-sidecar", "__secure-sidecar-refresh", "sidecar", "sidecar-refresh")
PLAIN = re.compile(r"(/[A-Za-z0-9._~%-]+)*/?(\?.*)?")
WRITES = {"POST": 0, "PUT": 0, "PATCH": 1, "DELETE": 1}


def judge(bench: Bench, lane: Lane, row: Row) -> None:
    """Run the row and assert all of it."""
    answers = len(lane.relay.answers)
    response, arrivals = lane.ask(row.bytes(bench.cast.tokens), settle=row.settle)
    expected = row.outcome(lane.name)
    for arrival in arrivals:
        assert_clean(arrival)
        assert lane.name != "envoy" or not re.search(rb"(?mi)^x-envoy-auth-", arrival.head), arrival.head
        assert_permitted(arrival, expected)
    told = [reason_of(answer) for answer in lane.relay.answers[answers:]]
    if lane.gateway.program.grpc:
        told = [value for name, value in response.headers if name == "x-auth-reason"]
    if row.hidden and told[-1:] == ["missing_token"]:
        told.pop()
    shown = f"{response.status} {told} {response.body[:200]!r} {[one.head for one in arrivals]}"
    match expected:
        case Deny(status, reason):
            assert not arrivals, f"reached the back end: {shown}"
            assert response.status == status, shown
            assert told == ([] if reason is None else [reason]), shown
            assert_nothing_told(response)
        case Public(target, status):
            assert response.status == status, shown
            assert [arrival.target for arrival in arrivals] == [target or row.target], shown
            assert_identity(arrivals[0], {})
        case Allow(role, section, action, target, status):
            assert response.status == status, shown
            assert [arrival.target for arrival in arrivals] == [target or row.target], shown
            assert_identity(arrivals[0], identity(bench.cast, role, section, action))
        case _:
            assert_never(expected)


def identity(cast: Cast, role: str, section: str, action: str) -> dict[str, str]:
    person = cast.people[role]
    values = (person.id, person.email, person.role, person.account, section, action)
    return dict(zip(IDENTITY, values, strict=True))


def assert_identity(arrival: Arrival, expected: dict[str, str]) -> None:
    """Assert that each of the six is present once with the sidecar's value, or absent if that is empty; and no alias of
    any.
    """
    seen: dict[str, list[str]] = {}
    for name, value in arrival.headers:
        plain = read_by_a_back_end(name)
        if plain.startswith("x-auth-"):
            seen.setdefault(plain, []).append(value)
    told = {name: values for name, values in seen.items() if values != [""]}
    assert told == {name: [value] for name, value in expected.items() if value}, arrival.head


def assert_clean(arrival: Arrival) -> None:
    """Assert that there is no credential, no header that names another request than the checked one, no invented
    header, and no upgrade except to a WebSocket (R6).
    """
    assert [value.lower() for value in arrival.values("upgrade")] in ([], ["websocket"]), arrival.head
    for name, value in arrival.headers:
        plain = read_by_a_back_end(name)
        assert not NEVER.fullmatch(plain), f"{name} reached the back end: {arrival.head!r}"
        assert not (plain.startswith("x-auth-") and "evil" in value), arrival.head
        if name == "cookie":
            names = [pair.partition("=")[0].strip().lower() for pair in value.split(";")]
            assert not set(names) & set(SIDECARS_COOKIES), f"a cookie of the sidecar reached the back end: {value}"


def assert_permitted(arrival: Arrival, expected: Allow | Public | Deny) -> None:
    """Assert without the sidecar that the request is one of those that the policy's own tests allow."""
    assert PLAIN.fullmatch(arrival.target), f"an unnormalised path reached the back end: {arrival.target}"
    path = arrival.target.partition("?")[0].strip("/").split("/")
    if path[0] in ("login", "assets"):
        return
    assert isinstance(expected, Allow), f"reached the back end: {arrival.head!r}"
    allowed = permitted(expected.role)
    assert path[0] == "dashboard", arrival.target
    assert path[1].replace("%79", "y") == expected.section, arrival.target
    assert (expected.section, expected.action) in allowed, arrival.target


def assert_nothing_told(response: Response) -> None:
    """Assert that a denial names no user to the client."""
    told: Sequence[str] = [name for name, _ in response.headers if name in IDENTITY]
    assert not told, told


def reason_of(answer: bytes) -> str:
    found = re.search(rb"^X-Auth-Reason: (\S+)\r$", answer, re.IGNORECASE | re.MULTILINE)
    return found[1].decode() if found else "no reason"
