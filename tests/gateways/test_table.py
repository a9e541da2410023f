"""One table through every gateway. Two assertions per row: the back end is never reached for a denied request, and the
identity that it sees is the sidecar's and no other.
"""

import pytest

from tests.gateways.rig.bench import Bench
from tests.gateways.rig.judge import judge
from tests.gateways.rig.rows import Row
from tests.gateways.rig.table import table

ROWS = table()


def test_the_table_is_as_long_as_it_has_to_be() -> None:
    assert len(ROWS) >= 60
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_R1_R2_R4_R5_R6_table(bench: Bench, gateway: str, row: Row) -> None:
    judge(bench, bench.lane(gateway), row)
