"""Own segments through both request paths, gRPC, the response cache and `/check/sections`."""

import asyncio
import json
from collections.abc import Iterator
from itertools import product

import pytest

from sidecar.domain.access import Credential, CredentialSource, Question, RequestPath, Target
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.users import UserRecord
from sidecar.gateways.ext_authz import decide_now, gateway_call, respond
from sidecar.gateways.fast_path.protocol import FastPathListener
from tests.checks.both_paths import both_paths
from tests.checks.test_response_cache import Wire
from tests.needs_world import BOB, NeedsWorld, need, policy_with
from tests.own_forms import foreign_forms
from tests.own_world import ACCOUNTS, ROLES, OwnWorld, token_of
from tests.pdp_fixture import token

MAX_HEAD = 32768


@pytest.fixture(scope="module")
def world() -> OwnWorld:
    return OwnWorld()


def rows(world: OwnWorld, user: UserRecord) -> Iterator[tuple[str, str, str]]:
    """Yield method, path and reason of each kind of request, by its ids and the role's allowed cells."""
    allowed_cells = world.policy.generation.allowed[user.role]
    billing, analytics = ("billing", "view") in allowed_cells, ("analytics", "view") in allowed_cells
    for one in world.users.values():
        mine, me = one.account == user.account, one.id == user.id
        account, uid = one.account, one.id
        for method, path, allowed, own in (
            ("GET", f"/accounts/{account}/invoices/1", billing, mine),
            ("HEAD", f"/accounts/{account}/invoices", billing, mine),
            ("GET", f"/accounts/{account}/invoices/", billing, mine),
            ("GET", f"/accounts/%61{account[1:]}/invoices/1", billing, mine),
            ("POST", f"/accounts/{account}/invoices", billing, mine),
            ("GET", f"/accounts/{account}/invoices/terms", billing, True),
            ("GET", f"/accounts/{account}/users/{uid}/cards", billing, me),
            ("GET", f"/accounts/{user.account}/users/{uid}", billing, me),
            ("GET", f"/accounts/{account}/users/{user.id}", billing, mine),
            ("GET", f"/reports/{uid}", analytics, me),
            ("GET", f"/reports/{account}", analytics, False),
        ):
            reason = Reason.ALLOWED if allowed and own else Reason.NOT_YOURS if allowed else Reason.NO_RULE
            yield method, path, reason
        yield "PUT", f"/accounts/{account}/invoices/1", Reason.UNMATCHED_PATH
        yield "GET", f"/accounts/{account}", Reason.UNMATCHED_PATH


def head_of(user: UserRecord, method: str, path: str, endpoint: str = "/check") -> bytes:
    lines = (f"GET {endpoint} HTTP/1.1", "Host: sidecar", f"X-Forwarded-Method: {method}", f"X-Forwarded-Uri: {path}")
    return "\r\n".join((*lines, f"Authorization: Bearer {token_of(user)}", "", "")).encode()


def reason_in(response: bytes) -> str:
    status = int(response.split(b" ", 2)[1])
    told = next(line for line in response.split(b"\r\n") if line.startswith(b"X-Auth-Reason: "))[15:].decode()
    assert status == {"allowed": 200}.get(told, 403)
    return told


async def test_no_role_of_one_account_passes_anothers() -> None:
    """Each user of both accounts, with each user's ids; from memory, and from the store."""
    for cached in (True, False):
        world = OwnWorld(cached=cached)
        for user in world.users.values():
            credential = Credential(CredentialSource.HEADER, token_of(user))
            for method, path, reason in rows(world, user):
                decision = await world.pdp.check(Question(RequestPath(method, path), credential))
                assert decision.reason == reason, (user.id, method, path)
                if decision.allowed and "terms" not in path:
                    assert user.account[4:] in path


async def test_the_table_has_one_answer_on_both_paths_warm_and_cold(world: OwnWorld) -> None:
    """The differential table: the fast path, three times, against a new decision of the same lines."""
    lane, wire = FastPathListener(world.app, lambda: pytest.fail("slow"), max_head=MAX_HEAD, idle=75)(), Wire(None)
    lane.connection_made(wire)  # type: ignore[arg-type]
    asked = [(user, *row) for user in world.users.values() for row in rows(world, user)]
    for _ in range(3):  # the second and the third are cached responses, by request and by template
        for user, method, path, reason in asked:
            head = head_of(user, method, path)
            lane.data_received(head)
            fast = wire.written.pop()
            assert reason_in(fast) == reason, (user.id, method, path)
            lines = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n")[2:-2]]
            call = gateway_call("GET", "/check", "", [(name.lower(), value) for name, value in lines])
            outcome = decide_now(world.app, call)
            assert isinstance(outcome, Decision)
            anew = respond(world.app, call, outcome, b"r", 0.0)
            assert anew.body == fast.partition(b"\r\n\r\n")[2]
            assert int(fast.split(b" ", 2)[1]) == anew.status


async def test_both_servers_give_the_same_bytes(world: OwnWorld) -> None:
    async def ask(port: int, head: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return head.split(b"\r\n")[0] + reason_in(head + b"\r\n").encode(), body

    user = world.user(0, "accountant")
    async with both_paths(world.app, max_head=MAX_HEAD) as ports:
        for method, path, _ in rows(world, user):
            first, second = [await ask(port, head_of(user, method, path)) for port in ports]
            assert first == second, path


async def test_a_template_serves_own_pages_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that differ in the URI alone: a warm template answers for one's own, and never for another's id."""
    world, decided = OwnWorld(), []
    check_now = world.pdp.check_now
    monkeypatch.setattr(world.pdp, "check_now", lambda question: decided.append(question) or check_now(question))
    listener = FastPathListener(world.app, lambda: pytest.fail("slow"), max_head=MAX_HEAD, idle=75)
    lane, wire = listener(), Wire(None)
    lane.connection_made(wire)  # type: ignore[arg-type]
    user, (mine, other) = world.user(0, "accountant"), ACCOUNTS

    def ask(path: str) -> str:
        lane.data_received(head_of(user, "GET", path))
        return reason_in(wire.written.pop())

    for page in range(3):
        ask(f"/accounts/{mine}/invoices/first-{page}")
    assert len(listener.responder.cache.templates) == 1
    decided.clear()
    for page in range(20):
        assert ask(f"/accounts/{mine}/invoices/{page}") == "allowed"
        assert ask(f"/dashboard/billing/{page}") == "allowed", "the same section and action"
    assert decided == []
    for page in range(20):
        assert ask(f"/accounts/{other}/invoices/{page}") == "not_yours"
        assert ask(f"/accounts/{mine}/users/{world.user(0, 'marketer').id}/{page}") == "not_yours"
        assert ask(f"/accounts/{mine}/invoices/{page}") == "allowed"
    assert len(decided) == 40, "another's path is decided anew"


@pytest.mark.parametrize("kind", ["account", "user"])
def test_sixty_forms_of_anothers_id_are_denied(world: OwnWorld, kind: str) -> None:
    me, other = world.user(0, "accountant"), world.user(1, "accountant")
    own, foreign = (me.account, other.account) if kind == "account" else (me.id, other.id)
    credential = Credential(CredentialSource.HEADER, token_of(me))
    before, after = ("/accounts/", "/invoices/1") if kind == "account" else ("/reports/", "/1")
    for name, form in foreign_forms(own, foreign).items():
        decision = world.pdp.check_now(Question(RequestPath("GET", f"{before}{form}{after}"), credential))
        assert isinstance(decision, Decision)
        assert decision.reason in {Reason.NOT_YOURS, Reason.AMBIGUOUS_PATH, Reason.UNMATCHED_PATH}, name
    decision = world.pdp.check_now(Question(RequestPath("GET", f"{before}{own}{after}"), credential))
    assert isinstance(decision, Decision) and decision.allowed


def test_anothers_path_is_decided_before_needs() -> None:
    """A step-up would not help there, so none is asked for; and the log gets no facts of the session."""
    world = NeedsWorld("second-factor")
    world.policy.generation = policy_with(need("second-factor"), own=True)
    bob = world.users[BOB]
    credential = Credential(CredentialSource.HEADER, token("b"))
    for account, reason in ((bob.account, Reason.STEP_UP_REQUIRED), (ACCOUNTS[1], Reason.NOT_YOURS)):
        decision = world.pdp.check_now(Question(RequestPath("GET", f"/accounts/{account}/invoices/1"), credential))
        assert isinstance(decision, Decision)
        assert decision.reason is reason
        assert (decision.known is None) is (reason is Reason.NOT_YOURS)


# -- checks that name a section ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "action", "expected"),
    [
        ("analytics", "view", "not_yours"),  # all its routes have own segments
        ("billing", "view", "allowed"),  # some have none
        ("billing", "change-plan", "allowed"),
        ("account-settings", "view", "allowed"),
        ("analytics", "manage", "unknown_action"),
    ],
)
async def test_a_section_whose_paths_are_all_own_is_not_yours(
    world: OwnWorld, section: str, action: str, expected: str
) -> None:
    lane, wire = FastPathListener(world.app, lambda: pytest.fail("slow"), max_head=MAX_HEAD, idle=75)(), Wire(None)
    lane.connection_made(wire)  # type: ignore[arg-type]
    for _ in range(3):
        lane.data_received(head_of(world.user(0, "accountant"), "GET", "/", f"/check/sections/{section}/{action}"))
        assert reason_in(wire.written.pop()) == expected


def test_a_role_without_the_right_learns_nothing_more(world: OwnWorld) -> None:
    """The denial of a role is the same for its own path, another's, and a section."""
    user = world.user(0, "marketer")
    credential = Credential(CredentialSource.HEADER, token_of(user))
    found = set()
    for target in (
        *(RequestPath("GET", f"/accounts/{account}/invoices/1") for account in ACCOUNTS),
        RequestPath("GET", "/accounts/none/invoices/1"),
        Target("billing", "view"),
    ):
        decision = world.pdp.check_now(Question(target, credential))
        assert isinstance(decision, Decision)
        found.add((decision.reason, decision.rule, decision.section, decision.action))
    assert found == {(Reason.NO_RULE, None, "billing", "view")}


def test_the_denial_names_no_id(world: OwnWorld) -> None:
    me, other = world.user(0, "accountant"), world.user(1, "accountant")
    lines = [
        (b"x-forwarded-method", b"GET"),
        (b"x-forwarded-uri", f"/accounts/{other.account}/invoices/1".encode()),
        (b"authorization", f"Bearer {token_of(me)}".encode()),
    ]
    call = gateway_call("GET", "/check", "", lines)
    decision = decide_now(world.app, call)
    assert isinstance(decision, Decision)
    denied = respond(world.app, call, decision, b"r", 0.0)
    assert denied.status == 403
    body = json.loads(denied.body)
    assert (body["reason"], body["message"]) == ("not_yours", "The path is of another account or user.")
    assert me.account.encode() not in denied.body and other.account.encode() not in denied.body
    assert not {name for name, _ in denied.headers} & {"X-Auth-User", "X-Auth-Account"}


# -- gRPC --------------------------------------------------------------------------------------------------------------


async def test_envoy_over_grpc_decides_the_same_table(world: OwnWorld) -> None:
    pytest.importorskip("grpc", reason="the extra [grpc] is not installed")
    messages = pytest.importorskip(
        "envoy.service.auth.v3.external_auth_pb2", reason="the extra [grpc] is not installed"
    )

    from sidecar.gateways.fast_path.grpc_responder import GrpcResponder

    responder = GrpcResponder(world.app, max_head=64 * 1024)
    for account, role in product(range(2), ROLES):
        user = world.user(account, role)
        for method, path, reason in rows(world, user):
            asked = messages.CheckRequest()
            http = asked.attributes.request.http
            http.method, http.path = method, path
            http.header_map.headers.add(key="authorization", raw_value=f"Bearer {token_of(user)}".encode())
            for _ in range(3):  # the third is a cached response
                answer = messages.CheckResponse.FromString(await responder.respond(asked.SerializeToString()))
                assert int(answer.status.code) == (0 if reason == Reason.ALLOWED else 7), (user.id, method, path)
                told = {one.header.key: one.header.value for one in answer.denied_response.headers}
                assert not told or told["x-auth-reason"] == reason
    assert len(responder.messages) > 0
