"""Positions of the protocol: lines end at LF, CR LF or CR, and columns count units of the negotiated encoding."""

import re
from bisect import bisect_right
from typing import Final

from lsprotocol import types

from sidecar.policy.editing.buffers import BufferEdit

_LINE_BREAK: Final = re.compile("\r\n|\n|\r")


class Positions:
    """Converter between offsets in a text and positions."""

    def __init__(self, text: str, encoding: str = types.PositionEncodingKind.Utf16) -> None:
        self._text = text
        self._encoding = types.PositionEncodingKind(encoding)
        self._starts = [0, *(match.end() for match in _LINE_BREAK.finditer(text))]
        self._simple = text.isascii() or self._encoding is types.PositionEncodingKind.Utf32

    def position(self, offset: int) -> types.Position:
        offset = min(max(offset, 0), len(self._text))
        line = bisect_right(self._starts, offset) - 1
        start = self._starts[line]
        units = offset - start if self._simple else sum(map(self._units, self._text[start:offset]))
        return types.Position(line, units)

    def offset(self, position: types.Position) -> int:
        """Return the offset of a position; of one behind the end of its line or of the text, that end."""
        if position.line >= len(self._starts):
            return len(self._text)
        start, end = self._starts[position.line], self._line_end(position.line)
        if self._simple:
            return min(start + position.character, end)
        rest = position.character
        for offset in range(start, end):
            rest -= self._units(self._text[offset])
            if rest < 0:
                return offset
        return end

    def range(self, start: int, end: int) -> types.Range:
        return types.Range(self.position(start), self.position(end))

    def edit(self, edit: BufferEdit) -> types.TextEdit:
        return types.TextEdit(self.range(edit.start, edit.end), edit.text)

    @property
    def whole(self) -> types.Range:
        return self.range(0, len(self._text))

    def _line_end(self, line: int) -> int:
        if line + 1 >= len(self._starts):
            return len(self._text)
        end = self._starts[line + 1]
        return end - 2 if self._text[max(0, end - 2) : end] == "\r\n" else end - 1

    def _units(self, character: str) -> int:
        code = ord(character)
        if self._encoding is types.PositionEncodingKind.Utf16:
            return 1 + (code > 0xFFFF)
        return 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
