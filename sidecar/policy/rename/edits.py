"""Text edits of a rename. Only names change: paths, comments, titles, spaces and line ends stay to the byte."""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sidecar.policy.declarations import Section
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.name_checks import ANY
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.target import RenameTarget
from sidecar.policy.text.csv_reader import CsvRecord, read_lines, records
from sidecar.policy.text.toml_scanner import TomlScanner, TomlToken, line_starts

_TARGET = re.compile(r"(?:own +)?(?P<section>[^/ ]+)/(?P<action>[^/ ]+)")
"""First field of a line of routes.csv."""
_KEY = re.compile(r"""("|'|)(.*)\1""", re.DOTALL)
_STRING = re.compile(r'''("""|\'\'\'|"|')(.*)\1''', re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextEdit:
    """Replacement of ``start`` to ``end`` (characters of the file's text) by ``text``."""

    start: int
    end: int
    text: str


def apply_edits(text: str, edits: list[TextEdit]) -> str:
    """Return the text with all edits. They do not overlap."""
    for edit in sorted(edits, key=lambda one: (one.start, one.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def edits_of(file: str, text: str, target: RenameTarget, sections: Mapping[str, Section]) -> list[TextEdit]:
    """Return the edits of one file, by its bare name. ``sections``: as declared before the rename.

    A line for an action of all sections (``*``) gets a copy for the renamed one, if other sections keep the old action.
    """
    if file.endswith(".toml"):
        return list(_toml_edits(file, text, target))
    return list(_csv_edits(file, text, target, sections)) if file.endswith(".csv") else []


# -- CSV ---------------------------------------------------------------------------------------------------------------


def _csv_edits(file: str, text: str, target: RenameTarget, sections: Mapping[str, Section]) -> Iterator[TextEdit]:
    unused = DiagnosticSink()
    starts = line_starts(text)
    for record in records(read_lines(text.encode(), file, unused), file, unused):
        start = starts[record.line - 1] + (text.startswith("\ufeff") and record.line == 1)
        if target.kind is RenameKind.ACTION and file != "routes.csv" and _names_all_sections(record, target):
            yield from _of_all_sections(record, target, sections, text, start)
            continue
        for first, end, new in _fields(file, record, target):
            yield TextEdit(start + first, start + end, new)


def _fields(file: str, record: CsvRecord, target: RenameTarget) -> Iterator[tuple[int, int, str]]:
    """Yield first index, end and new text of each place in the line that holds the name."""
    if file == "routes.csv":
        yield from _in_target(record, target)
        return
    for index in _places(record, target):
        if record.fields[index : index + 1] == (target.old,):
            yield (*record.span(index), target.new)


def _places(record: CsvRecord, target: RenameTarget) -> tuple[int, ...]:
    """Return the indexes of the fields that may hold the name."""
    link = record.fields[0] == "g"
    match target.kind:
        case RenameKind.ROLE:
            return (1, 2) if link else (1,)
        case RenameKind.SECTION:
            return () if link else (2,)
        case RenameKind.ACTION:
            return (3,) if not link and record.fields[2:3] == (target.section,) else ()


def _in_target(record: CsvRecord, target: RenameTarget) -> Iterator[tuple[int, int, str]]:
    start, end = record.span(0)
    found = _TARGET.fullmatch(record.text[start:end])
    if found is None or target.kind is RenameKind.ROLE:
        return
    section, action = found["section"], found["action"]
    if target.kind is RenameKind.SECTION and section == target.old:
        yield start + found.start("section"), start + found.end("section"), target.new
    if target.kind is RenameKind.ACTION and (section, action) == (target.section, target.old):
        yield start + found.start("action"), start + found.end("action"), target.new


def _names_all_sections(record: CsvRecord, target: RenameTarget) -> bool:
    return record.fields[0] != "g" and record.fields[2:4] == (ANY, target.old)


def _of_all_sections(
    record: CsvRecord, target: RenameTarget, sections: Mapping[str, Section], text: str, start: int
) -> Iterator[TextEdit]:
    others = [one for one in sections.values() if one.id != target.section]
    section, action = record.span(2), record.span(3)
    exact = [TextEdit(*section, target.section), TextEdit(*action, target.new)]
    if any(target.old in one.actions for one in others):
        length = len(record.text)
        end = "\r\n" if text[start + length : start + length + 1] == "\r" else "\n"
        yield TextEdit(start + length, start + length, end + apply_edits(record.text, exact))
    elif any(target.new in one.actions for one in others):
        yield from (TextEdit(start + one.start, start + one.end, one.text) for one in exact)
    else:
        yield TextEdit(start + action[0], start + action[1], target.new)


# -- TOML --------------------------------------------------------------------------------------------------------------


def _toml_edits(file: str, text: str, target: RenameTarget) -> Iterator[TextEdit]:
    if file != ("roles.toml" if target.kind is RenameKind.ROLE else "sections.toml"):
        return
    clean = text.removeprefix("\ufeff").replace("\r\n", "\n")
    scanner = TomlScanner(clean)
    scanner.positions()
    places = [_KEY.fullmatch(clean, one.start, one.end) for one in scanner.keys if _is_key(one, target)]
    places += [_STRING.fullmatch(clean, one.start, one.end) for one in scanner.strings if _is_value(one, clean, target)]
    before, after = line_starts(clean), line_starts(text)
    for place in places:
        if place is not None:
            line = bisect_right(before, place.start(2)) - 1
            start = after[line] + place.start(2) - before[line] + (line == 0 and text.startswith("\ufeff"))
            yield TextEdit(start, start + len(place[2]), target.new)


def _is_key(token: TomlToken, target: RenameTarget) -> bool:
    match target.kind:
        case RenameKind.ROLE:
            return token.path == ("roles", target.old)
        case RenameKind.SECTION:
            return token.path == ("sections", target.old)
        case RenameKind.ACTION:
            return token.path == ("sections", target.section, "action_titles", target.old)


def _is_value(token: TomlToken, text: str, target: RenameTarget) -> bool:
    """Return whether a string is the renamed action: in the list of actions, or of a route."""
    if target.kind is not RenameKind.ACTION or token.path[:2] != ("sections", target.section):
        return False
    match token.path[2:]:
        case ("actions", int()) | ("routes", int(), "action"):
            return bool(tomllib.loads(f"k = {text[token.start : token.end]}")["k"] == target.old)
        case _:
            return False
