"""Repair of CSV files after a spreadsheet or a word processor (`policy fmt --repair`).

Repaired: a byte order mark, other separators, padded rows, quotes around whole lines, smart quotes and dashes, CR.
Each change is reported. An ambiguous line is refused, and its file then stays as it is. Look-alike letters and
invisible characters stay findings: a name that only looks right must be typed again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from sidecar.policy.text.repair_rows import COMMA, SEPARATORS, CsvField, is_comment, joined, split_row, trimmed

_FORMS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "policy.csv": {"p": (5,), "g": (3,)},
    "expectations.csv": {"": (4, 5)},
    "routes.csv": {"": (3,)},
    "needs.csv": {"": (5,)},
}
"""File → first field → valid numbers of fields. An empty first field stands for any."""

PATHS: Final = {"routes.csv": 2}
"""File → index of its field with a path, in which a semicolon or a dash may be meant."""

_QUOTES: Final = str.maketrans("\u201c\u201d\u201e\u201f", '""""')
_DASHES: Final = str.maketrans("‐‑‒–—―", "------")
_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab"}


class Change(NamedTuple):
    """Repaired line. ``causes``: what was repaired."""

    line: int
    causes: tuple[str, ...]
    before: str
    after: str


class Refusal(NamedTuple):
    """Ambiguous line, which only its author can correct."""

    line: int
    message: str


@dataclass(slots=True)
class Repair:
    """Result for one file. ``content``: the repaired bytes, not yet aligned; None with any refusal."""

    changes: list[Change] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Rows of a spreadsheet: all padded to the same width. ``joiner``: the separator at which comments were split.

    ``whole_lines``: each rule is in one cell, because the file was opened with another separator.
    """

    separator: str
    joiner: str
    whole_lines: bool


def repair_csv(data: bytes, file: str) -> Repair:
    """Repair one file. Bytes that are not UTF-8 stay as they are, for the reader's findings."""
    repair = Repair()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        repair.content = data
        return repair
    if text.startswith("\ufeff"):
        text = text[1:]
        repair.changes.append(Change(1, ("byte order mark",), "U+FEFF", ""))
    lines = _with_line_feeds(text, repair)
    sheet = _sheet_of(lines)
    written = [_repaired(number, line, file, sheet, repair) for number, line in enumerate(lines, start=1)]
    if not repair.refusals:
        repair.content = "\n".join(written).encode()
    return repair


# -- line ends ---------------------------------------------------------------------------------------------------------


def _with_line_feeds(text: str, repair: Repair) -> list[str]:
    """Return the lines. In a file without LF every CR ends a line; elsewhere a CR must not uncover a rule."""
    if "\r" not in text:
        return text.split("\n")
    ended = text.replace("\r\n", "\n")
    if (count := text.count("\r\n")) > 0:
        repair.changes.append(Change(1, (f"CR LF at the end of {count} lines",), "CR LF", "LF"))
    if "\n" not in ended:
        count = ended.count("\r")
        repair.changes.append(Change(1, (f"CR at the end of {count} lines",), "CR", "LF"))
        return ended.split("\r")
    lines: list[str] = []
    for line in ended.split("\n"):
        pieces = line.split("\r")
        number = len(lines) + 1
        if any(_uncovers(above, below) for above, below in pairwise(pieces)):
            repair.refusals.append(Refusal(number, "a CR in a comment: as a line end it would make a rule of its rest"))
        elif len(pieces) > 1:
            repair.changes.append(Change(number, ("CR in the line",), line.replace("\r", "␍"), " / ".join(pieces)))
        lines += pieces
    return lines


def _uncovers(above: str, below: str) -> bool:
    return is_comment(above) and bool(below.strip()) and not is_comment(below)


# -- spreadsheets ------------------------------------------------------------------------------------------------------


def _sheet_of(lines: Sequence[str]) -> _Sheet | None:
    """Return the form in which a spreadsheet saved the file, or None.

    A spreadsheet pads each row, also comments and blank lines, to one number of fields.
    """
    filled = lines[:-1] if lines and not lines[-1] else lines
    for separator in SEPARATORS:
        rows = [split_row(line, separator) for line in filled]
        padded = any(row is not None and len(trimmed(row)) < len(row) for row in rows)
        widths = {0 if row is None else len(row) for row in rows}
        if not padded or len(widths) != 1 or 0 in widths or 1 in widths:
            continue
        cells = [trimmed(row) for row in rows if row is not None]
        rules = [row[0] for row in cells if row and not is_comment(row[0].text)]
        whole = bool(rules) and all(COMMA in first.text for first in rules)
        return _Sheet(separator, ";" if whole else COMMA, whole)
    return None


# -- rows --------------------------------------------------------------------------------------------------------------


def _repaired(number: int, line: str, file: str, sheet: _Sheet | None, repair: Repair) -> str:
    """Return the repaired line, and report a change or a refusal."""
    causes: list[str] = []
    if not line.strip(" "):
        return line
    text = line if sheet is None else _unpadded(line, sheet, causes)
    after = _comment(text, causes) if is_comment(text) else _rule(number, text, file, sheet, causes, repair)
    if causes and after != line:
        repair.changes.append(Change(number, tuple(dict.fromkeys(causes)), line, after))
    return after


def _comment(text: str, causes: list[str]) -> str:
    """Return the comment without quotes around it. Quotes and other signs inside are prose, and stay."""
    fields = split_row(text, COMMA) if text.lstrip(" ").startswith('"') else None
    if fields is None:
        return text
    causes.append("quotes around the line")
    return joined(trimmed(fields), COMMA)


def _unpadded(line: str, sheet: _Sheet, causes: list[str]) -> str:
    """Return a comment, a blank line or a whole line of a sheet as it was. A rule stays in its fields."""
    row = split_row(line, sheet.separator) or []
    fields = trimmed(row)
    if fields and not is_comment(fields[0].text) and not sheet.whole_lines:
        return line
    if len(fields) < len(row):
        causes.append("padded row")
    if any(one.quoted for one in fields):
        causes.append("quotes")
    if sheet.separator != sheet.joiner and len(fields) > 1:
        causes.append(f"{_NAMES[sheet.separator]} as separator")
    return joined(fields, sheet.joiner)


def _rule(number: int, line: str, file: str, sheet: _Sheet | None, causes: list[str], repair: Repair) -> str:
    """Return the line of a rule or test, with commas. A refused line is returned unchanged."""
    text = line.translate(_QUOTES)
    if text != line:
        causes.append("smart quotes")
    found = split_row(text, COMMA)
    if (
        found is not None
        and len(inner := trimmed(found)) == 1
        and inner[0].quoted
        and set(SEPARATORS) & set(inner[0].text)
    ):
        causes.append("quotes around the line")
        text = inner[0].text
        if is_comment(text):
            return text
    try:
        separator = _separator_of(text, file, sheet)
        fields = _fields(text, separator, file, sheet)
    except _AmbiguousError as error:
        repair.refusals.append(Refusal(number, str(error)))
        return line
    if separator != COMMA:
        causes.append(f"{_NAMES[separator]} as separator")
    if len(fields) < len(split_row(text, separator) or ()):
        causes.append("padded row")
    if not fields:
        return ""
    if any(one.quoted and one.text != one.text.strip(" ") for one in _names(fields, file, sheet)):
        causes.append("quotes")
    plain = [_plain(one, index, file) for index, one in enumerate(fields)]
    if [one.text for one in plain] != [one.text for one in fields]:
        causes.append("smart dashes")
    return joined(plain, COMMA + " ", quoted=True) if causes else line


class _AmbiguousError(Exception):
    """Raised for a row with two readings. The message names both."""


def _separator_of(text: str, file: str, sheet: _Sheet | None) -> str:
    """Return the separator of a row. Raises _AmbiguousError for a row with two."""
    if sheet is not None and not sheet.whole_lines:
        return sheet.separator
    used = [one for one in SEPARATORS if len(split_row(text, one) or ()) > 1]
    if len(used) < 2:
        return used[0] if used else COMMA
    for one in used:
        row = trimmed(split_row(text, one) or ())
        if one != ";" and len(row) > PATHS.get(file, 0) and not set(_unquoted(row, one, file)):
            return one
    names = " and ".join(_NAMES[one] for one in used)
    raise _AmbiguousError(f"the row has two separators, {names}: write commas, and quote a field that contains one")


def _fields(text: str, separator: str, file: str, sheet: _Sheet | None) -> list[CsvField]:
    """Return the fields of a row, without padding. Raises _AmbiguousError if one of them may be two.

    In a sheet the separator is certain, so a path in it may contain the others, like a path in quotes.
    """
    row = split_row(text, separator)
    if row is None:
        raise _AmbiguousError('the quotes of the row do not balance: a field in quotes ends in ", followed by a comma')
    fields = trimmed(row)
    if not fields:
        return fields
    if sheet is not None and not sheet.whole_lines:
        fields = [one._replace(quoted=one.quoted or index == PATHS.get(file)) for index, one in enumerate(fields)]
    inside = set(_unquoted(fields, separator, file))
    if inside:
        names = " and a ".join(_NAMES[one] for one in sorted(inside))
        raise _AmbiguousError(f"an unquoted {names} inside a field of a row with {_NAMES[separator]}s: quote the field")
    forms = _FORMS[file]
    counts = forms.get(fields[0].text.strip()) or forms.get("")
    if counts is not None and len(fields) not in counts:
        wanted = " or ".join(map(str, counts))
        raise _AmbiguousError(
            f"{len(fields)} fields instead of {wanted}: quote a field that contains a {_NAMES[separator]}"
        )
    return fields


def _unquoted(fields: Sequence[CsvField], separator: str, file: str) -> Iterator[str]:
    """Yield the other separators in unquoted fields. A semicolon of a path is none, unless semicolons separate."""
    for index, one in enumerate(fields):
        for character in "" if one.quoted else one.text:
            in_path = character == ";" and index == PATHS.get(file)
            if character in SEPARATORS and character != separator and not in_path:
                yield character


def _names(fields: Sequence[CsvField], file: str, sheet: _Sheet | None) -> Iterator[CsvField]:
    """Yield the fields in which spaces at the ends mean nothing, also in quotes."""
    return (one for index, one in enumerate(fields) if sheet is not None or index != PATHS.get(file))


def _plain(part: CsvField, index: int, file: str) -> CsvField:
    """Return the field with plain dashes. A path may contain another dash on purpose."""
    return part if index == PATHS.get(file) else part._replace(text=part.text.translate(_DASHES))
