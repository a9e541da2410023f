"""Expected decision of each cell, from the shipped expectations.csv; its rows may have wildcards."""

from collections.abc import Mapping
from functools import cache

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decision_table import Cell
from sidecar.sources.policy_files import packaged, read_policy_files


@cache
def expected_cells() -> Mapping[Cell, bool]:
    """Return the cells of the assignable roles, by the most exact row of each."""
    compiled = compile_policy(read_policy_files(*packaged()).files, proof=ProofScope.NONE)
    assert compiled.generation is not None, [str(one) for one in compiled.diagnostics]
    rows = {cell: compiled.suite.rows().row_of(*cell) for cell in compiled.generation.cells}
    return {cell: row.allowed for cell, row in rows.items() if row is not None}
