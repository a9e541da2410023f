"""CORS preflights carry no credentials. Therefore a dashboard that is called from another origin opts in per route: a
``[[public]]`` entry for OPTIONS with the section's own path. Nothing else becomes public. The back end sends the CORS
headers.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import assert_identity
from tests.gateways.rig.outcomes import BILLING, MEDIA
from tests.gateways.rig.programs import PROGRAMS
from tests.gateways.rig.rows import request

ROOT = Path(__file__).resolve().parents[2]
OPT_IN = """
[[public]]
path = "/dashboard/media-library/**"
methods = ["OPTIONS"]
"""
ROUTES = "public, OPTIONS, /dashboard/media-library/x\n"
PREFLIGHT = ("Origin: https://app.example", "Access-Control-Request-Method: POST")


@pytest.fixture(scope="module")
def opted_in(bench: Bench) -> Iterator[dict[str, Lane]]:
    """Every gateway, in front of a sidecar with the entry in its policy."""
    policy = bench.folder / "preflight-policy"
    shutil.copytree(ROOT / "policy", policy)
    sections, routes = policy / "sections.toml", policy / "routes.csv"
    sections.write_text(sections.read_text() + OPT_IN)
    kept = re.sub(r"(?m)^unmatched, +OPTIONS, +/dashboard/media-library.*\n", "", routes.read_text())
    routes.write_text(kept + ROUTES)
    with bench.another_sidecar(POLICY_DIR=str(policy)) as sidecar:
        sidecar.wait_ready()
        yield {
            name: bench.start(name, sidecar=sidecar)
            for name, program in PROGRAMS.items()
            if program.find() and bench.runs(program)
        }


@pytest.fixture
def lane(opted_in: dict[str, Lane], gateway: str) -> Lane:
    if gateway not in opted_in:
        pytest.skip(PROGRAMS[gateway].missing)
    return opted_in[gateway]


def test_a_preflight_passes_where_it_was_opted_in(lane: Lane) -> None:
    response, arrivals = lane.ask(request(MEDIA + "x", *PREFLIGHT, method="OPTIONS"))
    assert (response.status, [arrival.method for arrival in arrivals]) == (200, ["OPTIONS"])
    assert_identity(arrivals[0], {})


def test_nothing_else_opens_with_it(lane: Lane) -> None:
    for method, target in (("OPTIONS", BILLING), ("OPTIONS", "/dashboard"), ("GET", MEDIA), ("DELETE", MEDIA + "x")):
        response, arrivals = lane.ask(request(target, *PREFLIGHT, method=method))
        assert (method, target, response.status, arrivals) == (method, target, 401, [])


def test_the_shipped_policy_has_opted_in_nowhere(bench: Bench, gateway: str) -> None:
    response, arrivals = bench.lane(gateway).ask(request(MEDIA + "x", *PREFLIGHT, method="OPTIONS"))
    assert (response.status, arrivals) == (401, [])
