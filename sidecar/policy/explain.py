"""Explanation of one cell's decision, and of the edits that would change it. One object for API, CLI and console.

The decision comes from the decision table. Rules and links are looked up to show its derivation. The advice is exact:
``flip`` is a minimal set of edits that changes this cell, and ``also`` lists all other cells that change with it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from sidecar.domain.decision import Reason
from sidecar.domain.users import Status, UserRecord
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Cell, Ruling, cells_of
from sidecar.policy.diagnostics import suggestion
from sidecar.policy.expectation_edits import rows_to_allow
from sidecar.policy.expectations import EXPECTATIONS
from sidecar.policy.generation import Generation
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.rows import lacking
from sidecar.policy.route_notes import RequestMatch, own_routes
from sidecar.policy.routes import Route
from sidecar.policy.rules import ANY, Effect, Inheritance, Rule, parents_of, ways_up


class EditKind(StrEnum):
    """Kind of edit to a line of a file."""

    WRITE = "write"
    REMOVE = "remove"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Edit:
    """Edit of policy.csv, or of expectations.csv. ``line`` is the text to write or to remove.

    ``rule`` is the line to replace or remove, None for a new line.
    """

    kind: EditKind
    line: str
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class NearestRule:
    """Allow rule for the section that does not allow the cell.

    ``mismatches``: ``role``, ``action`` or both; empty if the rule matches the cell and a deny overrides it.
    """

    rule: Rule
    mismatches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Explanation of a cell. Fields after ``ruling`` are empty where they do not apply.

    ``rule`` is the deciding rule. ``path``: the ``g`` lines from the role to the role of ``rule``, in order; empty if
    that is the same role. ``overridden`` is the allow that a deny overrides. ``nearest``, ``edits_to_flip`` and
    ``side_effects`` are set only for a deny that edits of policy.csv can change; ``test_edits`` are the edits of
    expectations.csv that they require. ``roles``: the assignable roles that are allowed.

    ``needs``: the lines of needs.csv that apply to the cell. ``unmet``: conditions that would do, if a rule allows the
    cell and its needs are not met. ``sign_in``: a new sign-in or a step-up meets all of them.

    ``person``: the user, if the explanation is for a user. For a user without access, ``ruling`` is that denial and
    ``edits_to_flip`` is empty; ``rule`` and ``path`` still explain the role. ``hint``: suggestion for an undeclared
    name, or the reason why no route decides a request.

    ``request``: of an explanation by method and path. ``own_routes``: routes of the cell with own segments, if the
    explanation is of the cell. ``note``: for a role, the decision of a user's own path.
    """

    generation: str
    role: str
    section: str
    action: str
    ruling: Ruling
    rule: Rule | None = None
    path: tuple[Inheritance, ...] = ()
    overridden: Rule | None = None
    nearest: NearestRule | None = None
    edits_to_flip: tuple[Edit, ...] = ()
    side_effects: tuple[Cell, ...] = ()
    test_edits: tuple[Edit, ...] = ()
    roles: tuple[str, ...] = ()
    person: UserRecord | None = None
    hint: str = ""
    needs: tuple[NeedLine, ...] = ()
    unmet: tuple[str, ...] = ()
    sign_in: bool = False
    request: RequestMatch | None = None
    own_routes: tuple[Route, ...] = ()
    note: str = ""

    @property
    def allowed(self) -> bool:
        """Return whether a rule allows the cell and its needs are met, or a request is public."""
        return (self.ruling.allowed or self.ruling.reason is Reason.PUBLIC) and not self.unmet


def explain_person(
    generation: Generation, person: UserRecord, section: str, action: str, met: Collection[str] = ()
) -> Explanation:
    """Explain the decision of a check by this user. The live status takes precedence over all rules."""
    found = replace(explain(generation, person.role, section, action, met), person=person)
    denial = status_denial(person)
    return (
        found
        if denial is None
        else replace(found, ruling=denial, edits_to_flip=(), side_effects=(), test_edits=(), unmet=())
    )


def status_denial(person: UserRecord) -> Ruling | None:
    """Return the denial of a user without access due to status or review, or None for other users."""
    match person.status:
        case Status.ACTIVE:
            return None if person.review is None else Ruling(Reason.NEEDS_REVIEW)
        case Status.SUSPENDED:
            return Ruling(Reason.SUSPENDED)
        case Status.INVITED | Status.EXPIRED:
            return Ruling(Reason.UNKNOWN_USER)


def explain(generation: Generation, role: str, section: str, action: str, met: Collection[str] = ()) -> Explanation:
    """Explain the decision for a role. An undeclared name is a deny with its own reason that no rule can change.

    ``met``: names of conditions that are met.
    """
    ruling = decide(generation, role, section, action)
    able = tuple(
        one.id
        for one in generation.roles.values()
        if one.assignable and (section, action) in generation.allowed[one.id]
    )
    matching = [rule for rule in generation.rules if _speaks_of(rule, section, action)]
    reaching = [rule for rule in matching if rule.role in generation.closures.get(role, ())]
    rule = next((one for one in reaching if one.id == ruling.rule), None)
    path = () if rule is None else _links(generation, role, rule.role)
    found = Explanation(generation.id, role, section, action, ruling, rule, path, roles=able)
    if _is_declared(generation, role, section, action):
        own, note = own_routes(generation.routes, section, action)
        found = replace(found, needs=generation.needs.lines_of(role, section, action), own_routes=own, note=note)
    if ruling.allowed:
        unmet = lacking(generation.needs, found.needs, met)
        sign_in = all(generation.needs.conditions[name].by_sign_in for name in unmet)
        return replace(found, unmet=unmet, sign_in=bool(unmet) and sign_in)
    if not _is_declared(generation, role, section, action):
        return replace(found, hint=_hint(generation, section, action))
    allows = [one for one in reaching if one.effect is Effect.ALLOW]
    denies = [one for one in reaching if one.effect is Effect.DENY]
    edits = _edits_to_flip(role, section, action, allows, denies)
    side_effects = tuple(_side_effects(generation, (role, section, action), edits, denies))
    return replace(
        found,
        overridden=allows[0] if allows else None,
        nearest=NearestRule(allows[0], ()) if allows else _nearest(generation, role, section, action),
        edits_to_flip=edits,
        side_effects=side_effects,
        test_edits=tuple(_test_edits(generation, [(role, section, action), *side_effects])),
    )


def _hint(generation: Generation, section: str, action: str) -> str:
    """Return a suggestion for an undeclared section or action; empty if both are declared."""
    if section not in generation.sections:
        return suggestion(section, generation.sections)
    actions = generation.sections[section].actions
    return "" if action in actions else suggestion(action, actions)


def _speaks_of(rule: Rule, section: str, action: str) -> bool:
    return rule.section in (section, ANY) and rule.action in (action, ANY)


def _is_declared(generation: Generation, role: str, section: str, action: str) -> bool:
    return (
        role in generation.roles and section in generation.sections and action in generation.sections[section].actions
    )


def _links(generation: Generation, role: str, ancestor: str) -> tuple[Inheritance, ...]:
    """Return the shortest path of links from ``role`` to ``ancestor``; of several, the first in the file."""
    came_by = ways_up(role, parents_of(generation.inheritance))
    way: list[Inheritance] = []
    while ancestor != role:
        way.append(came_by[ancestor])
        ancestor = way[-1].role
    return tuple(reversed(way))


# -- nearest rule ------------------------------------------------------------------------------------------------------


def _nearest(generation: Generation, role: str, section: str, action: str) -> NearestRule | None:
    """Return the nearest allow for the section: first for this role and another action, then for another role.

    A narrow rule is nearer than one with ``*``. Of equal rules, the first in the file is nearest.
    """
    closure = generation.closures[role]

    def distance(rule: Rule) -> tuple[int, bool, bool, int]:
        wrong = (rule.role not in closure) * 2 + (rule.action not in (action, ANY))
        return (wrong, rule.section == ANY, rule.action == ANY, rule.line)

    allows = [
        rule
        for rule in generation.rules
        if rule.effect is Effect.ALLOW and rule.section in (section, ANY) and _differences(rule, closure, action)
    ]
    if not allows:
        return None
    rule = min(allows, key=distance)
    return NearestRule(rule, _differences(rule, closure, action))


def _differences(rule: Rule, closure: Iterable[str], action: str) -> tuple[str, ...]:
    role = () if rule.role in closure else ("role",)
    return role if rule.action in (action, ANY) else (*role, "action")


# -- edits that change the decision ------------------------------------------------------------------------------------


def _edits_to_flip(role: str, section: str, action: str, allows: list[Rule], denies: list[Rule]) -> tuple[Edit, ...]:
    """Return the edits that allow the cell: remove all matching denies, and have one matching allow.

    The result is one edit, unless several denies match the cell.
    """
    if allows or not denies:
        edits = [Edit(EditKind.REMOVE, deny.text, deny.id) for deny in denies]
        return tuple(edits) if allows else (Edit(EditKind.WRITE, _allow(role, section, action)),)
    exact = next((deny for deny in denies if (deny.role, deny.section, deny.action) == (role, section, action)), None)
    first = (
        Edit(EditKind.WRITE, _allow(role, section, action))
        if exact is None
        else Edit(EditKind.REPLACE, _allow(role, section, action), exact.id)
    )
    return (first, *(Edit(EditKind.REMOVE, deny.text, deny.id) for deny in denies if deny is not exact))


def _test_edits(generation: Generation, cells: Iterable[Cell]) -> Iterator[Edit]:
    """Yield an edit of expectations.csv for each opened cell that no row allows."""
    for cell, row in rows_to_allow(generation.files.get(EXPECTATIONS, b""), cells, generation.roles):
        line = f"{Effect.ALLOW}, {', '.join(cell)}"
        yield Edit(EditKind.WRITE, line) if row is None else Edit(EditKind.REPLACE, line, row.id)


def _allow(role: str, section: str, action: str) -> str:
    return f"p, {role}, {section}, {action}, {Effect.ALLOW}"


def _side_effects(generation: Generation, cell: Cell, edits: tuple[Edit, ...], denies: list[Rule]) -> Iterator[Cell]:
    """Yield the other cells that the edits allow: of inheriting roles, and of all targets of a removed deny.

    More allows and fewer denies only open access, so no cell changes to deny.
    """
    role, section, action = cell
    gone = {deny.line for deny in denies}
    added = any(edit.kind is not EditKind.REMOVE for edit in edits)
    touched: dict[tuple[str, str], None] = dict.fromkeys(
        target for deny in denies for target in cells_of(deny, generation.sections)
    )
    touched[section, action] = None
    spoken_of = {ANY, *(name for name, _ in touched)}
    kept = [rule for rule in generation.rules if rule.line not in gone and rule.section in spoken_of]
    allowing, denying = _by_cell(kept, Effect.ALLOW), _by_cell(kept, Effect.DENY)
    for other in generation.roles:
        closure = generation.closures[other]
        for target in touched:
            if target in generation.allowed[other] or (other, *target) == cell:
                continue
            allowed = allowing(closure, target) or (added and target == (section, action) and role in closure)
            if allowed and not denying(closure, target):
                yield (other, *target)


def _by_cell(rules: Iterable[Rule], effect: Effect) -> Callable[[Iterable[str], tuple[str, str]], bool]:
    known = {(rule.role, rule.section, rule.action) for rule in rules if rule.effect is effect}

    def any_of(closure: Iterable[str], target: tuple[str, str]) -> bool:
        section, action = target
        return any((role, s, a) in known for role in closure for s in (section, ANY) for a in (action, ANY))

    return any_of
