"""Why a cell is answered as it is, and what would change it. One object for API, CLI and console.

The decision comes from the table that decides; rules and links are looked up to show how it came about. What it
advises is exact: the edits of ``flip`` turn this cell, none of them is superfluous, and ``also`` names every other
cell that they would turn with it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from sidecar.domain.decision import Reason
from sidecar.domain.users import Status, UserRecord
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Cell, Ruling, cells_of
from sidecar.policy.diagnostics import meant
from sidecar.policy.generation import Generation
from sidecar.policy.rules import ANY, Effect, Inheritance, Rule, parents_of, ways_up


class Do(StrEnum):
    """What to do with a line of policy.csv."""

    WRITE = "write"
    REMOVE = "remove"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Edit:
    """``line`` is the text to write, or the one to remove; ``rule`` the line that it stands in, None for a new one."""

    do: Do
    line: str
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """An allow that speaks of the section and still does not reach. ``differs``: in role, action or both; empty for
    one that would reach if no deny overrode it."""

    rule: Rule
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """``path``: the ``g`` lines from the role to the role of ``rule``, in order; empty when the rule is its own.

    ``overridden`` is the allow that a deny takes away. ``nearest``, ``flip`` and ``also`` are of a deny alone, and
    empty when no line of policy.csv could turn it (an undeclared name). ``roles``: the assignable ones that may.

    ``person``: whom it is about, if not a role as such. Who may not act at all is denied for that (``ruling``), with
    nothing to flip; ``rule`` and ``path`` still tell what the role is given. ``hint``: of an undeclared name.
    """

    generation: str
    role: str
    section: str
    action: str
    ruling: Ruling
    rule: Rule | None = None
    path: tuple[Inheritance, ...] = ()
    overridden: Rule | None = None
    nearest: Near | None = None
    flip: tuple[Edit, ...] = ()
    also: tuple[Cell, ...] = ()
    roles: tuple[str, ...] = ()
    person: UserRecord | None = None
    hint: str = ""


def explain_person(generation: Generation, person: UserRecord, section: str, action: str) -> Explanation:
    """As a check would answer this person now: the live status comes before every rule."""
    found = replace(explain(generation, person.role, section, action), person=person)
    barred = barred_by(person)
    return found if barred is None else replace(found, ruling=barred, flip=(), also=())


def barred_by(person: UserRecord) -> Ruling | None:
    """Why this user may do nothing at all, whatever the role; None for who may."""
    match person.status:
        case Status.ACTIVE:
            return None if person.review is None else Ruling(Reason.NEEDS_REVIEW)
        case Status.SUSPENDED:
            return Ruling(Reason.SUSPENDED)
        case Status.INVITED | Status.EXPIRED:
            return Ruling(Reason.UNKNOWN_USER)


def explain(generation: Generation, role: str, section: str, action: str) -> Explanation:
    """Names that are not declared are explained as what they are: a reasoned deny that no rule can turn."""
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
    if ruling.allowed:
        return found
    if not _is_declared(generation, role, section, action):
        return replace(found, hint=_hint(generation, section, action))
    allows = [one for one in reaching if one.effect is Effect.ALLOW]
    denies = [one for one in reaching if one.effect is Effect.DENY]
    flip = _flip(role, section, action, allows, denies)
    return replace(
        found,
        overridden=allows[0] if allows else None,
        nearest=Near(allows[0], ()) if allows else _nearest(generation, role, section, action),
        flip=flip,
        also=tuple(_also(generation, (role, section, action), flip, denies)),
    )


def _hint(generation: Generation, section: str, action: str) -> str:
    """What an undeclared section or action was probably meant to be; empty when both are declared."""
    if section not in generation.sections:
        return meant(section, generation.sections)
    actions = generation.sections[section].actions
    return "" if action in actions else meant(action, actions)


def _speaks_of(rule: Rule, section: str, action: str) -> bool:
    return rule.section in (section, ANY) and rule.action in (action, ANY)


def _is_declared(generation: Generation, role: str, section: str, action: str) -> bool:
    return (
        role in generation.roles and section in generation.sections and action in generation.sections[section].actions
    )


def _links(generation: Generation, role: str, ancestor: str) -> tuple[Inheritance, ...]:
    """The shortest way up from ``role`` to ``ancestor``; of several, the one that stands first in the file."""
    came_by = ways_up(role, parents_of(generation.inheritance))
    way: list[Inheritance] = []
    while ancestor != role:
        way.append(came_by[ancestor])
        ancestor = way[-1].role
    return tuple(reversed(way))


# -- what comes near ---------------------------------------------------------------------------------------------------


def _nearest(generation: Generation, role: str, section: str, action: str) -> Near | None:
    """Of the allows that speak of the section: first one of this role for another action, then another role's.

    A narrow rule is nearer than one with ``*``; of equals the first in the file.
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
    return Near(rule, _differences(rule, closure, action))


def _differences(rule: Rule, closure: Iterable[str], action: str) -> tuple[str, ...]:
    role = () if rule.role in closure else ("role",)
    return role if rule.action in (action, ANY) else (*role, "action")


# -- what would flip it ------------------------------------------------------------------------------------------------


def _flip(role: str, section: str, action: str, allows: list[Rule], denies: list[Rule]) -> tuple[Edit, ...]:
    """Every deny has to go, and an allow has to be there: one edit, unless several denies reach the cell."""
    if allows or not denies:
        edits = [Edit(Do.REMOVE, deny.text, deny.id) for deny in denies]
        return tuple(edits) if allows else (Edit(Do.WRITE, _allow(role, section, action)),)
    exact = next((deny for deny in denies if (deny.role, deny.section, deny.action) == (role, section, action)), None)
    first = (
        Edit(Do.WRITE, _allow(role, section, action))
        if exact is None
        else Edit(Do.REPLACE, _allow(role, section, action), exact.id)
    )
    return (first, *(Edit(Do.REMOVE, deny.text, deny.id) for deny in denies if deny is not exact))


def _allow(role: str, section: str, action: str) -> str:
    return f"p, {role}, {section}, {action}, {Effect.ALLOW}"


def _also(generation: Generation, cell: Cell, flip: tuple[Edit, ...], denies: list[Rule]) -> Iterator[Cell]:
    """The other cells that the edits open: of roles that inherit, and of all that a removed deny spoke of.

    An allow more and a deny less only ever open, so nothing else can change.
    """
    role, section, action = cell
    gone = {deny.line for deny in denies}
    added = any(edit.do is not Do.REMOVE for edit in flip)
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
            given = allowing(closure, target) or (added and target == (section, action) and role in closure)
            if given and not denying(closure, target):
                yield (other, *target)


def _by_cell(rules: Iterable[Rule], effect: Effect) -> Callable[[Iterable[str], tuple[str, str]], bool]:
    known = {(rule.role, rule.section, rule.action) for rule in rules if rule.effect is effect}

    def any_of(closure: Iterable[str], target: tuple[str, str]) -> bool:
        section, action = target
        return any((role, s, a) in known for role in closure for s in (section, ANY) for a in (action, ANY))

    return any_of
