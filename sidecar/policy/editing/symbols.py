"""Places of names in all files: roles, sections, actions and conditions, with their declarations.

The index is of buffers, also of invalid ones: a CSV line counts as far as it can be read. A TOML file that does not
parse has only the names in its headers.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.policy.editing.buffers import BOM, Buffer
from sidecar.policy.editing.fields import Field, fields_of, parts_of
from sidecar.policy.needs.rows import PREFIX
from sidecar.policy.rules import ANY
from sidecar.policy.text.toml_scanner import TomlScanner, TomlToken


class SymbolKind(StrEnum):
    """Kind of a declared name. The value is the noun for messages."""

    ROLE = "role"
    SECTION = "section"
    ACTION = "action"
    CONDITION = "condition"


TABLES: Final = {
    "roles.toml": ("roles", SymbolKind.ROLE),
    "sections.toml": ("sections", SymbolKind.SECTION),
    "conditions.toml": ("conditions", SymbolKind.CONDITION),
}
"""Per TOML file, the table of its declarations and their kind."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place of a name. ``section`` is that of an action; ``*`` matches the action of that name in all sections."""

    kind: SymbolKind
    name: str
    section: str
    file: str
    start: int
    end: int
    declares: bool = False

    def names(self, other: "Occurrence") -> bool:
        """Return whether both name the same thing."""
        if (self.kind, self.name) != (other.kind, other.name):
            return False
        return (
            self.kind is not SymbolKind.ACTION or self.section == other.section or ANY in (self.section, other.section)
        )


def occurrences(buffers: Mapping[str, Buffer]) -> list[Occurrence]:
    """Return all places of names in these files, in the order of the text."""
    return [found for buffer in buffers.values() for found in occurrences_in(buffer)]


def occurrences_in(buffer: Buffer) -> Iterable[Occurrence]:
    match buffer.file:
        case "policy.csv" | "needs.csv" | "expectations.csv" | "routes.csv":
            return [found for line in range(1, len(buffer.starts) + 1) for found in _in_line(buffer, line)]
        case "roles.toml" | "sections.toml" | "conditions.toml":
            return sorted(_in_toml(buffer), key=lambda one: one.start)
        case _:
            return ()


def at_offset(found: Iterable[Occurrence], file: str, offset: int) -> Occurrence | None:
    """Return the name at a place of a file; the end of a name counts too."""
    return next((one for one in found if one.file == file and one.start <= offset <= one.end), None)


# -- CSV ---------------------------------------------------------------------------------------------------------------


def _in_line(buffer: Buffer, line: int) -> Iterator[Occurrence]:
    fields = fields_of(buffer, line)
    if not fields:
        return
    if buffer.file == "routes.csv":
        yield from _route_target(buffer.file, fields[0])
    elif buffer.file == "policy.csv" and fields[0].text == "g":
        yield from _named(buffer.file, SymbolKind.ROLE, fields[1:3])
    else:
        yield from _named(buffer.file, SymbolKind.ROLE, fields[1:2])
        yield from _named(buffer.file, SymbolKind.SECTION, fields[2:3])
        if len(fields) > 3:
            yield from _named(buffer.file, SymbolKind.ACTION, fields[3:4], fields[2].text)
        if buffer.file != "policy.csv" and len(fields) > 4:
            yield from _conditions(buffer.file, fields[4])


def _named(file: str, kind: SymbolKind, fields: Iterable[Field], section: str = "") -> Iterator[Occurrence]:
    for field in fields:
        if field.text and field.text != ANY:
            yield Occurrence(kind, field.text, section, file, field.start, field.end)


def _conditions(file: str, field: Field) -> Iterator[Occurrence]:
    if file == "expectations.csv":
        if not field.text.startswith(PREFIX + " "):
            return
        field = Field(field.index, field.text[len(PREFIX) :], field.start + len(PREFIX), field.end)
    yield from _named(file, SymbolKind.CONDITION, parts_of(field, "|"))


def _route_target(file: str, field: Field) -> Iterator[Occurrence]:
    """Yield section and action of ``SECTION/ACTION``, also behind a word such as ``own``."""
    target = parts_of(field, " ")[-1]
    section, slash, action = target.text.partition("/")
    if slash:
        middle = target.start + len(section)
        yield Occurrence(SymbolKind.SECTION, section, "", file, target.start, middle)
        if action:
            yield Occurrence(SymbolKind.ACTION, action, section, file, middle + 1, target.end)


# -- TOML --------------------------------------------------------------------------------------------------------------


def scan(buffer: Buffer) -> TomlScanner | None:
    """Return the places of keys and strings, or None if the text is not TOML."""
    text = buffer.text.replace("\r\n", " \n")
    text = " " + text[1:] if text.startswith(BOM) else text
    try:
        tomllib.loads(text)
        scanner = TomlScanner(text + "\n")
        scanner.positions()
    except (ValueError, RecursionError):
        return None
    return scanner


def _in_toml(buffer: Buffer) -> Iterator[Occurrence]:
    table, kind = TABLES[buffer.file]
    scanner = scan(buffer)
    if scanner is None:
        yield from _in_headers(buffer, table, kind)
        return
    declared: set[str] = set()
    for key in scanner.keys:
        path = key.path
        if len(path) == 2 and path[0] == table and isinstance(path[1], str):
            yield _occurrence(buffer, kind, path[1], "", key, declares=path[1] not in declared)
            declared.add(path[1])
        elif kind is SymbolKind.SECTION and _is(path, "sections", str, "action_titles", str):
            yield _occurrence(buffer, SymbolKind.ACTION, str(path[3]), str(path[1]), key)
    if kind is SymbolKind.SECTION:
        yield from _actions(buffer, scanner)


def _actions(buffer: Buffer, scanner: TomlScanner) -> Iterator[Occurrence]:
    for token in scanner.strings:
        path = token.path
        listed = _is(path, "sections", str, "actions", int)
        if listed or _is(path, "sections", str, "routes", int, "action"):
            name = _inner(buffer, token)
            yield _occurrence(buffer, SymbolKind.ACTION, name, str(path[1]), token, declares=listed)


def _is(path: tuple[str | int, ...], *shape: str | type) -> bool:
    return len(path) == len(shape) and all(
        isinstance(part, expected) if isinstance(expected, type) else part == expected
        for part, expected in zip(path, shape, strict=True)
    )


def _inner(buffer: Buffer, token: TomlToken) -> str:
    text = buffer.text[token.start : token.end]
    return text[1:-1] if text[:1] in ('"', "'") else text


def _occurrence(
    buffer: Buffer, kind: SymbolKind, name: str, section: str, token: TomlToken, *, declares: bool = False
) -> Occurrence:
    quote = int(buffer.text[token.start : token.start + 1] in ('"', "'"))
    return Occurrence(kind, name, section, buffer.file, token.start + quote, token.end - quote, declares)


def _in_headers(buffer: Buffer, table: str, kind: SymbolKind) -> Iterator[Occurrence]:
    """Yield the names in the headers of a file that does not parse, and the actions of whole lines."""
    header = re.compile(rf"^\ufeff?[ \t]*\[{table}\.\"?([^\]\".\n]+)")
    seen: set[str] = set()
    current = ""
    for line in range(1, len(buffer.starts) + 1):
        text, start = buffer.line(line), buffer.line_start(line)
        match = header.match(text)
        if match is not None:
            current = match[1]
            yield Occurrence(
                kind, current, "", buffer.file, start + match.start(1), start + match.end(1), current not in seen
            )
            seen.add(current)
        elif kind is SymbolKind.SECTION and (listed := _ACTIONS.match(text)) is not None:
            for item in _QUOTED.finditer(text, listed.end()):
                span = (start + item.start(1), start + item.end(1))
                yield Occurrence(SymbolKind.ACTION, item[1], current, buffer.file, *span, declares=True)


_ACTIONS = re.compile(r"[ \t]*actions[ \t]*=[ \t]*\[")
_QUOTED = re.compile(r'"([^"]*)"')
