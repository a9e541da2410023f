"""`policy fmt`: the one way in which the CSV files are written. Keeps comments, order and meaning; nothing else.

Fields are aligned, one blank line parts groups, quotes stand only where they must. Formatting twice changes nothing.
A line that cannot be read is never guessed at: the caller refuses a file with findings first.
"""

from collections.abc import Iterable
from itertools import groupby

from sidecar.policy.csv_reader import read_lines, records
from sidecar.policy.diagnostics import DiagnosticCode, Findings


def format_csv(data: bytes, file: str, findings: Findings) -> bytes | None:
    """The file as it should be; None when it cannot be read, with the reason among the findings.

    A last line without an end is mended and is no reason.
    """
    read = Findings()
    lines = read_lines(data, file, read)
    rows = {record.line: record.fields for record in records(lines, file, read)}
    reasons = [found for found in read.sorted() if found.code is not DiagnosticCode.TRUNCATED_FILE]
    if reasons:
        findings.extend(reasons)
        return None
    widths = _widths(rows.values())
    written = [_written(rows[line.number], widths) if line.number in rows else line.text.strip() for line in lines]
    groups = [list(group) for blank, group in groupby(written, key=lambda text: not text) if not blank]
    return ("\n\n".join("\n".join(group) for group in groups) + "\n").encode()


Widths = dict[tuple[str, int, int], int]


def _kind(fields: tuple[str, ...]) -> tuple[str, int]:
    """Lines of one kind share their columns: `p` and `g` of policy.csv each have their own."""
    return (fields[0] if fields[0] in ("p", "g") else "", len(fields))


def _widths(rows: Iterable[tuple[str, ...]]) -> Widths:
    widths: Widths = {}
    for fields in rows:
        for index, field in enumerate(fields):
            column = (*_kind(fields), index)
            widths[column] = max(widths.get(column, 0), len(_quoted(field)))
    return widths


def _written(fields: tuple[str, ...], widths: Widths) -> str:
    cells = [_quoted(field) for field in fields]
    padded = [f"{cell},".ljust(widths[(*_kind(fields), index)] + 1) for index, cell in enumerate(cells[:-1])]
    return " ".join((*padded, cells[-1]))


def _quoted(field: str) -> str:
    """As RFC 4180 wants it, and only then."""
    comment = field.startswith("#") or " #" in field
    if field and not comment and "," not in field and '"' not in field and field == field.strip():
        return field
    return '"' + field.replace('"', '""') + '"'
