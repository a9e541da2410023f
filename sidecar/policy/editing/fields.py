"""Fields of CSV lines with their places, also of lines that are still being written."""

from dataclasses import dataclass

from sidecar.policy.editing.buffers import Buffer
from sidecar.policy.text.csv_reader import field_spans


@dataclass(frozen=True, slots=True)
class Field:
    """Field of a line. ``start`` and ``end`` are offsets in the buffer, without spaces and quotes."""

    index: int
    text: str
    start: int
    end: int


def fields_of(buffer: Buffer, line: int) -> list[Field]:
    """Return the fields of a line. A comment and a blank line have none."""
    text = buffer.line(line)
    if not text.strip(" \t") or text.lstrip(" \t").startswith("#"):
        return []
    found, base = [], buffer.line_start(line)
    for index, (first, last) in enumerate(field_spans(text)):
        quoted = int(last - first >= 2 and text[first] == text[last - 1] == '"')
        start, end = first + quoted, last - quoted
        found.append(Field(index, text[start:end], base + start, base + end))
    return found


def parts_of(field: Field, separator: str) -> list[Field]:
    """Return the parts of a field between separators, without spaces: the conditions of ``A | B``."""
    found, at = [], field.start
    for part in field.text.split(separator):
        begin = at + len(part) - len(part.lstrip(" "))
        found.append(Field(field.index, part.strip(" "), begin, begin + len(part.strip(" "))))
        at += len(part) + len(separator)
    return found
