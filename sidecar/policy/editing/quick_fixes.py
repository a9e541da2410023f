"""Fixes for findings: for each hint that has an edit, that edit. Hints that leave a choice of words have none."""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.domain.users import ADMINISTRATOR
from sidecar.policy.diagnostics import MODEL_FILE
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.editing import csv_fixes, own_fixes, toml_fixes
from sidecar.policy.editing.buffers import BufferEdit
from sidecar.policy.editing.fields import fields_of
from sidecar.policy.editing.findings import Finding, Fix, Fixer, delete_line, fix
from sidecar.policy.editing.placing import insert_rows
from sidecar.policy.model import MODEL, definitions

__all__ = ["Finding", "Fix", "fixes_of"]

_NEAREST: Final = re.compile(r'did you mean "([^"]+)"\?')
_KNOWN: Final = re.compile(r"(?:known|its actions): ((?:[\w/-]+, )*[\w/-]+)")
_MAX_CHOICES: Final = 8
_ROWS: Final = re.compile(r"(?:currently|example): (.+)")
_ADD: Final = re.compile(r"add ((?:p|allow|deny), [^()]+?) to (policy|expectations)\.csv")
_WRITE_HERE: Final = re.compile(r"write ((?:own )?\S+) here(?:, with the braces written out, as in (\S+))?")


def fixes_of(finding: Finding) -> list[Fix]:
    """Return the fixes of a finding, the most likely first."""
    found = list(_nearest(finding))
    fixer = FIXERS.get(finding.code)
    if fixer is not None:
        found += fixer(finding)
    return [
        one for one in found if any(_changes(finding, edit.file, edit.start, edit.end, edit.text) for edit in one.edits)
    ]


def _changes(finding: Finding, file: str, start: int, end: int, text: str) -> bool:
    return finding.other(file).text[start:end] != text


def _nearest(finding: Finding) -> Iterator[Fix]:
    """Write the name that a hint suggests."""
    match, known = _NEAREST.search(finding.hint), _KNOWN.fullmatch(finding.hint)
    if finding.hint.endswith('delete the line "# review"'):
        yield from fix('Delete the line "# review"', finding.buffer.delete_line(finding.line), certain=True)
    if known is not None and known[1].count(",") < _MAX_CHOICES:
        for name in known[1].split(", "):
            yield from fix(f'Write "{name}"', *finding.replace_name(name))
    if match is None:
        return
    edits = list(finding.replace_name(match[1]))
    if finding.code is Code.UNKNOWN_KEY and finding.message.endswith(" of the file"):
        edits = list(toml_fixes.rename_table(finding, match[1]))
    header = re.match(r"\[(.+)\] is not a section of the model", finding.message)
    if header is not None:
        at = finding.find(header[1])
        edits = [] if at is None else [finding.buffer.replace(at, at + len(header[1]), match[1])]
    yield from fix(f'Write "{match[1]}"', *edits, certain=True)


# -- tests of the policy -----------------------------------------------------------------------------------------------


def _failed_test(finding: Finding) -> Iterator[Fix]:
    """Expect the decision of the policy, or change the policy."""
    fields, here = finding.fields, _WRITE_HERE.search(finding.hint)
    if here is not None and fields:
        edits = []
        for line, _ in finding.places or ((finding.line, 1),):
            written = list(fields_of(finding.buffer, line))
            for field, text in ((written[:1], here[1]), (written[2:3], here[2])):
                edits += [finding.buffer.replace(one.start, one.end, text) for one in field if text]
        yield from fix(f"Write {here[1]} here", *edits)
    for match in _ADD.finditer(finding.hint):
        file = f"{match[2]}.csv"
        rows = [row for row in match[1].split("; ") if not row.startswith("and ")]
        title = f"Add {rows[0]}" if len(rows) == 1 else f"Add {len(rows)} lines"
        yield from fix(f"{title} to {file}", *insert_rows(finding.other(file), rows))
    if finding.hint.startswith("delete the name here") and len(fields) == 5:
        yield from _unrelated_condition(finding)


def _unrelated_condition(finding: Finding) -> Iterator[Fix]:
    named = re.search(r'names "([^"]+)"', finding.message)
    field = finding.fields[4]
    names = [part.strip(" ") for part in field.text.removeprefix("without ").split("|")]
    kept = [name for name in names if named is not None and name != named[1]]
    if kept and named is not None:
        edit = finding.buffer.replace(field.start, field.end, f"without {' | '.join(kept)}")
        yield from fix(f'Delete "{named[1]}"', edit)
    elif named is not None:
        yield from delete_line(finding)


def _missing_test(file: str) -> Fixer:
    def fixer(finding: Finding) -> Iterator[Fix]:
        match = _ROWS.fullmatch(finding.hint)
        rows = [] if match is None else match[1].split("; ")
        if rows and not rows[-1].startswith("and "):
            title = f"Add {rows[0]}" if len(rows) == 1 else f"Add {len(rows)} rows to {file}"
            yield from fix(title, *insert_rows(finding.other(file), rows))

    return fixer


# -- invariants --------------------------------------------------------------------------------------------------------


def _locked_out(finding: Finding) -> Iterator[Fix]:
    """Give the administrator back what R26 asks for."""
    rule = re.match(r"add:? (p, [\w-]+, [\w*-]+, [\w*-]+, allow)", finding.hint)
    declared = re.fullmatch(r"declare ([\w-]+)(?:/([\w-]+))?", finding.hint)
    if rule is not None:
        edits = insert_rows(finding.other("policy.csv"), [rule[1]])
        yield from fix(f"Add {rule[1]}", *edits, *_expected(finding))
    elif finding.hint.startswith("delete the deny"):
        edits = [finding.buffer.delete_line(finding.line), *_expected(finding)]
        yield from fix(f"Delete line {finding.line}", *edits)
    elif finding.hint.startswith("delete assignable = false"):
        yield from toml_fixes.make_assignable(finding, ADMINISTRATOR)
    elif declared is not None:
        yield from toml_fixes.declare(finding, declared[1], declared[2])


def _expected(finding: Finding) -> list[BufferEdit]:
    """Return the edits of the expectation that a hint asks for beside the rule."""
    row = re.search(r"expectations\.csv: (allow|deny), ([\w-]+), ([\w-]+), ([\w-]+)$", finding.hint)
    return [] if row is None else csv_fixes.expect(finding, *row.groups())


# -- model.conf --------------------------------------------------------------------------------------------------------


def _model(finding: Finding) -> Iterator[Fix]:
    buffer, line = finding.buffer, finding.buffer.line(finding.line)
    start = buffer.line_start(finding.line)
    definition = re.fullmatch(r"(write|add) (\w = .+)", finding.hint)
    if definition is not None and definition[1] == "write":
        indent = len(line) - len(line.lstrip())
        last = finding.line
        while buffer.line(last).rstrip().endswith("\\") and last < len(buffer.starts):
            last += 1
        edit = buffer.replace(start + indent, buffer.line_end(last), definition[2])
        yield from fix(f"Write {definition[2]}", edit, certain=True)
    elif definition is not None:
        yield from _add_definition(finding, definition[2])
    elif finding.hint == "keep one":
        yield from delete_line(finding)
    elif finding.hint == "delete it" and line.rstrip().endswith("\\"):
        end = start + len(line.rstrip()) - 1
        yield from fix("Delete the backslash", buffer.replace(end, end + 1, ""))
    elif finding.hint.startswith("write [name]") and line.strip().startswith("["):
        name = re.match(r"\s*\[\s*\w*", line)
        if name is not None:
            yield from fix("Close the bracket", buffer.replace(start + name.end(), start + len(line), "]"))
    yield from fix("Write the model that ships", buffer.replace(0, len(buffer.text), MODEL))


def _add_definition(finding: Finding, definition: str) -> Iterator[Fix]:
    """Write a missing definition below its header, or with it at the end."""
    section = next((name for name, text in definitions() if text == definition), "")
    if finding.buffer.line(finding.line).strip() == f"[{section}]":
        edit = finding.buffer.insert_lines(finding.line, [definition])
    else:
        edit = finding.buffer.append_lines(["", f"[{section}]", definition])
    yield from fix(f"Add {definition}", edit, certain=True)


FIXERS: Final[dict[Code, Fixer]] = {
    **csv_fixes.FIXERS,
    **toml_fixes.FIXERS,
    **own_fixes.FIXERS,
    **{code: _model for code in Code if code.value.startswith(MODEL_FILE.partition(".")[0] + "-")},
    Code.FAILED_EXPECTATION: _failed_test,
    Code.FAILED_ROUTE: _failed_test,
    Code.MISSING_EXPECTATION: _missing_test("expectations.csv"),
    Code.UNTESTED_NEED: _missing_test("expectations.csv"),
    Code.UNTESTED_ROUTE: _missing_test("routes.csv"),
    Code.ADMINISTRATOR_LOCKED_OUT: _locked_out,
}
