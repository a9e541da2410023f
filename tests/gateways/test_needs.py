"""Needs through every gateway: a proof that is too old, the step-up on one replica, and the user's network.

Clients have their own loopback addresses, which are no trusted proxy's.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jwt
import pytest
import redis

from sidecar.sources.policy_files import packaged, read_policy_files
from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import reason_of
from tests.gateways.rig.outcomes import BILLING
from tests.gateways.rig.people import COOKIE, EMAIL, PASSWORD, SidecarProcess, join, sign_in
from tests.gateways.rig.rows import request
from tests.policy.needs_policies import with_needs

ANALYTICS = "/dashboard/analytics/"
INSIDE, OUTSIDE, GATEWAY = "127.0.0.20", "127.0.0.40", "127.0.0.1"
NINA = "nina"
"""An accountant of these tests alone: of the cast's sessions, the 21st would end the first."""
PROXY = "127.0.0.2"
"""A trusted proxy before the gateway. Envoy appends its own address instead of 127.0.0.1, so that this is another."""
HTML = "Accept: text/html,application/xhtml+xml;q=0.9"
SIXTEEN_MINUTES_MS = 16 * 60 * 1000

CONDITIONS = """
[conditions.recent-sign-in]
signed_in_within = "15m"
[conditions.office]
networks = ["127.0.0.16/28"]
"""
NEEDS = "needs, accountant, billing, view, recent-sign-in\nneeds, accountant, analytics, view, office\n"
ROWS = "deny, accountant, billing, view, without recent-sign-in\ndeny, accountant, analytics, view, without office\n"

FORGED = (
    (),
    (f"X-Forwarded-For: {INSIDE}",),
    (f"X-Forwarded-For: {INSIDE}", f"X-Forwarded-For: {INSIDE}"),
    (f"X-Forwarded-For: {OUTSIDE}, {INSIDE}, {GATEWAY}",),
    (f"X-Forwarded-For: {INSIDE}:4711",),
    (f"X_Forwarded_For: {INSIDE}",),
    (f"x-forwarded-for: {INSIDE}", "Connection: X-Forwarded-For"),
    (f"X-Real-IP: {INSIDE}", f"Forwarded: for={INSIDE}", f"X-Original-Forwarded-For: {INSIDE}"),
    (f"X-Client-IP: {INSIDE}", f"True-Client-IP: {INSIDE}", f"X-Envoy-External-Address: {INSIDE}"),
    (f"X-Forwarded-For: {INSIDE},", f"CF-Connecting-IP: {INSIDE}"),
)


@dataclass(frozen=True)
class Replicas:
    """Two sidecars that trust the gateways, and one that trusts no proxy. ``lanes``: gateways in front of them."""

    first: SidecarProcess
    second: SidecarProcess
    distrustful: SidecarProcess
    lanes: dict[tuple[str, int], Lane] = field(default_factory=dict)

    def lane(self, bench: Bench, gateway: str, sidecar: SidecarProcess) -> Lane:
        key = gateway, sidecar.port
        if key not in self.lanes:
            self.lanes[key] = bench.start(gateway, sidecar=sidecar)
        return self.lanes[key]


@pytest.fixture(scope="module")
def replicas(bench: Bench) -> Iterator[Replicas]:
    folder = bench.folder / "policy-with-needs"
    folder.mkdir()
    for name, data in with_needs(read_policy_files(*packaged()).files, NEEDS, ROWS, CONDITIONS).items():
        (folder / name).write_bytes(data)
    join(bench.sidecar, bench.cast.tokens["account-administrator"], NINA, "accountant")
    settings = {"POLICY_DIR": str(folder), "MODEL": str(folder / "model.conf")}
    with ExitStack() as stack:
        trusting = settings | {"TRUSTED_PROXIES": f"{GATEWAY},{PROXY}"}
        first, second = (stack.enter_context(bench.another_sidecar(**trusting)) for _ in range(2))
        distrustful = stack.enter_context(bench.another_sidecar(**settings))
        for sidecar in (first, second, distrustful):
            sidecar.wait_ready()
        yield Replicas(first, second, distrustful)


def signed_in(bench: Bench, *, ago_ms: int = 0) -> str:
    """Return the token of a new session of Nina. ``ago_ms``: its proofs are as old.

    No sidecar has read the session yet, so that none has a younger copy of it.
    """
    token = str(sign_in(bench.sidecar, EMAIL.format(NINA))["access_token"])
    if ago_ms:
        session = jwt.decode(token, options={"verify_signature": False})["sid"]
        store = redis.Redis(unix_socket_path=bench.store_socket, decode_responses=True)
        [place] = store.keys(f"*:s:{session}")
        facts = store.hgetall(place)
        older = re.sub(r":(\d{10,})", lambda found: f":{int(found[1]) - ago_ms}", facts["by"])
        store.hset(place, mapping={"at": int(facts["at"]) - ago_ms, "by": older})
        store.close()
    return token


def outcome(lane: Lane, raw: bytes, source: str = OUTSIDE) -> tuple[int, str]:
    """Return the gateway's status and the sidecar's reason. Only an allowed request reaches the back end."""
    response, arrivals = lane.ask(raw, source=source)
    assert bool(arrivals) is (response.status == 200)
    if lane.gateway.program.grpc:
        told = response.value("x-auth-reason") or ("allowed" if response.status == 200 else "no reason")
    else:
        told = reason_of(lane.relay.answers[-1])
    return response.status, told


def bearer(token: str, path: str, *headers: str) -> bytes:
    return request(path, f"Authorization: Bearer {token}", *headers)


def step_up(lane: Lane, token: str) -> None:
    body = json.dumps({"password": PASSWORD})
    raw = request(
        "/v1/session/step-up",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        method="POST",
        body=body,
    )
    response, arrivals = lane.ask(raw, source=OUTSIDE)
    assert (response.status, arrivals) == (200, []), response.body


def test_an_old_proof_is_asked_again(bench: Bench, replicas: Replicas, gateway: str) -> None:
    """The same token passes after the step-up on one replica, on both, as soon as the step-up is answered."""
    lanes = [replicas.lane(bench, gateway, one) for one in (replicas.first, replicas.second)]
    fresh, old = signed_in(bench), signed_in(bench, ago_ms=SIXTEEN_MINUTES_MS)
    for lane in lanes:
        assert outcome(lane, bearer(fresh, BILLING)) == (200, "allowed")
        for _ in range(3):  # the third response is a remembered one
            assert outcome(lane, bearer(old, BILLING)) == (401, "step_up_required")
        told = lane.ask(bearer(old, BILLING), source=OUTSIDE)[0].value("www-authenticate") or ""
        assert 'error="insufficient_user_authentication"' in told
        assert 'max_age="900"' in told
        assert outcome(lane, bearer(old, "/dashboard/account-settings/")) == (200, "allowed")
    step_up(lanes[0], old)
    for lane in reversed(lanes):
        assert outcome(lane, bearer(old, BILLING)) == (200, "allowed")


def test_a_browser_is_led_to_the_step_up_page(bench: Bench, replicas: Replicas, gateway: str) -> None:
    lane = replicas.lane(bench, gateway, replicas.first)
    old = signed_in(bench, ago_ms=SIXTEEN_MINUTES_MS)
    asked = request(BILLING + "?a=1", HTML, f"Cookie: {COOKIE}={old}")
    for _ in range(3):
        response, arrivals = lane.ask(asked, source=OUTSIDE)
        location = urlsplit(response.value("location") or "")
        assert (response.status, location.path, arrivals) == (302, "/console/step-up", [])
        assert location.netloc in {"", "dash.example"}
        before, _, rd = location.query.partition("rd=")
        assert before == ("" if gateway == "nginx" else "step_up=recent-sign-in&")
        assert (rd if rd.startswith("/") else unquote(rd)) == BILLING + "?a=1"
    anonymous, _ = lane.ask(request(BILLING, HTML), source=OUTSIDE)
    assert urlsplit(anonymous.value("location") or "").path == "/console/sign-in"
    script, _ = lane.ask(request(BILLING, "Sec-Fetch-Mode: cors", f"Cookie: {COOKIE}={old}"), source=OUTSIDE)
    assert script.status == 401
    step_up(lane, old)
    assert outcome(lane, asked) == (200, "allowed")


def test_R40_only_the_users_own_network_counts(bench: Bench, replicas: Replicas, gateway: str) -> None:
    lane, token = replicas.lane(bench, gateway, replicas.first), signed_in(bench)
    for _ in range(3):
        for headers in FORGED:
            denied = outcome(lane, bearer(token, ANALYTICS, *headers))
            assert denied[0] in {400, 403} and denied[1] != "allowed", headers
        assert outcome(lane, bearer(token, ANALYTICS)) == (403, "condition_unmet")
        assert outcome(lane, inside(gateway, token)[0], inside(gateway, token)[1]) == (200, "allowed")


def inside(gateway: str, token: str) -> tuple[bytes, str]:
    """Return a request from the office, and its source.

    Over gRPC the peer is the source that Envoy sends, so that only a proxy before Envoy can report a user.
    """
    if gateway == "envoy-grpc":
        return bearer(token, ANALYTICS, f"X-Forwarded-For: {INSIDE}"), PROXY
    return bearer(token, ANALYTICS), INSIDE


def test_R40_without_a_trusted_proxy_nobody_is_inside(bench: Bench, replicas: Replicas, gateway: str) -> None:
    lane, token = replicas.lane(bench, gateway, replicas.distrustful), signed_in(bench)
    for source in (INSIDE, OUTSIDE, GATEWAY):
        for headers in ((), (f"X-Forwarded-For: {INSIDE}",)):
            assert outcome(lane, bearer(token, ANALYTICS, *headers), source) == (403, "condition_unmet")


def test_the_shipped_files_send_the_users_address() -> None:
    """Without a gateway's program: the lines on which the tests above depend."""
    here = Path(__file__).resolve().parent
    for name, part in (
        ("envoy/envoy.yaml", "- { exact: x-forwarded-for }"),
        ("envoy/envoy.yaml", "use_remote_address: true"),
        ("envoy/envoy-grpc.yaml", "use_remote_address: true"),
        ("nginx/nginx.conf", "proxy_set_header X-Forwarded-For $remote_addr;"),
        ("haproxy/ask_sidecar.lua", 'headers["x-forwarded-for"] = { txn.f:src() }'),
        ("traefik/dynamic.yml", "trustForwardHeader: false"),
    ):
        assert part in (here / name).read_text(), name
