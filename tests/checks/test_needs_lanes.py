"""Needs on both request paths: the client's address, remembered answers, and the form of the denials."""

import json
from ipaddress import ip_network
from itertools import product

import pytest

from sidecar.domain.decision import Decision
from sidecar.domain.sessions import Method, Proof
from sidecar.gateways.ext_authz import client_of, decide_now, gateway_call, respond
from sidecar.gateways.fast_path import response_cache
from sidecar.gateways.fast_path.protocol import FastPathListener, FastPathProtocol
from sidecar.http.login_page import login_page
from sidecar.http.response import RawResponse
from tests.checks.test_response_cache import Wire
from tests.needs_world import PASSWORD, TOTP, NeedsWorld, need, policy_with
from tests.pdp_fixture import NOW, token
from tests.policy.needs_policies import CONDITIONS

Lines = tuple[tuple[bytes, bytes], ...]
ASKED: Lines = (
    (b"X-Forwarded-Method", b"GET"),
    (b"X-Forwarded-Uri", b"/dashboard/billing"),
    (b"Authorization", f"Bearer {token('b', expires_at=NOW + 3600)}".encode()),
)
PROXY, STRANGER = "10.0.0.1", "198.51.100.7"
TRUSTED = (ip_network("10.0.0.0/24"),)
OFFICE, ELSEWHERE = b"192.0.2.7", b"203.0.113.9"


class Lanes:
    """The fast path, and the decision that aiohttp's path makes of the same lines."""

    def __init__(self, world: NeedsWorld) -> None:
        self.world = world
        self.fast = FastPathListener(world.app, lambda: pytest.fail("slow"), max_head=32768, idle=75)
        self._lanes: dict[str | None, tuple[FastPathProtocol, Wire]] = {}

    def ask(self, peer: str | None, lines: Lines) -> bytes:
        """Return the fast path's response, on one connection per peer."""
        if peer not in self._lanes:
            self._lanes[peer] = self.fast(), Wire(peer)
            self._lanes[peer][0].connection_made(self._lanes[peer][1])  # type: ignore[arg-type]
        lane, wire = self._lanes[peer]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        lane.data_received(b"GET /check HTTP/1.1\r\nHost: sidecar\r\n" + head + b"\r\n")
        return wire.written.pop()

    def status(self, peer: str | None, lines: Lines) -> int:
        return int(self.ask(peer, lines).split(b" ", 2)[1])

    def anew(self, peer: str | None, lines: Lines) -> RawResponse:
        app = self.world.app
        lowered = [(name.lower(), value) for name, value in lines]
        call = gateway_call("GET", "/check", "", lowered, client_of(app, peer, lowered))
        outcome = decide_now(app, call)
        assert isinstance(outcome, Decision)
        return respond(app, call, outcome, b"r", 0.0)


def forwarded(*values: bytes, name: bytes = b"X-Forwarded-For") -> Lines:
    return tuple((name, value) for value in values)


FORWARDED = (
    (),
    forwarded(OFFICE),
    forwarded(ELSEWHERE),
    forwarded(OFFICE + b":4711"),
    forwarded(b"[2001:db8::7]:443"),
    forwarded(OFFICE + b", 10.0.0.9"),
    forwarded(OFFICE + b", " + ELSEWHERE),
    forwarded(ELSEWHERE + b", " + OFFICE),
    forwarded(OFFICE + b", unknown"),
    forwarded(b"unknown"),
    forwarded(b""),
    forwarded(b"10.0.0.9"),
    forwarded(OFFICE, ELSEWHERE),
    forwarded(ELSEWHERE, OFFICE),
    (*forwarded(OFFICE), *forwarded(ELSEWHERE, name=b"x-forwarded-for")),
    (*forwarded(OFFICE), *forwarded(ELSEWHERE, name=b"X-FORWARDED-FOR")),
    (*forwarded(ELSEWHERE), *forwarded(OFFICE, name=b"X-FORWARDED-FOR")),
    forwarded(OFFICE, name=b"X-FORWARDED-FOR"),
    forwarded(b"9" * 200 + b", " + OFFICE),
    (*forwarded(ELSEWHERE, name=b"x-forwarded-for"), *forwarded(OFFICE)),
    (*forwarded(OFFICE, name=b"X-Real-IP"), *forwarded(b"for=192.0.2.7", name=b"Forwarded")),
)
KNOWN = {1, 3, 4, 5, 7, 13, 16, 17, 18, 19}
"""Numbers of the lines above in which a trusted proxy reports an address of the office."""


@pytest.mark.parametrize("alias_every", [1, response_cache.ALIAS_EVERY])
async def test_R40_a_forged_address_counts_for_nothing_on_both_paths(
    alias_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_cache, "ALIAS_EVERY", alias_every)
    lanes = Lanes(NeedsWorld("office", trusted=TRUSTED))
    for _ in range(4):  # the third response is found by its class, the fourth by its head, if it got an alias
        for (number, lines), peer in product(enumerate(FORWARDED), (PROXY, STRANGER, None)):
            expected = 200 if peer == PROXY and number in KNOWN else 403
            for asked in ((*lines, *ASKED), (*ASKED, *lines)):
                assert lanes.anew(peer, asked).status == expected, (peer, lines)
                assert lanes.status(peer, asked) == expected, (peer, lines)


async def test_a_unix_peer_is_trusted_only_if_it_is_named() -> None:
    asked = (*forwarded(OFFICE), *ASKED)
    for trusted, expected in ((TRUSTED, 403), (("unix",), 200)):
        lanes = Lanes(NeedsWorld("office", trusted=trusted))
        assert lanes.anew(None, asked).status == expected
        assert [lanes.status(None, asked) for _ in range(3)] == [expected] * 3


async def test_R40_without_a_trusted_proxy_no_network_is_met() -> None:
    lanes = Lanes(NeedsWorld("office"))
    for peer, lines in product((PROXY, STRANGER, "192.0.2.7", None), FORWARDED):
        assert lanes.anew(peer, (*lines, *ASKED)).status == 403
        assert lanes.status(peer, (*lines, *ASKED)) == 403


async def test_R40_classes_are_remembered_and_not_addresses() -> None:
    lanes = Lanes(NeedsWorld("office", trusted=TRUSTED))
    for number in range(2000):
        inside = number % 2 == 0
        address = f"192.0.2.{number % 250}" if inside else f"203.0.{number // 250}.{number % 250}"
        assert lanes.status(PROXY, (*forwarded(address.encode()), *ASKED)) == (200 if inside else 403)
    assert len(lanes.fast.responder.cache.responses) == 2
    assert len(lanes.fast.responder.cache.templates) == 2
    assert len(lanes.fast.responder.cache.aliases) == pytest.approx(2000 / response_cache.ALIAS_EVERY, abs=1)


async def test_R40_heads_of_many_addresses_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_cache, "ALIAS_EVERY", 1)
    lanes = Lanes(NeedsWorld("office", trusted=TRUSTED))
    for number in range(3 * response_cache.MAX_ALIASES):
        line = forwarded(f"203.0.{number // 250}.{number % 250}, ".encode() + OFFICE)
        assert lanes.status(PROXY, (*line, *ASKED)) == 200
    assert len(lanes.fast.responder.cache.aliases) == response_cache.MAX_ALIASES
    assert len(lanes.fast.responder.cache.responses) == 1


async def test_R40_an_alias_ends_with_its_generation() -> None:
    lanes = Lanes(NeedsWorld("office", trusted=TRUSTED))
    asked = (*forwarded(OFFICE), *ASKED)
    assert [lanes.status(PROXY, asked) for _ in range(20)] == [200] * 20
    assert lanes.fast.responder.cache.aliases
    lanes.world.policy.generation = policy_with(need("office"), CONDITIONS.replace("192.0.2.0", "198.18.0.0"))
    assert [lanes.status(PROXY, asked) for _ in range(20)] == [403] * 20


class HandedOverError(Exception):
    """Head that the fast path leaves to aiohttp."""


@pytest.mark.parametrize("junk", [b"\nX-HTTP-Method-Override: POST", b"\r", b"\r\n ", b"\0", b"\x7f"])
async def test_R40_a_remembered_answer_is_for_no_malformed_line(junk: bytes) -> None:
    def slow() -> None:
        raise HandedOverError

    for page in (b"", b"/7"):  # a remembered response, and one of the same template
        lanes = Lanes(NeedsWorld("office", trusted=TRUSTED))
        assert [lanes.status(PROXY, (*forwarded(OFFICE), *ASKED)) for _ in range(3)] == [200] * 3
        lanes.fast.slow = slow  # type: ignore[assignment]
        uri = (b"X-Forwarded-Uri", b"/dashboard/billing" + page)
        with pytest.raises(HandedOverError):
            lanes.ask(PROXY, (*forwarded(b"unknown" + junk + b", " + OFFICE), ASKED[0], uri, ASKED[2]))


async def test_R40_pages_of_one_template_keep_their_network() -> None:
    lanes = Lanes(NeedsWorld("office", trusted=TRUSTED))
    for page, (address, expected) in product(range(20), ((OFFICE, 200), (ELSEWHERE, 403))):
        uri = (b"X-Forwarded-Uri", b"/dashboard/billing/%d" % page)
        assert lanes.status(PROXY, (ASKED[0], uri, ASKED[2], *forwarded(address))) == expected


async def test_R40_a_remembered_answer_ends_at_its_boundary() -> None:
    lanes = Lanes(NeedsWorld("recent-sign-in"))
    assert [lanes.status(STRANGER, ASKED) for _ in range(4)] == [200] * 4
    lanes.world.now = NOW + 900.0
    assert [lanes.status(STRANGER, ASKED) for _ in range(3)] == [200] * 3
    lanes.world.now = NOW + 900.1
    assert [lanes.status(STRANGER, ASKED) for _ in range(3)] == [401] * 3
    lanes.world.enter(Proof(Method.PASSWORD, "", NOW + 900))
    assert [lanes.status(STRANGER, ASKED) for _ in range(3)] == [200] * 3, "the same token, after a step-up"


async def test_a_denial_names_the_conditions_and_the_challenge() -> None:
    lanes = Lanes(NeedsWorld("second-factor, recent-sign-in"))
    lanes.world.now += 901
    for _ in range(3):
        head, _, body = lanes.ask(STRANGER, ASKED).partition(b"\r\n\r\n")
        denied = lanes.anew(STRANGER, ASKED)
        assert (denied.status, denied.body) == (int(head.split(b" ")[1]), body)
        told = dict(denied.headers)
        assert f"WWW-Authenticate: {told['WWW-Authenticate']}\r\n".encode() in head
    assert told["X-Auth-Reason"] == "step_up_required"
    assert told["WWW-Authenticate"] == (
        'Bearer realm="sidecar", error="insufficient_user_authentication", '
        'error_description="This needs a newer or stronger proof of your sign-in.", '
        'acr_values="second-factor", max_age="900"'
    )
    assert json.loads(denied.body)["unmet"] == ["second-factor", "recent-sign-in"]
    assert json.loads(denied.body)["enrol"] == ["totp", "passkey"]
    lanes.world.enter(PASSWORD, Proof(Method.TOTP, TOTP, NOW), factors={TOTP: NOW})
    body = lanes.ask(STRANGER, ASKED).partition(b"\r\n\r\n")[2]
    assert body == lanes.anew(STRANGER, ASKED).body
    assert json.loads(body)["unmet"] == ["second-factor", "recent-sign-in"]
    assert "enrol" not in json.loads(body)


async def test_an_unmet_network_is_a_403_without_a_challenge() -> None:
    lanes = Lanes(NeedsWorld("office | office-hours", trusted=TRUSTED))
    assert [lanes.status(STRANGER, ASKED) for _ in range(3)] == [200] * 3, "Monday 17:00 in Berlin"
    lanes.world.now = NOW + 3600.0
    assert lanes.status(STRANGER, ASKED) == 403
    denied = lanes.anew(STRANGER, ASKED)
    assert denied.status == 403
    assert dict(denied.headers)["X-Auth-Reason"] == "condition_unmet"
    assert "WWW-Authenticate" not in dict(denied.headers)
    assert json.loads(denied.body)["unmet"] == ["office"]


@pytest.mark.parametrize(
    ("url", "uri", "step_up", "expected"),
    [
        ("http://d/in", "/a?b=c", "second-factor", "http://d/in?step_up=second-factor&rd=%2Fa%3Fb%3Dc"),
        ("http://d/in?x=1#f", "/a", "fresh", "http://d/in?x=1&step_up=fresh&rd=%2Fa#f"),
        ("http://d/in", None, "fresh", "http://d/in?step_up=fresh"),
        ("http://d/in", "/a", "", "http://d/in?rd=%2Fa"),
        ("http://d/in", None, "", "http://d/in"),
        ("http://d/in", "/in", "fresh", None),
        ("http://d/console/sign-in", "/a", "fresh", "http://d/console/step-up?step_up=fresh&rd=%2Fa"),
        ("http://d/console/sign-in", "/a", "", "http://d/console/sign-in?rd=%2Fa"),
        ("http://d/console/sign-in?x=1#f", None, "fresh", "http://d/console/step-up?x=1&step_up=fresh#f"),
        ("http://d/console/sign-in", "/console/step-up", "fresh", None),
        ("http://other/console/sign-in", "/a", "fresh", "http://other/console/sign-in?step_up=fresh&rd=%2Fa"),
    ],
)
def test_a_navigation_goes_to_the_login_page(url: str, uri: str | None, step_up: str, expected: str | None) -> None:
    assert login_page(url, "http://d").location(uri, step_up) == expected
