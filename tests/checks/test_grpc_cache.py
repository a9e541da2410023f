"""A cached response over gRPC always equals a new decision, and the responses of the other request paths."""

import random
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
pytest.importorskip("envoy.service.auth.v3.external_auth_pb2", reason="the extra [grpc] is not installed")

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from structlog.testing import capture_logs

from sidecar.domain.sessions import Method, Proof
from sidecar.gateways import ext_authz
from sidecar.gateways.fast_path import grpc_responder
from sidecar.gateways.fast_path.grpc_responder import GrpcResponder
from sidecar.http.denial_log import SECONDS, DenialLog
from tests.checks.test_needs_lanes import ASKED, ELSEWHERE, OFFICE, PROXY, TRUSTED, Lanes, Lines, forwarded
from tests.checks.test_response_cache import CHANGES, World, anew, end_session, run_out_the_session
from tests.deploy.test_memory import RESPONSES_OF_GRPC
from tests.needs_world import PASSWORD, TOTP, NeedsWorld
from tests.pdp_fixture import NOW, token

MAX_HEAD = 32768
BEARER = (b"authorization", f"Bearer {token('b')}".encode())
IDENTITY = ("x-auth-user", "x-auth-role", "x-auth-section")


class Envoy:
    """Envoy's messages to one responder. No two of them are equal."""

    def __init__(self, responder: GrpcResponder, *, raw: bool = True, peer: str = "127.0.0.1") -> None:
        self.responder = responder
        self._raw = raw
        self._peer = peer
        self._sent = 0

    def message(self, uri: str, lines: Lines, method: str = "GET") -> bytes:
        self._sent += 1
        asked = CheckRequest()
        source, request = asked.attributes.source.address.socket_address, asked.attributes.request
        source.address, source.port_value = self._peer, 40_000 + self._sent
        request.time.seconds, request.time.nanos = NOW + self._sent, self._sent * 1000
        http = request.http
        http.id, http.method, http.path = str(self._sent * 10**15), method, uri
        for name, value in (*lines, (b"traceparent", b"00-%032x-1-01" % self._sent)):
            if self._raw:
                http.header_map.headers.add(key=name.decode().lower(), raw_value=value)
            else:
                http.headers[name.decode().lower()] = value.decode()
        return bytes(asked.SerializeToString())

    async def ask(self, uri: str = "/dashboard/billing", *lines: tuple[bytes, bytes], method: str = "GET") -> Any:
        """Return the response to a GET with Bob's token, and with one more line of its own."""
        own = (b"x-request-id", b"id-%d" % self._sent)
        sent = self.message(uri, (*(lines or (BEARER,)), own), method)
        return CheckResponse.FromString(await self.responder.respond(sent))


def envoy(world: World, **given: Any) -> Envoy:
    return Envoy(GrpcResponder(world.app, max_head=MAX_HEAD), **given)


def body_of(answer: Any) -> bytes:
    return bytes(answer.denied_response.body.encode())


@pytest.fixture
async def world() -> World:
    return World()


@pytest.mark.parametrize("raw", [True, False])
async def test_messages_of_envoy_share_a_cached_response(
    world: World, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    decided = []
    decide = grpc_responder.decide_question
    monkeypatch.setattr(grpc_responder, "decide_question", lambda *given: decided.append(1) or decide(*given))
    sender = envoy(world, raw=raw)
    answers = [await sender.ask() for _ in range(6)]
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len(decided) == 2, "the third response is cached"
    headers = {one.header.key: one.header.value for one in answers[-1].ok_response.headers}
    assert [headers[name] for name in IDENTITY] == ["usr_aaaaaaaaaaaa_bbbbbbbbbbbb", "accountant", "billing"]
    text = world.app.metrics.exposition().decode()
    labels = f'decision="allow",endpoint="{grpc_responder.FAMILY.label}",reason="allowed",section="billing"'
    assert f"sidecar_checks_total{{{labels}}} 6.0" in text


@pytest.mark.parametrize("change", CHANGES)
async def test_after_any_change_grpc_decides_anew(world: World, change: Callable[[World], None]) -> None:
    sender = envoy(world)
    assert [(await sender.ask()).status.code for _ in range(3)] == [0] * 3
    assert len(sender.responder.messages) == 1, "the third response is cached"
    change(world)
    answer = await sender.ask()
    status, body = anew(world)
    assert (answer.denied_response.status.code, body_of(answer)) == (status, body)
    assert answer.status.code == (16 if status == 401 else 7)


@pytest.mark.parametrize("change", [end_session, run_out_the_session])
async def test_an_ended_session_ends_its_cached_messages(world: World, change: Callable[[World], None]) -> None:
    sender = envoy(world)
    for _ in range(3):
        assert (await sender.ask()).status.code == 0
    change(world)
    assert (await sender.ask()).status.code == 16


async def test_without_a_live_copy_the_store_is_read_over_grpc(world: World) -> None:
    sender = envoy(world)
    for _ in range(3):
        await sender.ask()
    world.live = False
    world.users.clear()
    assert (await sender.ask()).status.code == 16


DIFFERENCES = {
    "path": ("/dashboard/users", (BEARER,), "GET", 7),
    "method": ("/dashboard/billing", (BEARER,), "get", 7),
    "user": ("/dashboard/billing", ((BEARER[0], f"Bearer {token('c')}".encode()),), "GET", 7),
    "no token": ("/dashboard/billing", ((b"accept", b"*/*"),), "GET", 16),
    "two tokens": ("/dashboard/billing", (BEARER, BEARER), "GET", 7),
    "override": ("/dashboard/billing", (BEARER, (b"x-http-method-override", b"DELETE")), "GET", 7),
    "h2c": ("/dashboard/billing", (BEARER, (b"upgrade", b"h2c")), "GET", 7),
    "ambiguous": ("/dashboard//billing", (BEARER,), "GET", 7),
}


@pytest.mark.parametrize("name", DIFFERENCES)
async def test_a_message_that_differs_has_its_own_response(world: World, name: str) -> None:
    sender = envoy(world)
    for _ in range(3):
        assert (await sender.ask()).status.code == 0
    uri, lines, method, code = DIFFERENCES[name]
    for _ in range(3):
        assert (await sender.ask(uri, *lines, method=method)).status.code == code
        assert (await sender.ask()).status.code == 0


async def test_R9_cookies_of_the_back_end_are_of_the_same_request(world: World) -> None:
    sender = envoy(world)
    for _, value in product(range(3), (b"a=1", b"a=2", b"sidecar=x", b"")):
        answer = await sender.ask("/dashboard/billing", BEARER, (b"cookie", value))
        sent = {one.header.key: one.header.value for one in answer.ok_response.headers}
        assert sent.get("cookie", "") == ("" if value.startswith(b"sidecar") else value.decode())
        assert ("cookie" in answer.ok_response.headers_to_remove) == ("cookie" not in sent)


async def test_R29_cached_messages_are_bounded_by_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_responder, "MAX_BYTES", 100_000)
    monkeypatch.setattr(grpc_responder, "MAX_SERIALIZED_BYTES", 50_000)
    sender = envoy(world)
    for number in range(60):
        for _ in range(2):
            await sender.ask("/dashboard/billing", BEARER, (b"cookie", b"a=%d%b" % (number, b"x" * 3000)))
    for cache, most in ((sender.responder.messages, 100_000), (sender.responder.serialized, 50_000)):
        assert 3 < len(cache) < 20
        assert cache._bytes == sum(cache._sizes.values()) <= most
        assert cache._sizes.keys() == cache._values.keys()
    assert len(sender.responder.seen_before) == 60


def test_R29_the_bounds_are_those_that_the_memory_table_counts() -> None:
    assert grpc_responder.MAX_BYTES + grpc_responder.MAX_SERIALIZED_BYTES <= RESPONSES_OF_GRPC


@pytest.mark.parametrize(
    "lines", [((b"cookie", b"a=" + b"x" * 5000),), tuple((b"accept", b"a/%d" % at) for at in range(80))]
)
async def test_R29_a_long_message_takes_no_place(world: World, lines: Lines) -> None:
    sender = envoy(world)
    for _ in range(4):
        assert (await sender.ask("/dashboard/billing", BEARER, *lines)).status.code == 0
    assert len(sender.responder.messages) == 0


async def test_checks_without_a_user_take_no_place(world: World) -> None:
    sender = envoy(world)
    for _ in range(4):
        await sender.ask("/login", (b"accept", b"*/*"))
        await sender.ask("/dashboard/billing", (b"authorization", b"Bearer x"))
    assert len(sender.responder.messages) == 0


async def test_a_cached_denial_over_grpc_is_counted_by_its_cause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [7.0]
    log = DenialLog(clock=lambda: now[0])
    for module in (ext_authz, grpc_responder):
        monkeypatch.setattr(module, "DENIAL_LOG", log)
    sender = envoy(world)
    with capture_logs() as lines:
        bodies = {body_of(await sender.ask("/no/such/section")) for _ in range(5)}
        now[0] += SECONDS
        await sender.ask("/no/such/section")
    assert len(bodies) == 1 and b'"detail"' in bodies.pop()
    assert [line["count"] for line in lines] == [1, 5]
    assert len(sender.responder.messages) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_R40_grpc_and_http_agree_while_facts_change(seed: int) -> None:
    """The table of both HTTP paths: any order of checks, clock steps and step-ups, against a new decision."""
    chance = random.Random(seed)
    world = NeedsWorld("second-factor | office, recent-sign-in | office-hours", trusted=TRUSTED)
    lanes = Lanes(world)
    sender = Envoy(GrpcResponder(world.app, max_head=MAX_HEAD), peer=PROXY)
    uris = ["/dashboard/billing", "/dashboard/billing/1", "/dashboard/users/1"]
    addresses = [(), forwarded(OFFICE), forwarded(ELSEWHERE), forwarded(OFFICE, ELSEWHERE)]
    seen = set()
    for _ in range(300):
        match chance.randrange(12):
            case 0:
                world.now = NOW + chance.choice((0.0, 899.9, 900.0, 900.5, 1800.0, 3599.0, 3600.0, 3604.0))
            case 1:
                at, counts_at = NOW + chance.choice((0, 900, 1700)), NOW + chance.choice((0, 900, 3600))
                world.enter(PASSWORD, Proof(Method.TOTP, TOTP, at), factors={TOTP: counts_at})
            case 2:
                world.enter(PASSWORD)
        uri, address = chance.choice(uris), chance.choice(addresses)
        answer = await sender.ask(uri, ASKED[2], *address)
        fast = lanes.ask(PROXY, (ASKED[0], (ASKED[1][0], uri.encode()), ASKED[2], *address))
        status = answer.denied_response.status.code or 200
        assert (status, body_of(answer)) == (int(fast.split(b" ", 2)[1]), fast.partition(b"\r\n\r\n")[2])
        seen.add(status)
    assert seen == {200, 401, 403}, "the test has met each verdict"
    assert len(sender.responder.messages) > 0
