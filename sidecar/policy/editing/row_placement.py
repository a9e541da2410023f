"""Places of new rows in expectations.csv and routes.csv: inside the block of their role or section, in declared order.

A row is inserted beside its neighbours, never at the end of the file as such: two branches that each add a section then
change different lines. Existing lines keep their bytes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.expectations import EXPECTATIONS, REVIEW, ROUTES
from sidecar.policy.generation import Generation
from sidecar.policy.missing_rows import Row
from sidecar.policy.name_checks import ANY
from sidecar.policy.text.csv_reader import read_lines, records
from sidecar.policy.text.format import Widths, column_widths, written_row

Key = tuple[int, int, int, int]
"""Order of a row: role or section, then section and action, ``*`` first, then rows with ``without``."""


class Insertion(NamedTuple):
    """Lines to insert before the line ``line``, or after the last line. ``rows``: those lines that are tests."""

    line: int
    lines: tuple[str, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(text for text in self.lines if text and not text.startswith("#"))

    @property
    def reviewed(self) -> list[str]:
        """The lines, with a line `REVIEW` above each row."""
        rows = set(self.rows)
        return [text for line in self.lines for text in ((REVIEW, line) if line in rows else (line,))]


class _Placed(NamedTuple):
    key: Key
    line: int


class _File:
    """Rows of a file, with their lines and their order."""

    def __init__(self, data: bytes, name: str, order: Mapping[str, int], generation: Generation) -> None:
        lines = read_lines(data, name, DiagnosticSink())
        found = list(records(lines, name, DiagnosticSink()))
        self.texts = [line.text.strip() for line in lines]
        self.widths: Widths = column_widths(record.fields for record in found)
        self._order = order
        self._sections = {section: index for index, section in enumerate(generation.sections)}
        self._actions = {section.id: section.actions for section in generation.sections.values()}
        keys = ((self.key_of(record.fields), record.line) for record in found)
        self.placed = [_Placed(key, line) for key, line in keys if key is not None]

    def key_of(self, fields: Row) -> Key | None:
        """Return the order of a row; None for a row without a place in the order, such as ``unmatched``."""
        if len(fields) == 3:  # a route test
            section, _, action = fields[0].rpartition(" ")[2].partition("/")
            block = self._order.get(section if action else fields[0])
            return None if block is None else (block, 0, self._index(section, action), 0)
        _, role, section, action = fields[:4]
        block = self._order.get(role)
        place = -1 if section == ANY else self._sections.get(section, len(self._sections))
        return None if block is None else (block, place, self._index(section, action), len(fields) - 4)

    def _index(self, section: str, action: str) -> int:
        actions = self._actions.get(section, ())
        return actions.index(action) if action in actions else -1

    def above(self, line: int) -> int:
        """Return the first of the comment lines directly above a line, or the line itself."""
        while line > 1 and self.texts[line - 2].startswith("#"):
            line -= 1
        return line

    def below_review(self, line: int) -> int:
        """Return the line, or the one above if that is its `REVIEW`."""
        return line - 1 if line > 1 and self.texts[line - 2] == REVIEW else line

    def is_placed(self, line: int) -> bool:
        return any(one.line == line for one in self.placed)

    def is_blank(self, line: int) -> bool:
        """Return True for a blank line, and outside the file."""
        return not 1 <= line <= len(self.texts) or not self.texts[line - 1]


def place_expectations(data: bytes, rows: Iterable[Row], generation: Generation) -> list[Insertion]:
    """Return where rows of expectations.csv belong. A new role gets a block after that of the role before it."""
    order = {role: index for index, role in enumerate(generation.roles)}
    return _insertions(_File(data, EXPECTATIONS, order, generation), rows, lambda row: f"# {row[1]}")


def place_route_tests(data: bytes, rows: Iterable[Row], generation: Generation) -> list[Insertion]:
    """Return where rows of routes.csv belong. A new section gets a block after that of the section before it."""
    order = {section: index for index, section in enumerate((*generation.sections, "public"))}
    return _insertions(_File(data, ROUTES, order, generation), rows, None)


def _insertions(file: _File, rows: Iterable[Row], title: Callable[[Row], str] | None) -> list[Insertion]:
    """Return one insertion per line, in the order of the file."""
    blocks: dict[int, list[tuple[Key, Row]]] = {}
    for row in rows:
        key = file.key_of(row) or (len(file.placed), 0, 0, 0)
        blocks.setdefault(key[0], []).append((key, row))
    inserted: dict[int, list[str]] = {}
    for block, found in sorted(blocks.items()):
        found.sort(key=lambda one: one[0])
        there = [one for one in file.placed if one.key[0] == block]
        if there:
            for key, row in found:
                inserted.setdefault(_beside(file, there, key), []).append(written_row(row, file.widths))
            continue
        texts = [written_row(row, file.widths) for _, row in found]
        at, follows = _new_block(file, block)
        texts = [*([title(found[0][1])] if title else []), *texts]
        inserted.setdefault(at, []).extend(["", *texts] if follows else [*texts, ""])
        if follows and not file.is_blank(at):
            inserted[at].append("")
    return [Insertion(at, tuple(texts)) for at, texts in sorted(inserted.items())]


def _beside(file: _File, block: Sequence[_Placed], key: Key) -> int:
    """Return the line after the last row that comes before ``key``, otherwise the line of the first that follows."""
    before = [one for one in block if one.key <= key]
    if before:
        return max(before).line + 1
    return file.below_review(min(block).line)


def _new_block(file: _File, block: int) -> tuple[int, bool]:
    """Return the line of a new block, and True if it follows another block."""
    before = max((one.key[0] for one in file.placed if one.key[0] < block), default=None)
    if before is not None:
        line = max(one.line for one in file.placed if one.key[0] == before) + 1
        while not file.is_blank(line) and not file.texts[line - 1].startswith("#") and not file.is_placed(line):
            line += 1  # rows such as `unmatched` end the block
        return line, True
    after = min(file.placed, default=None)
    if after is None:
        return len(file.texts) + 1, True
    above = file.above(after.line)
    return (above if above > 1 else after.line), False


# -- text --------------------------------------------------------------------------------------------------------------


def insert(data: bytes, insertions: Iterable[Insertion], *, review: bool) -> bytes:
    """Return the file with the insertions, whose lines end as those of the file.

    ``review``: each row gets a line `REVIEW` above it.
    """
    lines = data.split(b"\n")
    end = b"\r" if lines[0].endswith(b"\r") else b""
    for insertion in sorted(insertions, reverse=True):
        texts = insertion.reviewed if review else insertion.lines
        lines[insertion.line - 1 : insertion.line - 1] = [text.encode() + end for text in texts]
    return b"\n".join(lines)


def row_lines(insertions: Iterable[Insertion]) -> list[tuple[int, str]]:
    """Return line and text of each row after `insert` with ``review``."""
    found, shift = [], 0
    for insertion in sorted(insertions):
        rows = set(insertion.rows)
        for text in insertion.lines:
            shift += 2 if text in rows else 1
            if text in rows:
                found.append((insertion.line + shift - 1, text))
    return found
