"""Rows of a damaged CSV file: fields at any separator, with the quotes of RFC 4180."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

COMMA: Final = ","
SEPARATORS: Final = (",", ";", "\t")


class CsvField(NamedTuple):
    """Field of a row. ``quoted``: it was in quotes, which ``text`` no longer has."""

    text: str
    quoted: bool


def split_row(line: str, separator: str) -> list[CsvField] | None:
    """Return the fields, or None if quotes do not balance. A quote counts only at the start of a field."""
    fields: list[CsvField] = []
    at = 0
    while True:
        start = at + len(line[at:]) - len(line[at:].lstrip(" "))
        if line[start : start + 1] == '"':
            text, at = _quoted(line, start + 1)
            if at < 0 or line[at : at + 1] not in ("", separator):
                return None
            fields.append(CsvField(text, quoted=True))
        else:
            end = line.find(separator, at)
            end = len(line) if end < 0 else end
            fields.append(CsvField(line[at:end], quoted=False))
            at = end
        if at >= len(line):
            return fields
        at += 1


def _quoted(line: str, at: int) -> tuple[str, int]:
    """Return the text of a quoted field and the index after it with its spaces; -1 if the quote is not closed."""
    pieces = []
    while (end := line.find('"', at)) >= 0:
        pieces.append(line[at:end])
        if line[end + 1 : end + 2] != '"':
            after = end + 1
            return "".join(pieces), after + len(line[after:]) - len(line[after:].lstrip(" "))
        pieces.append('"')
        at = end + 2
    return "", -1


def trimmed(fields: Sequence[CsvField]) -> list[CsvField]:
    """Return the fields without the empty ones at the end."""
    last = next((index for index in range(len(fields), 0, -1) if fields[index - 1].text.strip()), 0)
    return list(fields[:last])


def is_comment(text: str) -> bool:
    """Return whether a line or a first field is a comment, also in quotes."""
    return text.lstrip(" ").removeprefix('"').lstrip(" ").startswith("#")


def joined(fields: Iterable[CsvField], separator: str, *, quoted: bool = False) -> str:
    """Join the fields. ``quoted``: with quotes where a field needs them, and without the spaces around it."""
    if not quoted:
        return separator.join(one.text for one in fields)
    return separator.join(_written(one) for one in fields)


def _written(part: CsvField) -> str:
    text = part.text.strip(" ")
    if part.quoted and (set(text) & {*SEPARATORS, '"'} or text.startswith("#") or " #" in text):
        return '"' + text.replace('"', '""') + '"'
    return text
