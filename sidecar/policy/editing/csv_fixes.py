"""Fixes in the lines of the CSV files: characters, fields, names and rules."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.editing.buffers import BufferEdit
from sidecar.policy.editing.fields import Field, fields_of, parts_of
from sidecar.policy.editing.findings import Finding, Fix, Fixer, delete_line, delete_other_line, fix
from sidecar.policy.editing.placing import insert_rows
from sidecar.policy.editing.toml_fixes import make_assignable
from sidecar.policy.needs.rows import PREFIX
from sidecar.policy.rules import ANY
from sidecar.policy.text.csv_reader import comment_start


def _end_with_line_end(finding: Finding) -> Iterator[Fix]:
    buffer = finding.buffer
    end = len(buffer.text)
    yield from fix("End the file with a line end", buffer.replace(end, end, buffer.line_break), certain=True)


def _delete_mark(finding: Finding) -> Iterator[Fix]:
    if finding.buffer.starts[0]:
        yield from fix("Delete the byte order mark", finding.buffer.replace(0, 1, ""), certain=True)


def _delete_character(finding: Finding) -> Iterator[Fix]:
    at = finding.offset
    if at < len(finding.buffer.text):
        title = f"Delete U+{ord(finding.buffer.text[at]):04X}"
        yield from fix(title, finding.buffer.replace(at, at + 1, ""), certain=True)


def _replace_tabs(finding: Finding) -> Iterator[Fix]:
    buffer, line = finding.buffer, finding.buffer.line(finding.line)
    indent = len(line) - len(line.lstrip(" \t"))
    between = " " if "," in line or line.lstrip().startswith("#") else ", "
    text = re.sub(r" *\t[ \t]*", between, line[indent:].rstrip(" \t"))
    start = buffer.line_start(finding.line)
    yield from fix("Replace the tabs", buffer.replace(start, start + len(line), text), certain=True)


def _replace_sign(finding: Finding) -> Iterator[Fix]:
    """Write the sign that a character looks like, such as a comma or ``*``."""
    sign = re.fullmatch(r"write ([,#\"])", finding.hint)
    at = finding.offset
    if sign is not None and at < len(finding.buffer.text) and not finding.buffer.text[at].isascii():
        buffer, false = finding.buffer, finding.buffer.text[at]
        places = (place for place in range(at, buffer.line_end(finding.line)) if buffer.text[place] == false)
        edits = [buffer.replace(place, place + 1, sign[1]) for place in places]
        yield from fix(f"Write {sign[1]}", *edits, certain=True)
    elif finding.hint.startswith("write *"):
        yield from _write_star(finding)


def _write_star(finding: Finding) -> Iterator[Fix]:
    field = finding.field
    if field is not None and finding.hint.startswith("write *, *"):
        action = next((one for one in finding.fields if one.index == field.index + 1), None)
        if action is not None:
            yield from fix("Write * for all actions", finding.buffer.replace(action.start, action.end, ANY))
    elif field is not None and finding.hint.startswith("write *"):
        yield from fix("Write * for all", finding.buffer.replace(field.start, field.end, ANY))


def _resolve_conflict(finding: Finding) -> Iterator[Fix]:
    """Keep one side of a merge conflict, or delete a single marker."""
    buffer, lines = finding.buffer, range(finding.line, len(finding.buffer.starts) + 1)
    marks = {sign: next((n for n in lines if buffer.line(n).startswith(sign * 7)), None) for sign in "|=>"}
    middle, last = marks["="], marks[">"]
    if middle is None or last is None or not buffer.line(finding.line).startswith("<"):
        yield from delete_line(finding)
        return
    start, end = buffer.line_start(finding.line), buffer.line_start(last + 1)
    original = marks["|"]
    upper_end = original if original is not None and original < middle else middle
    upper = buffer.text[buffer.line_start(finding.line + 1) : buffer.line_start(upper_end)]
    lower = buffer.text[buffer.line_start(middle + 1) : buffer.line_start(last)]
    yield from fix("Keep the upper side", buffer.replace(start, end, upper))
    yield from fix("Keep the lower side", buffer.replace(start, end, lower))


def _move_comment(finding: Finding) -> Iterator[Fix]:
    buffer, line = finding.buffer, finding.buffer.line(finding.line)
    at = comment_start(line)
    if at is not None:
        start = buffer.line_start(finding.line)
        text = f"{line[at:]}{buffer.line_break}{line[:at].rstrip()}"
        yield from fix(
            "Move the comment to the line above", buffer.replace(start, start + len(line), text), certain=True
        )


def _write_kind(finding: Finding) -> Iterator[Fix]:
    """Write the kind of a line: ``p``, ``g``, ``needs``, a comment, or commas between the fields."""
    buffer, fields = finding.buffer, finding.fields
    if not fields:
        return
    kind = fields[0]
    match finding.hint:
        case "a comment begins with #":
            mark = re.match(r"//|--|[;*%]+", kind.text)
            end = kind.start + (mark.end() if mark else 0)
            yield from fix("Make it a comment", buffer.replace(kind.start, end, "#"), certain=True)
        case "separate the fields with commas":
            line = re.sub(r"\s*;\s*|,\s*|\s+", ", ", buffer.line(finding.line).strip())
            start, end = buffer.line_start(finding.line), buffer.line_end(finding.line)
            yield from fix("Separate the fields with commas", buffer.replace(start, end, line), certain=True)
        case "the line lacks its p or g":
            first = "g" if len(fields) == 2 else "p"
            yield from fix(f"Begin the line with {first}", buffer.replace(kind.start, kind.start, f"{first}, "))
        case "write needs":
            yield from fix("Write needs", buffer.replace(kind.start, kind.end, "needs"), certain=True)
        case _:
            return


def _delete_commas(finding: Finding) -> Iterator[Fix]:
    buffer, line = finding.buffer, finding.buffer.line(finding.line)
    start = buffer.line_start(finding.line)
    kept = len(line.rstrip(" ,"))
    if kept == len(line):  # a comment follows
        start, kept, line = finding.offset, 0, line[:1]
    yield from fix("Delete the trailing comma", buffer.replace(start + kept, start + len(line), ""), certain=True)


def _write_effect(finding: Finding) -> Iterator[Fix]:
    field = finding.field
    if field is not None and finding.hint == "write allow or deny":
        for effect in ("allow", "deny"):
            yield from fix(f"Write {effect}", finding.buffer.replace(field.start, field.end, effect))


def _swap_columns(finding: Finding) -> Iterator[Fix]:
    """Swap the field with its neighbour, which names the other kind."""
    fields, field = finding.fields, finding.field
    if field is None or "are the columns in order?" not in finding.hint:
        return
    for other in fields[max(field.index - 1, 1) : field.index + 2]:
        if other.index != field.index:
            edits = (
                finding.buffer.replace(field.start, field.end, other.text),
                finding.buffer.replace(other.start, other.end, field.text),
            )
            yield from fix(f"Swap {field.text} and {other.text}", *edits)


def _delete_all_places(finding: Finding) -> Iterator[Fix]:
    """Delete the lines of all places, for a name that is declared no more."""
    lines = sorted({line for line, _ in finding.places} or {finding.line})
    if finding.hint.startswith("delete the lines"):
        edits = [finding.buffer.delete_line(line) for line in lines]
        yield from fix(f"Delete {len(lines)} lines", *edits)


def _unknown_name(finding: Finding) -> Iterator[Fix]:
    yield from _swap_columns(finding)
    yield from _delete_all_places(finding)


# -- alternatives of needs ---------------------------------------------------------------------------------------------


def _without_part(finding: Finding, field: Field, keep: Iterable[str]) -> Iterator[BufferEdit]:
    prefix = PREFIX + " " if field.text.startswith(PREFIX + " ") else ""
    text = " | ".join(keep)
    if text:
        yield finding.buffer.replace(field.start, field.end, prefix + text)


def _conditions(field: Field) -> list[str]:
    return [part.text for part in parts_of(field, "|")]


def _duplicate(finding: Finding) -> Iterator[Fix]:
    """Delete a duplicate line, or a condition that is listed twice."""
    if not finding.name:
        yield from delete_line(finding)
        return
    field = finding.field
    if field is not None:
        text = field.text.removeprefix(PREFIX + " ")
        names = dict.fromkeys(part.strip(" ") for part in text.split("|"))
        yield from fix("List it once", *_without_part(finding, field, names), certain=True)


def _empty_alternative(finding: Finding) -> Iterator[Fix]:
    field = finding.field
    if field is not None and finding.hint == "write A | B":
        names = [name for name in (part.strip(" ") for part in field.text.split("|")) if name]
        yield from fix("Delete the empty alternative", *_without_part(finding, field, names), certain=True)


def _implied(finding: Finding) -> Iterator[Fix]:
    fields = finding.fields
    if len(fields) < 5:
        return
    names = [name for name in _conditions(fields[4]) if name != finding.name]
    shorter = tuple(_without_part(finding, fields[4], names))
    yield from fix(f'Delete "{finding.name}"', *shorter)
    row = ", ".join((*(one.text for one in fields[:4]), finding.name))
    if shorter:
        line = finding.buffer.insert_lines(finding.line, [row])
        yield from fix(f'Write "{finding.name}" in a line of its own', *shorter, line)


# -- rules without their apparent effect -------------------------------------------------------------------------------


def _overriding_deny(finding: Finding) -> Iterator[Fix]:
    yield from delete_line(finding)
    yield from delete_other_line(finding)
    cell = re.search(r": (\S+) on (\S+)/(\S+)", finding.message)
    expectations = finding.other("expectations.csv")
    if cell is not None and expectations.text:
        yield from fix("Expect the deny in expectations.csv", *expect(finding, "deny", *cell.groups()))


def expect(finding: Finding, effect: str, role: str, section: str, action: str) -> list[BufferEdit]:
    """Return the edits that make an exact row of a cell expect this effect."""
    buffer = finding.other("expectations.csv")
    for line in range(1, len(buffer.starts) + 1):
        fields = fields_of(buffer, line)
        if len(fields) == 4 and [one.text for one in fields[1:]] == [role, section, action]:
            return [buffer.replace(fields[0].start, fields[0].end, effect)]
    return insert_rows(buffer, [f"{effect}, {role}, {section}, {action}"])


def _unreachable(finding: Finding) -> Iterator[Fix]:
    yield from delete_line(finding)
    if finding.hint.startswith("make the role assignable"):
        yield from make_assignable(finding, finding.name)
    else:
        yield from delete_other_line(finding)


def _contradicting(finding: Finding) -> Iterator[Fix]:
    yield from delete_line(finding)
    yield from delete_other_line(finding)


FIXERS: Final[dict[Code, Fixer]] = {
    Code.TRUNCATED_FILE: _end_with_line_end,
    Code.BYTE_ORDER_MARK: _delete_mark,
    Code.CONTROL_CHARACTER: _delete_character,
    Code.INVISIBLE_CHARACTER: _delete_character,
    Code.TAB: _replace_tabs,
    Code.LOOKALIKE_CHARACTER: _replace_sign,
    Code.MISPLACED_WILDCARD: _write_star,
    Code.MERGE_CONFLICT: _resolve_conflict,
    Code.INLINE_COMMENT: _move_comment,
    Code.UNKNOWN_RULE_TYPE: _write_kind,
    Code.TRAILING_COMMA: _delete_commas,
    Code.EMPTY_FIELD: _empty_alternative,
    Code.INVALID_EFFECT: _write_effect,
    Code.UNKNOWN_ROLE: _unknown_name,
    Code.UNKNOWN_SECTION: _unknown_name,
    Code.UNKNOWN_ACTION: _unknown_name,
    Code.UNKNOWN_CONDITION: _unknown_name,
    Code.DUPLICATE_RULE: _duplicate,
    Code.ROLE_CYCLE: delete_line,
    Code.SHADOWED_RULE: delete_line,
    Code.UNREACHABLE_RULE: _unreachable,
    Code.DENY_OVERRIDES_ALLOW: _overriding_deny,
    Code.DUPLICATE_EXPECTATION: delete_line,
    Code.CONTRADICTING_EXPECTATION: _contradicting,
    Code.INEFFECTIVE_NEED: delete_line,
    Code.UNMEETABLE_NEED: delete_line,
    Code.IMPLIED_ALTERNATIVE: _implied,
}
