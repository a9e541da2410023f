"""Canonical format of the CSV files (`policy fmt`). Preserves comments, order and meaning.

Fields are aligned, one blank line separates groups, and quotes are used only where necessary. Formatting is idempotent.
A file with unreadable lines is reported, not formatted.
"""

from collections.abc import Iterable
from itertools import groupby

from sidecar.policy.diagnostics import DiagnosticCode, DiagnosticSink
from sidecar.policy.text.csv_reader import read_lines, records


def format_csv(data: bytes, file: str, findings: DiagnosticSink) -> bytes | None:
    """Return the formatted file, or None if it is unreadable; ``findings`` then has the reasons.

    A missing last line end is added, and is no finding.
    """
    read = DiagnosticSink()
    lines = read_lines(data, file, read)
    rows = {record.line: record.fields for record in records(lines, file, read)}
    reasons = [found for found in read.sorted() if found.code is not DiagnosticCode.TRUNCATED_FILE]
    if reasons:
        findings.extend(reasons)
        return None
    widths = column_widths(rows.values())
    written = [written_row(rows[line.number], widths) if line.number in rows else line.text.strip() for line in lines]
    groups = [list(group) for blank, group in groupby(written, key=lambda text: not text) if not blank]
    return ("\n\n".join("\n".join(group) for group in groups) + "\n").encode()


Widths = dict[tuple[str, int, int], int]


def _kind(fields: tuple[str, ...]) -> tuple[str, int]:
    """Return the kind of a line. Lines of one kind share their columns: `p` and `g` of policy.csv are two kinds.

    Rows of expectations.csv are of one kind, with or without a fifth field.
    """
    if fields[0] in ("allow", "deny") and len(fields) == 5:
        return ("", 4)
    return (fields[0] if fields[0] in ("p", "g") else "", len(fields))


def column_widths(rows: Iterable[tuple[str, ...]]) -> Widths:
    """Return the width of each column, per kind of line."""
    widths: Widths = {}
    for fields in rows:
        for index, field in enumerate(fields):
            column = (*_kind(fields), index)
            widths[column] = max(widths.get(column, 0), len(_quoted(field)))
    return widths


def written_row(fields: tuple[str, ...], widths: Widths) -> str:
    """Return the line of a row, aligned with the others. A field may be wider than its column."""
    cells = [_quoted(field) for field in fields]
    padded = [f"{cell},".ljust(widths.get((*_kind(fields), index), 0) + 1) for index, cell in enumerate(cells[:-1])]
    return " ".join((*padded, cells[-1]))


def _quoted(field: str) -> str:
    """Quote the field as in RFC 4180, but only if necessary."""
    comment = field.startswith("#") or " #" in field
    if field and not comment and "," not in field and '"' not in field and field == field.strip():
        return field
    return '"' + field.replace('"', '""') + '"'
