"""A cached response always equals a new decision."""

import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import RawTestServer, TestClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.domain.decision import Decision
from sidecar.domain.users import Status, UserId, UserRecord
from sidecar.gateways import ext_authz
from sidecar.gateways.adapter import GatewayRequest
from sidecar.gateways.ext_authz import decide_now, gateway_call, respond
from sidecar.gateways.fast_path import check_responder, response_cache
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.context import AppContext
from sidecar.http.denial_log import SECONDS, DenialLog
from sidecar.http.headers import RawHeaders
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.verify import Verifier
from tests.pdp_fixture import ISSUER, KEYS, NOW, SESSION, USERS, app, live, token, user

BOB = user("b", "accountant").id


class World:
    """All inputs of a response, for tests that change them between two checks."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.users: dict[UserId, UserRecord] = dict(USERS)
        self.live = True
        self.verifier = Verifier(KEYS, ISSUER, "dashboard", 900)
        self.tokens = TokenCache(self.verifier)
        shared = app()
        self.policy = SimpleNamespace(generation=shared.policy.generation)
        pdp = DecisionPoint(self.policy, self.tokens, self, clock=lambda: self.now)  # type: ignore[arg-type]
        given = {name: getattr(shared, name) for name in AppContext.__dataclass_fields__}
        self.app = AppContext(**{**given, "policy": self.policy, "pdp": pdp})
        self.lanes = FastPathListener(self.app, lambda: pytest.fail("slow"), max_head=32768, idle=75)

    def peek(self, uid: UserId) -> UserRecord | None:
        return self.users.get(uid) if self.live else None

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        return self.users.get(uid)


class Wire:
    """A transport that keeps the written bytes. ``peer``: address of its other end, None for a Unix socket."""

    def __init__(self, peer: str | None = "127.0.0.1") -> None:
        self.written: list[bytes] = []
        self._peer = (peer, 4711) if peer else ""

    def get_extra_info(self, name: str) -> object:
        return self._peer if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None: ...

    def resume_reading(self) -> None: ...


HEADERS = (
    (b"x-forwarded-method", b"GET"),
    (b"x-forwarded-uri", b"/dashboard/billing"),
    (b"authorization", f"Bearer {token('b')}".encode()),
)
HEAD = (
    b"GET /check HTTP/1.1\r\nHost: sidecar\r\n"
    + b"".join(name + b": " + value + b"\r\n" for name, value in HEADERS)
    + b"\r\n"
)


@pytest.fixture
async def world() -> World:
    return World()


def ask(world: World, head: bytes = HEAD) -> bytes:
    lane, wire = world.lanes(), Wire()
    lane.connection_made(wire)  # type: ignore[arg-type]
    lane.data_received(head)
    lane.connection_lost(None)
    return wire.written[0] if wire.written else b""


def anew(world: World) -> tuple[int, bytes]:
    call = gateway_call("GET", "/check", "", HEADERS)
    outcome = decide_now(world.app, call)
    assert isinstance(outcome, Decision)
    answer = respond(world.app, call, outcome, b"r", 0.0)
    return answer.status, answer.body


def suspend(world: World) -> None:
    world.users[BOB] = user("b", "accountant", status=Status.SUSPENDED, revision=2)


def demote(world: World) -> None:
    world.users[BOB] = user("b", "marketer", revision=2)


def change_password(world: World) -> None:
    world.users[BOB] = user("b", "accountant", epoch=2, revision=2)


def end_session(world: World) -> None:
    world.users[BOB] = user("b", "accountant", sessions={"ses_" + "z" * 26: live(NOW + 9)}, revision=2)


def run_out_the_session(world: World) -> None:
    world.users[BOB] = user("b", "accountant", sessions={SESSION: live(NOW + 5)}, revision=2)
    ask(world), ask(world), ask(world)
    world.now += 5


def run_out_the_token(world: World) -> None:
    world.now += 905


def turn_the_clock_back(world: World) -> None:
    world.now -= 6


def change_the_keys(world: World) -> None:

    world.tokens.replace(Verifier(KeySet.of(Ed25519PrivateKey.from_private_bytes(b"o" * 32)), ISSUER, "dashboard", 900))


def change_the_policy(world: World) -> None:
    files = dict(read_policy_files(*packaged()).files)
    files["policy.csv"] = files["policy.csv"].replace(b"p, accountant,            billing, ", b"p, accountant, users, ")
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.draft is not None
    world.policy.generation = compiled.draft


def lose_the_policy(world: World) -> None:
    world.policy.generation = None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (suspend, 401),
        (demote, 403),
        (change_password, 401),
        (run_out_the_token, 401),
        (turn_the_clock_back, 401),
        (change_the_keys, 401),
        (change_the_policy, 403),
        (lose_the_policy, 403),
    ],
)
async def test_whatever_changes_the_answer_is_the_one_decided_anew(
    world: World, change: Callable[[World], None], status: int
) -> None:
    for _ in range(3):
        assert ask(world).startswith(b"HTTP/1.1 200 ")
    assert len(world.lanes.responder.cache.responses) == 1, "the third response is cached"
    change(world)
    answered = ask(world)
    assert answered.startswith(f"HTTP/1.1 {status} ".encode())
    assert (status, answered.partition(b"\r\n\r\n")[2]) == anew(world)


CHANGES = [
    *(suspend, demote, change_password, run_out_the_token, turn_the_clock_back),
    *(change_the_keys, change_the_policy, lose_the_policy),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_so_is_the_one_behind_aiohttp(world: World, change: Callable[[World], None]) -> None:
    """Its key differs: method, target and the headers that a check reads."""
    dispatcher = Dispatcher(world.app, CHECKS, checks=True)
    async with TestClient(RawTestServer(dispatcher)) as client:

        async def asked(method: str = "GET", who: str = "b") -> tuple[int, bytes]:
            headers = {name.decode(): value.decode() for name, value in HEADERS}
            headers["authorization"] = f"Bearer {token(who)}"
            async with client.request(method, "/check", headers=headers) as answer:
                return answer.status, await answer.read()

        for _ in range(3):
            assert (await asked())[0] == 200
        assert len(dispatcher._responder.cache.responses) == 1, "the third response is cached"
        assert (await asked(who="c"))[0] == 403
        change(world)
        assert await asked() == await asked("POST") == anew(world)


@pytest.mark.parametrize("change", [end_session, run_out_the_session])
async def test_an_ended_session_is_asked_for_or_denied(world: World, change: Callable[[World], None]) -> None:
    for _ in range(3):
        assert ask(world).startswith(b"HTTP/1.1 200 ")
    change(world)
    assert not ask(world).startswith(b"HTTP/1.1 200 ")


async def test_without_a_live_copy_nothing_remembered_is_used(world: World) -> None:
    for _ in range(3):
        ask(world)
    world.live = False
    assert ask(world) == b"", "the store is read first"


async def test_a_cached_response_is_counted_and_has_its_own_request_id(world: World) -> None:
    ids = [ask(world).partition(b"X-Request-ID: ")[2].partition(b"\r\n")[0] for _ in range(5)]
    assert len(set(ids)) == 5
    text = world.app.metrics.exposition().decode()
    assert 'sidecar_checks_total{decision="allow",endpoint="/check",reason="allowed",section="billing"} 5.0' in text


@pytest.mark.parametrize("uri", [b"/no/such/section", b"/dashboard/billing?a=1"])
async def test_a_cached_denial_is_counted_by_its_cause(
    world: World, decided: list[str], monkeypatch: pytest.MonkeyPatch, uri: bytes
) -> None:
    now = [7.0]
    log = DenialLog(clock=lambda: now[0])
    for module in (ext_authz, check_responder):
        monkeypatch.setattr(module, "DENIAL_LOG", log)
    denied = b"?" not in uri
    with capture_logs() as lines:
        head = HEAD.replace(b"/dashboard/billing", uri)
        answers = {ask(world, head).partition(b"\r\n\r\n")[2] for _ in range(5)}
        now[0] += SECONDS
        ask(world, head)
    assert len(decided) == 2, "the second one is cached"
    assert len(answers) == 1 and (b'"detail"' in answers.pop()) is denied
    assert [line["count"] for line in lines] == ([1, 5] if denied else [])


async def test_checks_with_and_without_a_request_id_share_a_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have one cache key, and each response has its own id."""
    responder, decided = world.lanes.responder, []
    first = responder.decide
    monkeypatch.setattr(responder, "decide", lambda *given: decided.append(1) or first(*given))
    lane, wire = world.lanes(), Wire()
    lane.connection_made(wire)  # type: ignore[arg-type]
    for turn in range(20):
        lane.data_received(HEAD)
        lane.data_received(HEAD[:-2] + b"X-Request-Id: given-%d\r\n\r\n" % turn)
    ids = [answer.partition(b"X-Request-ID: ")[2].partition(b"\r\n")[0] for answer in wire.written]
    assert ids[1::2] == [b"given-%d" % turn for turn in range(20)]
    assert len(set(ids)) == 40
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in wire.written)
    assert len(decided) == 2, "cached from the third on"


async def test_a_single_check_takes_no_entry_and_many_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_cache, "MAX_RESPONSES", 10)
    world.lanes.responder.cache = memo = response_cache.ResponseCache()
    lane: Any = world.lanes()
    lane.connection_made(Wire())
    for number in range(50):
        head = HEAD.replace(b"/dashboard/billing", b"/dashboard/billing/%d" % number)
        lane.data_received(head)
        assert memo.get(head) is None
        lane.data_received(head)
        assert memo.get(head) is not None
        assert len(memo.responses) <= 10
    assert len(memo.seen_before) <= 20
    lane.connection_lost(None)


async def test_R29_all_that_is_remembered_has_so_many_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies are the client's choice, and are part of key and response: one client could fill every entry."""
    monkeypatch.setattr(response_cache, "MAX_BYTES", 100_000)
    monkeypatch.setattr(response_cache, "MAX_TEMPLATE_BYTES", 100_000)
    world.lanes.responder.cache = memo = response_cache.ResponseCache()
    lane: Any = world.lanes()
    lane.connection_made(Wire())
    for number in range(60):
        head = HEAD[:-2] + b"Cookie: a=%d%b\r\n\r\n" % (number, b"x" * 3000)
        for _ in range(2):
            lane.data_received(head)
        assert sum(len(key) + len(kept.prepared.head) for key, kept in memo.responses._values.items()) <= 100_000  # type: ignore[arg-type]
        assert sum(2 * len(template) for template in memo.templates._values) <= 100_000  # type: ignore[arg-type]
    assert 10 < len(memo.responses) < 20
    assert 5 < len(memo.templates) < 15
    assert memo.get(head) is not None, "the newest is cached"
    for shelf in (memo.responses, memo.templates):
        assert shelf._bytes == sum(shelf._sizes.values()) <= 100_000
        assert shelf._sizes.keys() == shelf._values.keys()
    lane.connection_lost(None)


async def test_R29_what_is_kept_anew_is_kept_once(world: World) -> None:
    """Two equal keys are still two objects."""
    for number in range(9):
        ask(world, at(f"/dashboard/{('billing', 'users', 'analytics')[number % 3]}/1"))
    change_password(world)
    world.users[BOB] = user("b", "accountant", revision=3)
    for _ in range(2):
        ask(world, at("/dashboard/billing/1"))
    memo = world.lanes.responder.cache
    for shelf in (memo.responses, memo.templates):
        assert len(shelf) >= 1
        assert {id(key) for key in shelf._sizes} == {id(key) for key in shelf._values}


async def test_R29_a_template_of_many_short_lines_counts_its_real_size(world: World) -> None:
    """Each line takes two values and a tuple, however short it is."""
    head = at("/dashboard/billing/1")[:-2] + b"accept:\r\n" * 57 + b"\r\n"
    for _ in range(2):
        ask(world, head)
    memo = world.lanes.responder.cache
    (template,) = memo.templates._values.values()
    taken = sum(sys.getsizeof(line) + sum(map(sys.getsizeof, line)) for line in template.call.headers)
    assert memo.templates._bytes >= taken > 8000


async def test_R29_a_long_call_takes_no_place(world: World) -> None:
    lane: Any = world.lanes()
    lane.connection_made(Wire())
    for _ in range(4):
        lane.data_received(HEAD.replace(b"/dashboard/billing", b"/dashboard/billing?" + b"x" * 5000))
    assert len(world.lanes.responder.cache.responses) == len(world.lanes.responder.cache.templates) == 0
    lane.connection_lost(None)


async def test_an_answer_prepared_for_one_role_is_not_given_to_another(world: World) -> None:
    """Also when a store that lost its last change reuses the revision for another record."""
    assert b"X-Auth-Role: accountant\r\n" in ask(world)
    world.users[BOB] = user("b", "account-administrator")
    assert b"X-Auth-Role: account-administrator\r\n" in ask(world)


# Other pages of the dashboard -----------------------------------------------------------------------------------------


def at(page: str) -> bytes:
    return HEAD.replace(b"/dashboard/billing", page.encode())


@pytest.fixture
def decided(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the checks that were decided anew."""
    asked: list[str] = []
    first = world.lanes.responder.decide

    def spied(key: Any, call: GatewayRequest, *more: Any) -> Any:
        asked.extend(value.decode() for name, value in call.headers if name.endswith(b"-uri"))
        return first(key, call, *more)

    monkeypatch.setattr(world.lanes.responder, "decide", spied)
    return asked


def statuses(world: World, *pages: str) -> list[int]:
    return [int(ask(world, at(page))[9:12]) for page in pages]


async def test_a_page_of_a_decided_section_is_not_decided_anew(world: World, decided: list[str]) -> None:
    pages = [f"/dashboard/billing/{number}" for number in range(9)]
    assert statuses(world, *pages) == [200] * 9
    assert decided == pages[:2]
    text = world.app.metrics.exposition().decode()
    assert 'sidecar_checks_total{decision="allow",endpoint="/check",reason="allowed",section="billing"} 9.0' in text


async def test_a_page_of_another_section_is_and_then_stands_beside_it(world: World, decided: list[str]) -> None:
    assert statuses(world, *(f"/dashboard/billing/{number}" for number in range(3))) == [200] * 3
    decided.clear()
    assert statuses(world, "/dashboard/users/1", "/dashboard/users/2", "/dashboard/billing/3") == [403, 403, 200]
    assert decided == ["/dashboard/users/1"]


async def test_pages_that_are_of_no_section_are_judged_each_time(world: World, decided: list[str]) -> None:
    assert statuses(world, *(f"/dashboard/billing/{number}" for number in range(3))) == [200] * 3
    decided.clear()
    pages = ["/elsewhere", "/elsewhere/2", "/dashboard/../billing", "/dashboard/%2e%2e/billing", "//dashboard/billing"]
    reasons = [re.search(rb"X-Auth-Reason: (\w+)", ask(world, at(page))) for page in pages]
    assert [found and found[1] for found in reasons] == [b"unmatched_path"] * 2 + [b"ambiguous_path"] * 3
    assert decided == pages


@pytest.mark.parametrize("change", [*CHANGES, end_session])
async def test_after_any_change_a_new_page_equals_a_new_decision(world: World, change: Callable[[World], None]) -> None:
    assert statuses(world, *(f"/dashboard/billing/{number}" for number in range(3))) == [200] * 3
    assert len(world.lanes.responder.cache.templates) == 1
    change(world)
    answered = ask(world, at("/dashboard/billing/3"))
    if change is end_session:
        assert answered == b"", "the store is read first"
    else:
        assert (int(answered[9:12]), answered.partition(b"\r\n\r\n")[2]) == anew(world)
        assert not answered.startswith(b"HTTP/1.1 200 ")


async def test_a_new_page_goes_to_the_routes_in_force(world: World, decided: list[str]) -> None:
    """They may change so that two pages of one section belong to two sections."""
    assert statuses(world, *(f"/dashboard/billing/{number}" for number in range(3))) == [200] * 3
    files = dict(read_policy_files(*packaged()).files)
    files["sections.toml"] = files["sections.toml"].replace(b'"/dashboard/billing/**"', b'"/dashboard/bills/**"')
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.draft is not None
    world.policy.generation = compiled.draft
    assert statuses(world, "/dashboard/billing/3", "/dashboard/bills/3") == [403, 200]


async def test_a_page_that_is_polled_is_remembered_whole(world: World) -> None:
    memo = world.lanes.responder.cache
    assert statuses(world, *(f"/dashboard/billing/{number}" for number in range(3))) == [200] * 3
    polled = at("/dashboard/billing/7")
    for remembered in (False, True):
        ask(world, polled)
        assert (memo.get(polled) is not None) == remembered


async def test_a_call_whose_page_decides_nothing_has_no_frame(world: World, decided: list[str]) -> None:
    """The gateway's configuration names the section; the header is the client's."""
    for number in range(3):
        head = at(f"/dashboard/users/{number}").replace(b"GET /check ", b"GET /check/sections/billing ")
        assert ask(world, head).startswith(b"HTTP/1.1 200 ")
    assert len(decided) == 3
    assert len(world.lanes.responder.cache.templates) == 0


async def test_R29_a_frame_has_so_many_answers(
    world: World, decided: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full template keeps its entries: a round trip over one section more does not evict all of them."""
    monkeypatch.setattr(response_cache, "MAX_TARGETS", 3)
    sections = ["billing", "users", "analytics", "developer", "audit"]
    for turn in range(4):
        decided.clear()
        for section in sections:
            ask(world, at(f"/dashboard/{section}/{turn}"))
    assert len(decided) == 2
    (template,) = world.lanes.responder.cache.templates._values.values()
    assert len(template.responses) == 3


async def test_answers_that_no_longer_stand_leave_their_frame(world: World) -> None:
    for section in ("billing", "users", "analytics") * 2:
        ask(world, at(f"/dashboard/{section}/1"))
    demote(world)
    ask(world, at("/dashboard/billing/2"))
    (template,) = world.lanes.responder.cache.templates._values.values()
    assert len(template.responses) == 1


async def test_R29_a_long_page_takes_no_place_in_a_known_frame(world: World) -> None:
    assert statuses(world, *(f"/dashboard/billing/{number}" for number in range(3))) == [200] * 3
    long = at("/dashboard/billing?" + "x" * 5000)
    for _ in range(4):
        assert ask(world, long).startswith(b"HTTP/1.1 200 ")
    assert world.lanes.responder.cache.get(long) is None


@pytest.mark.parametrize("path", ["/check/nginx", "/check/nginx?x=1"])
async def test_R2_the_page_is_where_the_family_reads_it(world: World, decided: list[str], path: str) -> None:
    """nginx forwards its client's headers of other gateway families."""
    lines = b"X-Original-Method: GET\r\nX-Original-URI: /dashboard/billing/1\r\n"
    head = at("/dashboard/users/1").replace(b"GET /check ", b"GET %b " % path.encode())[:-2] + lines + b"\r\n"
    for number in range(9):
        assert ask(world, head.replace(b"billing/1", b"billing/%d" % number)).startswith(b"HTTP/1.1 200 ")
    assert len(decided) == 2 * 2
    for number in range(9):
        assert ask(world, head.replace(b"users/1", b"users/%d" % number)).startswith(b"HTTP/1.1 200 ")
    assert b"\r\nX-Auth-Reason: no_rule\r\n" in ask(world, head.replace(b"billing/1", b"users/1"))


async def test_R2_headers_compared_with_the_page_use_the_new_page(world: World) -> None:
    """ingress-nginx sends the requested URI twice; a client's additional header does not match it."""
    headers = (
        (b"X-Original-Method", b"GET"),
        (b"X-Original-URI", b"/dashboard/billing/1"),
        (b"X-Sent-From", b"nginx-ingress-controller"),
        (b"X-Original-URL", b"https://dash.example/dashboard/billing/1"),
        (b"Authorization", f"Bearer {token('b')}".encode()),
    )
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    head = b"GET /check/nginx HTTP/1.1\r\nHost: sidecar\r\n" + lines + b"\r\n"
    for _ in range(3):
        assert ask(world, head).startswith(b"HTTP/1.1 200 ")
    assert len(world.lanes.responder.cache.templates) == 1
    other = head.replace(b"URI: /dashboard/billing/1", b"URI: /dashboard/billing/2")
    for _ in range(3):
        assert b"\r\nX-Auth-Reason: bad_request\r\n" in ask(world, other)


async def test_a_check_that_is_cached_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[RawHeaders] = []
    credential = ext_authz.credential
    monkeypatch.setattr(ext_authz, "credential", lambda lines, cookie: read.append(lines) or credential(lines, cookie))
    answers = [ask(world) for _ in range(3)]
    assert len(world.lanes.responder.cache.responses) == 1
    assert len(read) == 2, "the third is a hit"
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
