"""Text of the policy files in an editor, with places as offsets in characters, and edits of them.

A diagnostic has a line and a column; an editor has units of its own. Offsets are between both.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class BufferEdit:
    """Replacement of the characters from ``start`` to before ``end`` in a file (its bare name)."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Buffer:
    """Text of one file. Lines end at LF, as for the compiler; a byte order mark has no column."""

    file: str
    text: str

    @cached_property
    def starts(self) -> list[int]:
        """Offset of each line's first character."""
        starts, at = [int(self.text.startswith(BOM))], 0
        while (at := self.text.find("\n", at) + 1) > 0:
            starts.append(at)
        return starts

    def offset(self, line: int, column: int = 1) -> int:
        """Return the offset of a diagnostic's position, or the nearest one inside the line."""
        if line > len(self.starts):
            return len(self.text)
        return min(self.starts[max(line, 1) - 1] + max(column, 1) - 1, self.line_end(line))

    def line_of(self, offset: int) -> int:
        return max(1, bisect_right(self.starts, offset))

    def line_start(self, line: int) -> int:
        return self.starts[line - 1] if line <= len(self.starts) else len(self.text)

    def line_end(self, line: int) -> int:
        """Return the offset of the line's end, before LF or CR LF."""
        end = self.starts[line] - 1 if line < len(self.starts) else len(self.text)
        return end - 1 if end > self.line_start(line) and self.text[end - 1] == "\r" else end

    def line(self, line: int) -> str:
        return self.text[self.line_start(line) : self.line_end(line)]

    @property
    def line_break(self) -> str:
        """Line end of the file, of which the first one decides."""
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"

    @property
    def last_line(self) -> int:
        """Number of the last line with text, at least 1."""
        return self.line_of(len(self.text.rstrip("\r\n")))

    def replace(self, start: int, end: int, text: str) -> BufferEdit:
        return BufferEdit(self.file, start, end, text)

    def delete_line(self, line: int) -> BufferEdit:
        """Return the edit that deletes a line with its line end."""
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        return self.replace(self.line_start(line), end, "")

    def insert_lines(self, line: int, lines: Iterable[str]) -> BufferEdit:
        """Return the edit that writes lines below a line; 0 is the file's start."""
        block = "".join(text + self.line_break for text in lines)
        if 0 < line < len(self.starts) or line == 0:
            at = self.starts[line]
            return self.replace(at, at, block)
        before = "" if not self.text or self.text.endswith("\n") else self.line_break
        return self.replace(len(self.text), len(self.text), before + block)

    def append_lines(self, lines: Iterable[str]) -> BufferEdit:
        return self.insert_lines(len(self.starts), lines)


def apply_edits(texts: Mapping[str, str], edits: Iterable[BufferEdit]) -> dict[str, str]:
    """Return the texts after edits that do not overlap. Edits of one place apply in their order."""
    result = dict(texts)
    by_file: dict[str, list[BufferEdit]] = {}
    for edit in edits:
        by_file.setdefault(edit.file, []).append(edit)
    for file, of_file in by_file.items():
        text, parts, at = result.get(file, ""), [], 0
        for edit in sorted(of_file, key=lambda one: (one.start, one.end)):
            if edit.start < at:
                raise ValueError(f"{file}: edits overlap at character {edit.start}")
            parts += [text[at : edit.start], edit.text]
            at = edit.end
        result[file] = "".join((*parts, text[at:]))
    return result
