"""Rows of expectations.csv that must change before the policy may allow a cell: otherwise its tests reject the edit."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sidecar.policy.decision_table import Cell
from sidecar.policy.declarations import Role
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.expectations import EXPECTATIONS, Expectation, ExpectedCells
from sidecar.policy.text.csv_reader import CsvLine, CsvRecord, records


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
    lines = list(_lines_with([role.encode() for role in roles], content))
    yield from (_expectation(record) for record in records(lines, EXPECTATIONS, DiagnosticSink()) if _is_row(record))


def _lines_with(names: Sequence[bytes], content: bytes) -> Iterator[CsvLine]:
    """Yield the lines that contain one of the names."""
    number, counted, end = 1, 0, -1
    for found in re.finditer(b"|".join(map(re.escape, names)), content) if names else ():
        if found.start() < end:
            continue  # the same line
        start = content.rfind(b"\n", 0, found.start()) + 1
        end = content.find(b"\n", found.start())
        end = len(content) if end < 0 else end
        number += content.count(b"\n", counted, start)
        counted = start
        yield CsvLine(number, content[start:end].decode(errors="replace").removesuffix("\r"))


def _is_row(record: CsvRecord) -> bool:
    return len(record.fields) == 4


def _expectation(record: CsvRecord) -> Expectation:
    effect, role, section, action = record.fields
    return Expectation(record.line, effect == "allow", role, section, action)
