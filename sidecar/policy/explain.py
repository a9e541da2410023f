"""Why an answer is what it is, and the one change that would make it another. For API, CLI and console alike.

Computed by the same table that decides; what it proposes is a line to write or to delete, never written here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.policy.rules import ANY, Effect, Rule
from sidecar.vocabulary.decision import Reason


class ChangeKind(StrEnum):
    ADD = "add"
    DELETE = "delete"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Change:
    """An edit of policy.csv: ``text`` is the line to add, or what takes the place of the one line in ``lines``."""

    kind: ChangeKind
    lines: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        where = f"line{'s' if len(self.lines) > 1 else ''} {' and '.join(map(str, self.lines))}"
        match self.kind:
            case ChangeKind.ADD:
                return f"add: {self.text}"
            case ChangeKind.DELETE:
                return f"delete {where}"
            case ChangeKind.REPLACE:
                return f"replace {where} by: {self.text}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """``path``: the roles from the asked one to the one that the deciding rule is written for.

    For a deny: ``nearest`` is the rule that comes closest to allowing it, ``change`` the edit that would allow it
    (None when the section or action is not declared), ``roles`` the assignable ones that may do it now.
    """

    role: str
    section: str
    action: str
    reason: Reason
    rule: Rule | None
    path: tuple[str, ...]
    nearest: Rule | None = None
    change: Change | None = None
    roles: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.reason is Reason.ALLOWED


def explain(generation: Generation, role: str, section: str, action: str) -> Explanation:
    """One cell. An unknown role is explained like one without rules; ask for declared names only."""
    ruling = decide(generation, role, section, action)
    rule = next((r for r in generation.rules if r.line == ruling.line), None)
    path = path_to(generation, role, rule.role) if rule is not None else (role,)
    if ruling.allowed:
        return Explanation(role, section, action, ruling.reason, rule, path)
    able = tuple(
        r.id for r in generation.roles.values() if r.assignable and (section, action) in generation.allowed[r.id]
    )
    declared = ruling.reason in (Reason.NO_RULE, Reason.EXPLICIT_DENY) and role in generation.roles
    return Explanation(
        role,
        section,
        action,
        ruling.reason,
        rule,
        path,
        _nearest(generation, role, section, action),
        _change(generation, role, section, action) if declared else None,
        able,
    )


def path_to(generation: Generation, role: str, ancestor: str) -> tuple[str, ...]:
    """The shortest way by ``g`` from a role to one that it inherits."""
    parents: dict[str, list[str]] = {}
    for link in generation.inheritance:
        parents.setdefault(link.role, []).append(link.inherits)
    ways: dict[str, tuple[str, ...]] = {role: (role,)}
    queue = [role]
    for current in queue:
        for parent in parents.get(current, ()):
            if parent not in ways:
                ways[parent] = (*ways[current], parent)
                queue.append(parent)
    return ways.get(ancestor, (role,))


def _change(generation: Generation, role: str, section: str, action: str) -> Change:
    matching = list(_matching(generation, role, section, action))
    denies = tuple(rule.line for rule in matching if rule.effect is Effect.DENY)
    if any(rule.effect is Effect.ALLOW for rule in matching):
        return Change(ChangeKind.DELETE, denies, "")
    allow = f"p, {role}, {section}, {action}, {Effect.ALLOW}"
    if len(denies) == 1:
        return Change(ChangeKind.REPLACE, denies, allow)
    return Change(ChangeKind.ADD, (), allow) if not denies else Change(ChangeKind.REPLACE, denies, allow)


def _matching(generation: Generation, role: str, section: str, action: str) -> Iterator[Rule]:
    closure = generation.closures.get(role, (role,))
    for rule in generation.rules:
        if rule.role in closure and rule.section in (section, ANY) and rule.action in (action, ANY):
            yield rule


def _nearest(generation: Generation, role: str, section: str, action: str) -> Rule | None:
    """The allow that differs least: another action of the section, else another role, else another section."""
    closure = generation.closures.get(role, (role,))

    def distance(rule: Rule) -> tuple[int, int, int]:
        differs = (rule.role not in closure, rule.section not in (section, ANY), rule.action not in (action, ANY))
        wildcards = (rule.section == ANY) + (rule.action == ANY)
        # What one changes most lightly counts least: the action, then who, then where.
        return (sum(differs) * 10 + differs[0] * 2 + differs[1] * 3 + differs[2], wildcards, rule.line)

    allows = [rule for rule in generation.rules if rule.effect is Effect.ALLOW]
    best = min(allows, key=distance, default=None)
    return best if best is not None and distance(best)[0] < 20 else None
