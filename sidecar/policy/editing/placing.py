"""Places of new lines: inside the block of their role or section, so that branches merge."""

from collections.abc import Sequence

from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.fields import fields_of


def subject_of(file: str, row: str) -> str:
    """Return the role of a rule or expectation, or the section of a route test."""
    fields = [part.strip() for part in row.split(",")]
    if file == "routes.csv":
        return fields[0].rpartition(" ")[2].partition("/")[0]
    return fields[1] if len(fields) > 1 else ""


def insert_rows(buffer: Buffer, rows: Sequence[str]) -> list[BufferEdit]:
    """Return the edits that write rows below the last line of their subject, or in a new block at the end."""
    blocks: dict[str, list[str]] = {}
    for row in rows:
        blocks.setdefault(subject_of(buffer.file, row), []).append(row)
    last = _last_lines(buffer)
    edits, new = [], []
    for subject, lines in blocks.items():
        if subject in last:
            edits.append(buffer.insert_lines(last[subject], lines))
        else:
            new += ["", f"# {subject}", *lines] if buffer.file != "policy.csv" else lines
    return [*edits, *([buffer.append_lines(new)] if new else [])]


def _last_lines(buffer: Buffer) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in range(1, len(buffer.starts) + 1):
        fields = fields_of(buffer, line)
        if fields and not (buffer.file == "policy.csv" and fields[0].text == "g"):
            subject = subject_of(buffer.file, buffer.line(line))
            found[subject] = line
    return found
