"""Rows of expectations.csv that must change before the policy may allow a cell: otherwise its tests reject the edit."""

from collections.abc import Iterable, Iterator, Mapping

from sidecar.policy.csv_reader import CsvLine, CsvRecord, records
from sidecar.policy.decision_table import Cell
from sidecar.policy.declarations import Role
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.expectations import EXPECTATIONS, Expectation, ExpectedCells


def rows_to_allow(
    content: bytes, cells: Iterable[Cell], roles: Mapping[str, Role]
) -> Iterator[tuple[Cell, Expectation | None]]:
    """Yield the cells that need another row in ``content`` to be allowed, each with the exact row to replace, if any.

    Only lines that contain the name of a role in question are read, because the file may have 100,000 lines.
    """
    wanted = [cell for cell in cells if cell[0] in roles and roles[cell[0]].assignable]
    rows = ExpectedCells(_rows(content, {role for role, _, _ in wanted}))
    for cell in wanted:
        row = rows.row_of(*cell)
        if row is None or not row.allowed:
            yield cell, row if row is not None and row.exact else None


def _rows(content: bytes, roles: Iterable[str]) -> Iterator[Expectation]:
    names = [role.encode() for role in roles]
    if not names:
        return
    numbered = enumerate(content.split(b"\n"), start=1)
    lines = [(number, line) for number, line in numbered if any(name in line for name in names)]
    texts = [CsvLine(number, line.decode(errors="replace").removesuffix("\r")) for number, line in lines]
    yield from (_expectation(record) for record in records(texts, EXPECTATIONS, DiagnosticSink()) if _is_row(record))


def _is_row(record: CsvRecord) -> bool:
    return len(record.fields) == 4


def _expectation(record: CsvRecord) -> Expectation:
    effect, role, section, action = record.fields
    return Expectation(record.line, effect == "allow", role, section, action)
