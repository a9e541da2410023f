"""Reader of needs.csv: lines that ask for conditions in cells. The file is optional.

A line can only take away: it never allows a cell. Lines that apply to one cell add up, and the conditions of one line
are alternatives. The order of lines has no meaning.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sidecar.policy.declarations import Section, Vocabulary
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, path_of
from sidecar.policy.name_checks import ANY, NameChecker, quoted
from sidecar.policy.needs import conditions as reader
from sidecar.policy.needs.conditions import Condition, ConditionKind, Conditions
from sidecar.policy.text.csv_reader import CsvRecord, read_lines, records

FILE: Final = "needs.csv"
MAX_LINES: Final = 200
OWN_SECTION: Final = "account-settings"
"""Section with the user's own factors and sessions. A need must not keep users from meeting needs."""
_FORM: Final = "needs, role|*, section|*, action|*, condition | condition"


class NeedLine(msgspec.Struct, frozen=True, gc=False):
    """Line of needs.csv: one of ``conditions`` must be met. ``role``, ``section`` and ``action`` may be `ANY`."""

    line: int
    role: str
    section: str
    action: str
    conditions: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{path_of(FILE)}:{self.line}"

    @property
    def text(self) -> str:
        return f"needs, {self.role}, {self.section}, {self.action}, {' | '.join(self.conditions)}"


@dataclass(frozen=True, slots=True)
class NeedBook:
    """Conditions of conditions.toml and lines of needs.csv."""

    conditions: Conditions = field(default_factory=Conditions)
    lines: tuple[NeedLine, ...] = ()


def applies_to(line: NeedLine, section: str, action: str) -> bool:
    """Return whether a line names a declared section and action. ``*`` as the section leaves out `OWN_SECTION`."""
    if line.action not in (ANY, action):
        return False
    return line.section == section or (line.section == ANY and section != OWN_SECTION)


def targets_of(line: NeedLine, sections: Mapping[str, Section]) -> Iterator[tuple[str, str]]:
    """Yield the section and action pairs of a line."""
    for section in sections.values() if line.section == ANY else (sections[line.section],):
        for action in section.actions:
            if applies_to(line, section.id, action):
                yield section.id, action


def read_needs(
    data: bytes | None, known: Conditions, vocabulary: Vocabulary, findings: DiagnosticSink
) -> tuple[NeedLine, ...]:
    """Return the lines. Errors in other lines are added to ``findings``. None is an absent file."""
    if data is None:
        return ()
    names = NameChecker(vocabulary, FILE, findings)
    first_lines: dict[tuple[object, ...], int] = {}
    found = []
    for record in records(read_lines(data, FILE, findings), FILE, findings):
        line = _read_line(record, known, names)
        if line is None:
            continue
        first = first_lines.setdefault((*record.fields[1:4], frozenset(line.conditions)), record.line)
        if first == record.line:
            found.append(line)
        else:
            findings.add(Code.DUPLICATE_RULE, FILE, record.at(0), f"duplicate of line {first}", "delete one of them")
    if len(found) > MAX_LINES:
        message = f"{len(found)} lines: more than {MAX_LINES}"
        findings.add(Code.POLICY_TOO_LARGE, FILE, (1, 1), message, "use * and inherited roles")
    return tuple(found)


def _read_line(record: CsvRecord, known: Conditions, names: NameChecker) -> NeedLine | None:
    kind = record.fields[0]
    if kind != "needs":
        if kind and not names.confusable(kind, record.at(0), "a line type", ("needs",)):
            message = f"{quoted(kind)} is not a line type"
            names.findings.add(Code.UNKNOWN_RULE_TYPE, FILE, record.at(0), message, "write needs")
        return None
    if not names.form(record, _FORM, 5):
        return None
    checks = (
        record.fields[1] == ANY or names.role(record, 1),
        names.target(record, 2, wildcards=True),
    )
    needed = read_alternatives(record, 4, record.fields[4], known, names)
    if not all(checks) or needed is None:
        return None
    _, role, section, action, _ = record.fields
    line = NeedLine(record.line, role, section, action, needed)
    return line if _may_name_section(line, record, known, names.findings) else None


def read_alternatives(
    record: CsvRecord, index: int, text: str, known: Conditions, names: NameChecker
) -> tuple[str, ...] | None:
    """Return the condition names in a text like ``A | B``, or None if one of them is invalid."""
    if not record.fields[index]:
        return None
    found: list[str] = []
    good = True
    for part in text.split("|"):
        name = part.strip(" ")
        if not name:
            message = "a condition is missing beside |"
            names.findings.add(Code.EMPTY_FIELD, names.file, record.at(index), message, "write A | B")
            good = False
        elif name in found:
            message = f"{quoted(name)} is listed twice"
            names.findings.add(Code.DUPLICATE_RULE, names.file, record.at(index), message, "delete one of them")
            good = False
        elif known.readable and name not in known.by_name:
            _report_unknown(record, index, name, known, names)
            good = False
        found.append(name)
    return tuple(found) if good else None


def _report_unknown(record: CsvRecord, index: int, name: str, known: Conditions, names: NameChecker) -> None:
    line, column = record.at(index)
    column += max(0, record.text[column - 1 :].find(name))
    if known.by_name:
        names.unknown(Code.UNKNOWN_CONDITION, name, (line, column), "a condition", tuple(known.by_name))
    else:
        hint = f"declare [conditions.{name}] in {path_of(reader.FILE)}"
        message = f"{quoted(name)} is not a condition: none is declared"
        names.findings.add(Code.UNKNOWN_CONDITION, names.file, (line, column), message, hint)


def _may_name_section(line: NeedLine, record: CsvRecord, known: Conditions, findings: DiagnosticSink) -> bool:
    """Return whether the section takes these conditions. `OWN_SECTION` takes only ``signed_in_within``."""
    if line.section != OWN_SECTION:
        return True
    other = next((one for one in _conditions(line, known) if one.kind is not ConditionKind.SIGNED_IN_WITHIN), None)
    if other is None:
        return True
    message = f'"{OWN_SECTION}" takes no need but signed_in_within, and "{other.name}" is {other.kind}'
    hint = "name another section: here users enrol the factors that needs ask for"
    findings.add(Code.OWN_SETTINGS_NEED, FILE, record.at(2), message, hint)
    return False


def _conditions(line: NeedLine, known: Conditions) -> list[Condition]:
    return [known.by_name[name] for name in line.conditions if name in known.by_name]
