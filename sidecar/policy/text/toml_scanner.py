"""Scanner of TOML text: the position of each table and key, and the place of each key and string.

`tomllib` parses the text but reports no positions. The scanner reads the same text again.
"""

import re
import tomllib
from bisect import bisect_right
from collections import Counter
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and indexes from the root to an element."""


class TomlToken(NamedTuple):
    """Key or string in the text: its path, and its first index and the index after it. Quotes are included."""

    path: Path
    start: int
    end: int


def line_starts(text: str) -> list[int]:
    """Return the index of each line's first character."""
    return [0, *(match.end() for match in re.finditer("\n", text))]


_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\(?s:.)|"{1,2}(?!"))*"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL
)
_OTHER = re.compile(r"[^,\]}\n#]*")


class TomlScanner:
    """Scanner that records the positions of keys. `tomllib` has accepted the text, or the text is cut at its error."""

    def __init__(self, text: str) -> None:
        self.repeated: list[tuple[str, tuple[int, int]]] = []
        self.keys: list[TomlToken] = []
        self.strings: list[TomlToken] = []
        self._text = text
        self._index = 0
        self._starts = line_starts(text)
        self._positions: dict[Path, tuple[int, int]] = {}
        self._defined: set[Path] = set()
        self._items: Counter[Path] = Counter()

    def positions(self) -> dict[Path, tuple[int, int]]:
        table: Path = ()
        self._skip(_BLANK)
        while self._index < len(self._text):
            if self._text[self._index] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._positions

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._index)
        if match is None or (not match[0] and pattern not in (_BLANK, _SPACE, _OTHER)):
            self._index = len(self._text)  # only in text that was cut at an error: no further keys
            return ""
        self._index = match.end()
        return match[0]

    def _peek(self) -> str:
        return self._text[self._index : self._index + 1]

    def _here(self) -> tuple[int, int]:
        line = bisect_right(self._starts, self._index)
        return (line, self._index - self._starts[line - 1] + 1)

    def _define(self, path: Path, at: tuple[int, int]) -> None:
        if path in self._defined:
            self.repeated.append((str(path[-1]), at))
        self._defined.add(path)
        self._positions.setdefault(path, at)

    def _header(self) -> Path:
        at, double = self._here(), self._text.startswith("[[", self._index)
        self._index += 2 if double else 1
        path: Path = ()
        keys = self._keys()
        for key, start, end in keys:
            path = (*self._last_item(path), key)
            self.keys.append(TomlToken(path, start, end))
            self._positions.setdefault(path, at)
        if double:
            path = (*path, self._items[path])
            self._items[path[:-1]] += 1
        self._define(path, at)
        self._index += 2 if double else 1
        return path

    def _last_item(self, path: Path) -> Path:
        return (*path, self._items[path] - 1) if path in self._items else path

    def _keys(self) -> list[tuple[str, int, int]]:
        """Return the parts of a dotted key with their places, and skip the space after it."""
        keys = []
        while True:
            self._skip(_SPACE)
            start = self._index
            key = self._skip(_KEY)
            name = str(tomllib.loads(f"k = {key}")["k"]) if key[:1] in ('"', "'") and key else key
            keys.append((name, start, start + len(key)))
            self._skip(_SPACE)
            if self._peek() != ".":
                return keys
            self._index += 1

    def _pair(self, table: Path) -> None:
        at, path = self._here(), table
        keys = self._keys()
        for key, start, end in keys:
            path = (*path, key)
            self.keys.append(TomlToken(path, start, end))
            self._positions.setdefault(path, at)
        self._define(path, at)
        self._index += 1  # equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._peek()
        if opening in ("[", "{"):
            self._index += 1
            self._items_of(path, "]" if opening == "[" else "}")
        elif opening in ('"', "'"):
            start = self._index
            self.strings.append(TomlToken(path, start, start + len(self._skip(_STRING))))
        else:
            self._skip(_OTHER)

    def _items_of(self, path: Path, closing: str) -> None:
        index = 0
        self._skip(_BLANK)
        while self._index < len(self._text) and self._peek() != closing:
            if closing == "]":
                self._positions.setdefault((*path, index), self._here())
                self._value((*path, index))
            else:
                self._pair(path)
            index += 1
            self._skip(_BLANK)
            if self._peek() == ",":
                self._index += 1
                self._skip(_BLANK)
        self._index += 1
