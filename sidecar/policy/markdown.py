"""Inert Markdown: each value in a code span, in which no character has a meaning."""

from typing import Final

MAX_VALUE: Final = 200
"""Maximum characters of a value. Longer ones are cut."""

_ESCAPED: Final = frozenset("`|<>\\")


def code(text: str) -> str:
    """Return a code span. Backticks, pipes, angle brackets and line ends are escaped, so that none ends the span."""
    if not text:
        return "–"
    shown = text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
    return f"`{''.join(map(_inert, shown))}`"


def _inert(character: str) -> str:
    if character in _ESCAPED:
        return f"\\x{ord(character):02x}"
    return character if character.isprintable() else character.encode("unicode_escape", "replace").decode()


def table_row(*cells: str) -> str:
    """Return one line of a table. The cells are Markdown."""
    return f"| {' | '.join(cells)} |"


def table_head(*names: str) -> list[str]:
    return [table_row(*names), table_row(*("---" for _ in names))]
