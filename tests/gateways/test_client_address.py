"""The user's own address behind a load balancer, for needs. Other cases of addresses: test_needs.py."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.outcomes import MEDIA
from tests.gateways.rig.people import ROOT, SidecarProcess
from tests.gateways.rig.programs import PROGRAMS
from tests.gateways.rig.rows import request
from tests.gateways.rig.wire import ask

OFFICE, ELSEWHERE, BALANCER, GATEWAY = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"
"""Envoy appends its own address instead of 127.0.0.1, so that the balancer has another."""
CONDITIONS = f'[conditions.office]\nnetworks = ["{OFFICE}/32"]\n'


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped policy, in which the media library needs the office."""
    folder = tmp_path_factory.mktemp("needs") / "policy"
    shutil.copytree(ROOT / "policy", folder)
    (folder / "conditions.toml").write_text(CONDITIONS)
    (folder / "needs.csv").write_text("needs, *, media-library, view, office\n")
    with (folder / "expectations.csv").open("a") as rows:
        rows.write("deny, marketer, media-library, view, without office\n")
    return folder


@pytest.fixture(scope="module")
def trusting(bench: Bench, policy: Path) -> Iterator[SidecarProcess]:
    with bench.another_sidecar(POLICY_DIR=str(policy), TRUSTED_PROXIES=f"{BALANCER},{GATEWAY}") as sidecar:
        sidecar.wait_ready()
        yield sidecar


@pytest.fixture(scope="module")
def lanes(bench: Bench, trusting: SidecarProcess) -> Iterator[dict[str, Lane]]:
    here = [name for name, program in PROGRAMS.items() if program.find() and bench.runs(program)]
    yield {name: bench.start(name, sidecar=trusting) for name in here}


def status(bench: Bench, lane: Lane, source: str, *headers: str) -> int:
    """Return the last of three statuses: the third response is a remembered one."""
    raw = request(MEDIA, *headers, token="marketer").replace(b"<<marketer>>", bench.cast.tokens["marketer"].encode())
    found = {ask(lane.gateway.port, raw, source=source).status for _ in range(3)}
    assert len(found) == 1
    return found.pop()


def lane_of(lanes: dict[str, Lane], gateway: str) -> Lane:
    if gateway not in lanes:
        pytest.skip(PROGRAMS[gateway].missing)
    return lanes[gateway]


@pytest.mark.parametrize("gateway", ["envoy", "envoy-grpc"])
def test_envoy_appends_to_the_header_of_a_balancer(bench: Bench, lanes: dict[str, Lane], gateway: str) -> None:
    lane = lane_of(lanes, gateway)
    assert status(bench, lane, BALANCER, f"X-Forwarded-For: {OFFICE}") == 200
    assert status(bench, lane, BALANCER, f"X-Forwarded-For: {OFFICE}, {ELSEWHERE}") == 403
