"""Checks of compiled needs: lines without effect, needs that no session meets, and the lockout of R26."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Final

from sidecar.domain.sessions import Method
from sidecar.domain.users import ADMINISTRATOR
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation
from sidecar.policy.needs import conditions as conditions_file
from sidecar.policy.needs.lines import FILE, NeedLine
from sidecar.policy.needs.partition import Partition
from sidecar.policy.needs.table import Needs, RequirementBuilder, TooManyClassesError, alternatives, lines_by_cell

ENROLLABLE: Final = frozenset(Method) - {Method.OUTSIDE, Method.SECOND_FACTOR}
"""Methods that signing in here can prove. Passkeys may be off: see `reach`."""
KEPT: Final = ("users", "manage")
"""Cell that an administrator must be able to reach by signing in."""


def check_needs(generation: Generation, findings: DiagnosticSink) -> None:
    """Report lines that never matter or that no session meets, and lost access of the administrator."""
    needs = generation.needs
    _warn_unused(needs, findings)
    if not needs.active:
        return
    _warn_implied(needs, findings)
    try:
        _check_lines(generation, findings)
    except TooManyClassesError as error:
        findings.add(Code.POLICY_TOO_LARGE, FILE, (1, 1), str(error), "use fewer lines for one cell")
    _check_administrator(generation, findings)


def _warn_unused(needs: Needs, findings: DiagnosticSink) -> None:
    used = {name for line in needs.lines for name in line.conditions}
    for condition in needs.conditions.values():
        if condition.name not in used:
            message = f'no line of needs.csv asks for "{condition.name}"'
            at = (condition.line, 1)
            findings.add(
                Code.UNUSED_CONDITION,
                conditions_file.FILE,
                at,
                message,
                "delete it, or write a line in needs.csv and its row in expectations.csv",
            )


def _warn_implied(needs: Needs, findings: DiagnosticSink) -> None:
    partition = needs.partition
    names = [condition.name for condition in partition.dimensions.conditions]
    met = {name: partition.meeting(number) & partition.possible for number, name in enumerate(names)}
    for line in needs.lines:
        for index, name in enumerate(line.conditions):
            wider = next(
                (
                    other
                    for place, other in enumerate(line.conditions)
                    if other != name and not met[name] & ~met[other] and (met[name] != met[other] or place < index)
                ),
                None,
            )
            if wider is not None:
                message = f'"{name}" is redundant: it implies "{wider}", and one of them is enough'
                hint = "delete it, or write it in a line of its own"
                findings.add(Code.IMPLIED_ALTERNATIVE, FILE, (line.line, 1), message, hint)


# -- lines -------------------------------------------------------------------------------------------------------------


def _check_lines(generation: Generation, findings: DiagnosticSink) -> None:
    """Report each line that changes no allowed cell of an assignable role, or that makes one impossible."""
    needs = generation.needs
    possible = needs.partition.possible
    builder = RequirementBuilder(needs.partition, alternatives(needs.packed.dimensions, needs.lines))
    idle = set(range(len(needs.lines)))
    named: set[int] = set()
    impossible: dict[int, str] = {}
    for applying, cell in _line_sets(generation).items():
        named.update(applying)
        classes = builder.classes_of(applying) & possible
        if not classes:
            impossible.setdefault(_culprit(builder, applying, possible), cell)
            idle.difference_update(applying)
        for index in idle.intersection(applying):
            without = builder.classes_of([other for other in applying if other != index])
            if without & possible != classes:
                idle.discard(index)
    for index, line in enumerate(needs.lines):
        if index in impossible:
            message = f"no session could ever meet this need and the others of {impossible[index]}"
            hint = "the conditions exclude each other: delete one of the lines"
            findings.add(Code.UNMEETABLE_NEED, FILE, (line.line, 1), message, hint)
        elif index in idle:
            _report_idle(line, index in named, findings)


def _report_idle(line: NeedLine, named: bool, findings: DiagnosticSink) -> None:
    message = "this line never matters: no rule allows a cell that it names"
    hint = "delete it, or name the cell of an assignable role"
    if named:
        message = "this line never matters: its cells already need as much"
        hint = "delete it, or the line that asks for more"
    findings.add(Code.INEFFECTIVE_NEED, FILE, (line.line, 1), message, hint)


def _line_sets(generation: Generation) -> Mapping[tuple[int, ...], str]:
    """Return the sets of lines that apply to allowed cells of assignable roles, each with one of the cells."""
    needs, sections = generation.needs, generation.sections
    columns = [(section.id, action) for section in sections.values() for action in section.actions]
    roles = list(generation.roles.values())
    found: dict[tuple[int, ...], str] = {}
    for cell, applying in lines_by_cell(needs.lines, generation.roles, sections, generation.closures, generation.cells):
        role = roles[cell // len(columns)]
        section, action = columns[cell % len(columns)]
        if role.assignable:
            found.setdefault(applying, f"{role.id} on {section}/{action}")
    return found


def _culprit(builder: RequirementBuilder, applying: Iterable[int], possible: int) -> int:
    """Return the last line without which the others could be met, or otherwise the last line."""
    lines = list(applying)
    for index in reversed(lines):
        if builder.classes_of([other for other in lines if other != index]) & possible:
            return index
    return lines[-1]


# -- lockout -----------------------------------------------------------------------------------------------------------


class Reach(StrEnum):
    """Where a role can meet a cell's need by signing in, with every factor enrolled."""

    ALWAYS = "always"
    SOMETIMES = "sometimes"
    NEVER = "never"


def reach(
    needs: Needs,
    cell: tuple[str, str, str],
    methods: Collection[Method] = ENROLLABLE,
    labels: Mapping[str, str] | None = None,
) -> Reach:
    """Return whether signing in with these methods is enough for an allowed cell, at any time and from any network.

    ``labels``: of one account; None: any labels.
    """
    requirement = needs.of(*cell)
    if requirement is None:
        return Reach.ALWAYS
    here = _signed_in_classes(needs.partition, methods, labels)
    if not here & ~requirement.classes:
        return Reach.ALWAYS
    return Reach.SOMETIMES if here & requirement.classes else Reach.NEVER


def locks_out(
    needs: Needs, before: Mapping[str, str], after: Mapping[str, str], methods: Collection[Method] = ENROLLABLE
) -> bool:
    """Return whether a change of an account's labels ends every way of its administrators to `KEPT` (R26)."""
    cell = (ADMINISTRATOR, *KEPT)
    return reach(needs, cell, methods, after) is Reach.NEVER and reach(needs, cell, methods, before) is not Reach.NEVER


def _signed_in_classes(partition: Partition, methods: Collection[Method], labels: Mapping[str, str] | None) -> int:
    """Return the classes of a session that has just proved these methods, over all networks, times and labels."""
    dimensions = partition.dimensions
    found = partition.classes_with(partition.sign_in, (0,))
    for number, group in enumerate(dimensions.groups):
        proved = bool(set(methods).intersection(group.methods))
        found &= partition.classes_with(number, (0 if proved else group.ages,))
    times = (number for number, sample in enumerate(dimensions.times.samples) if sample)
    found &= partition.classes_with(partition.time, times)
    for number, label in enumerate(dimensions.labels):
        if labels is not None:
            digit = label.numbers.get(labels.get(label.label, ""), 0)
            found &= partition.classes_with(partition.first_label + number, (digit,))
    return found


def _check_administrator(generation: Generation, findings: DiagnosticSink) -> None:
    """Check R26: an administrator keeps `KEPT`, with the factors that may be enrolled here."""
    needs = generation.needs
    cell = (ADMINISTRATOR, *KEPT)
    found = reach(needs, cell)
    if found is Reach.ALWAYS:
        return
    lines = needs.lines_of(*cell)
    at = (lines[-1].line, 1)
    where = f'"{ADMINISTRATOR}" on {"/".join(KEPT)}'
    if found is Reach.NEVER:
        message = f"{where}: no sign-in here could meet this need, and no user could manage users"
        findings.add(Code.ADMINISTRATOR_LOCKED_OUT, FILE, at, message, "ask for a method that users can enrol here")
        return
    others = [name for line in lines for name in line.conditions if not needs.conditions[name].by_sign_in]
    message = f"{where} depends on {', '.join(dict.fromkeys(others))}: signing in alone may not be enough"
    hint = "keep a way for administrators, or add an alternative that signing in meets"
    findings.add(Code.ADMINISTRATOR_NEED, FILE, at, message, hint)
