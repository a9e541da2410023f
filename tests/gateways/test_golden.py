"""The checks that the gateways send equal the recorded ones in tests/checks/golden, where they are replayed.

``SIDECAR_GATEWAYS_RECORD=1`` records them again: after a change of a configuration, or for a new gateway's version.
"""

import os
import time

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.programs import PROGRAMS
from tests.gateways.rig.table import table
from tests.golden import ROWS, Golden, load, named, path_of

RECORD = os.environ.get("SIDECAR_GATEWAYS_RECORD") == "1"
OVER_HTTP = [name for name, program in PROGRAMS.items() if not program.grpc]
TABLE = {row.name: row for row in table()}


def recorded(bench: Bench, lane: Lane, name: str) -> Golden | None:
    """Return the gateway's check for this row and the response; None if it sends no check."""
    heads, answers = len(lane.relay.heads), len(lane.relay.answers)
    lane.ask(TABLE[name].bytes(bench.cast.tokens))
    deadline = time.monotonic() + 1
    while len(lane.relay.answers) < len(lane.relay.heads) and time.monotonic() < deadline:
        time.sleep(0.005)
    if len(lane.relay.heads) == heads:
        return None
    people = bench.cast.people
    ids = {person.id: "id" for person in people.values()} | {people["marketer"].account: "account"}
    tokens = bench.cast.tokens
    return Golden(named(lane.relay.heads[heads], tokens, ids), named(lane.relay.answers[answers], tokens, ids))


@pytest.mark.parametrize("gateway", OVER_HTTP)
@pytest.mark.parametrize("name", ROWS)
def test_golden(bench: Bench, gateway: str, name: str) -> None:
    found = recorded(bench, bench.lane(gateway), name)
    path = path_of(gateway, name)
    if RECORD and found is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.text())
    if found is None:
        assert not path.exists()
    else:
        assert found == load(path)
