"""Report of unused rights: rules, cells and sections without an allow, users, frequent denials."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from sidecar.policy.decision_table import Cell, cells_of
from sidecar.policy.diagnostics import closest
from sidecar.policy.generation import Generation
from sidecar.policy.rules import Effect
from sidecar.policy.usage.counts import UsageCounts
from sidecar.policy.usage.proposal import TighterPolicy

CANNOT_SHOW: Final = (
    "an allow that is missing here may have happened: a right that is used seldom can be named as unused, and the "
    "proposal may take it away. Denials are complete"
)
"""Limits of a sampled log."""


class UnusedRule(msgspec.Struct, frozen=True):
    """Allow rule that decided no allow of the log. ``cells``: cells of assignable roles that it decides."""

    rule: str
    text: str
    cells: int


class UnusedCell(msgspec.Struct, frozen=True):
    """Cell that is allowed, and that no user of the role used."""

    role: str
    section: str
    action: str
    rule: str | None


class Unused(msgspec.Struct, frozen=True):
    """Rights without an allow in the log. ``sections``: sections in which nothing was allowed for any role."""

    rules: list[UnusedRule]
    cells: list[UnusedCell]
    sections: list[str]


class PersonUsage(msgspec.Struct, frozen=True):
    """User of the log, with the permissions of the role that they never used, as ``SECTION/ACTION``.

    ``last``: time of the last decision; empty for a user without a line.
    """

    user: str
    account: str
    role: str
    last: str
    used: int
    unused: list[str]


class FrequentDenial(msgspec.Struct, frozen=True):
    """Denial that came often. ``roles``: the roles that are allowed it. ``meant``: a close name that exists."""

    role: str
    section: str
    action: str
    reason: str
    times: int
    users: list[str]
    roles: list[str]
    meant: str | None
    unmet: list[str]
    first: str
    last: str


class Sampled(msgspec.Struct, frozen=True):
    """Notice of a sampled log. ``allows``: the smallest share of allows that was logged."""

    allows: float
    decisions: int
    cannot_show: str


class Skipped(msgspec.Struct, frozen=True):
    """Lines without a usable decision, by reason. ``line``: the first of them."""

    file: str
    line: int
    reason: str
    lines: int


class UsageReport(msgspec.Struct, frozen=True):
    """Whole report, in the form of ``policy usage --json``."""

    unused: Unused
    people: list[PersonUsage]
    denials: list[FrequentDenial]
    proposal: TighterPolicy | None
    sampled: Sampled | None
    skipped: list[Skipped]


def report(counts: UsageCounts, often: int, proposal: TighterPolicy | None, skipped: Iterable[Skipped]) -> UsageReport:
    """Return the report. ``often``: the number of equal denials from which they are listed."""
    policy = counts.policy
    cells = list(_unused_cells(policy, counts))
    opened = {section for _, section, _ in counts.allows}
    unused = Unused(
        list(_unused_rules(policy, counts)), cells, [section for section in policy.sections if section not in opened]
    )
    sampled = Sampled(counts.share, counts.sampled, CANNOT_SHOW) if counts.sampled else None
    return UsageReport(unused, _people(policy, counts), _denials(policy, counts, often), proposal, sampled, [*skipped])


def allowed_cells(policy: Generation) -> Iterator[Cell]:
    """Yield the allowed cells of the assignable roles, in the order of the files."""
    for role in policy.roles.values():
        if role.assignable:
            for section, action in policy.cells.allowed_for(role.id):
                yield (role.id, section, action)


def _unused_cells(policy: Generation, counts: UsageCounts) -> Iterator[UnusedCell]:
    for cell in allowed_cells(policy):
        if cell not in counts.allows:
            yield UnusedCell(*cell, policy.cells[cell].rule)


def _unused_rules(policy: Generation, counts: UsageCounts) -> Iterator[UnusedRule]:
    used = {policy.cells[cell].rule for cell in counts.allows}
    decided: dict[str | None, int] = {}
    for cell in allowed_cells(policy):
        deciding = policy.cells[cell].rule
        decided[deciding] = decided.get(deciding, 0) + 1
    for rule in policy.rules:
        if rule.effect is Effect.ALLOW and rule.id not in used and any(cells_of(rule, policy.sections)):
            yield UnusedRule(rule.id, rule.text, decided.get(rule.id, 0))


def _people(policy: Generation, counts: UsageCounts) -> list[PersonUsage]:
    """Return the users with an unused permission, those with the most of them first."""
    found = []
    for user, use in counts.users.items():
        if use.role not in policy.roles:
            continue
        allowed = list(policy.cells.allowed_for(use.role))
        unused = [f"{section}/{action}" for section, action in allowed if (section, action) not in use.used]
        if unused:
            found.append(
                PersonUsage(user, use.account, use.role, use.last, len(allowed) - len(unused), unused),
            )
    return sorted(found, key=lambda person: (-len(person.unused), person.user))


def _denials(policy: Generation, counts: UsageCounts, often: int) -> list[FrequentDenial]:
    found = [
        FrequentDenial(
            *(*key, denial.times, list(denial.users)),
            [role for role, cells in policy.allowed.items() if key[1:3] in cells],
            _meant(policy, key[1], key[2]),
            list(denial.unmet),
            denial.first,
            denial.last,
        )
        for key, denial in counts.denials.items()
        if denial.times >= often
    ]
    return sorted(found, key=lambda denial: (-denial.times, denial.role, denial.section, denial.action))


def _meant(policy: Generation, section: str, action: str) -> str | None:
    """Return the cell that an unknown name resembles, as ``SECTION/ACTION``."""
    known = section if section in policy.sections else closest(section, policy.sections)
    if known is None or action in policy.sections[known].actions:
        return None if known in (None, section) else f"{known}/{action}"
    near = closest(action, policy.sections[known].actions)
    return None if near is None else f"{known}/{near}"
