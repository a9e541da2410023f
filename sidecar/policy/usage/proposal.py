"""Tighter policy.csv: allow rules cut down to the cells that a log shows in use.

The proposal takes rights away and gives none. It keeps used cells, cells that a need denied, the cells of R26, and the
guards of the sidecar's own endpoints: a decision log holds checks alone. Comments, other lines and denies stay.
"""

from collections.abc import Collection, Iterator, Mapping
from difflib import unified_diff
from typing import Final

import msgspec

from sidecar.domain.users import ADMINISTRATOR
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decision_table import Cell, cells_of
from sidecar.policy.diagnostics import Diagnostic, DiagnosticSink
from sidecar.policy.diff import CellChange, RouteChange, diff
from sidecar.policy.generation import Generation
from sidecar.policy.lint import NEVER_LOST
from sidecar.policy.rules import ANY, FILE, Effect, Rule
from sidecar.policy.text.format import format_csv
from sidecar.policy.usage.counts import UsageCounts

OWN_ENDPOINTS: Final = (
    ("users", "view"),
    ("users", "manage"),
    ("policy", "view"),
    ("policy", "preview"),
    ("audit", "view"),
)
"""Cells that guard the sidecar's own endpoints. A decision log holds the requests of gateways alone."""

Pairs = set[tuple[str, str]]


class TighterPolicy(msgspec.Struct, frozen=True, rename={"text": FILE, "difference": "diff"}):
    """Proposed policy.csv, its unified diff, and every changed cell and route.

    ``other_files``: findings that the new file causes elsewhere, such as a row of expectations.csv that now fails.
    """

    text: str
    difference: str
    changes: tuple[CellChange, ...]
    routes: tuple[RouteChange, ...]
    other_files: tuple[Diagnostic, ...]


class NoProposalError(Exception):
    """Raised when no proposal can be made. The message is the reason."""


def propose(counts: UsageCounts) -> TighterPolicy:
    """Return the proposal. Raises NoProposalError."""
    policy = counts.policy
    if not counts.allows:
        raise NoProposalError("the log holds no allow of this policy, so it shows no use of any right")
    kept = _kept(counts)
    before = policy.files[FILE]
    after = _rewritten(before, policy, kept)
    files = {**policy.files, FILE: after}
    compiled = compile_policy(files, proof=ProofScope.NONE)
    if compiled.draft is None:
        raise NoProposalError("the tighter policy does not compile")
    _verify(policy, compiled.draft, kept)
    known = {(one.file, one.message) for one in compile_policy(policy.files, proof=ProofScope.NONE).diagnostics}
    others = tuple(one for one in compiled.diagnostics if one.is_error and (one.file, one.message) not in known)
    changed = diff(policy, compiled.draft)
    return TighterPolicy(after.decode(), _unified(before, after), changed.cells, changed.routes, others)


def _kept(counts: UsageCounts) -> frozenset[Cell]:
    """Return the cells of assignable roles that stay allowed."""
    policy = counts.policy
    return frozenset(
        (role.id, section, action)
        for role in policy.roles.values()
        if role.assignable
        for section, action in policy.cells.allowed_for(role.id)
        if (cell := (role.id, section, action)) in counts.allows
        or cell in counts.unmet
        or (section, action) in OWN_ENDPOINTS
        or (role.id == ADMINISTRATOR and _is_never_lost(section, action))
    )


def _is_never_lost(section: str, action: str) -> bool:
    return any(section == name and which in (action, ANY) for name, which in NEVER_LOST)


def _rewritten(before: bytes, policy: Generation, kept: Collection[Cell]) -> bytes:
    """Return the file with narrower rules. A file in the format of `fmt` stays in it."""
    pairs: dict[int, Pairs] = {}
    for role, section, action in kept:
        line = policy.cells[role, section, action].line
        if line is not None:
            pairs.setdefault(line, set()).add((section, action))
    rules = {rule.line: rule for rule in policy.rules if rule.effect is Effect.ALLOW}
    lines: list[str] = []
    for number, text in enumerate(before.decode().split("\n"), start=1):
        rule = rules.get(number)
        narrower = [text] if rule is None else _narrowed(rule, text, pairs.get(number, set()), policy)
        lines += narrower
    after = "\n".join(lines).encode()
    if format_csv(before, FILE, DiagnosticSink()) == before:
        return format_csv(after, FILE, DiagnosticSink()) or after
    return after


def _narrowed(rule: Rule, text: str, kept: Pairs, policy: Generation) -> list[str]:
    """Return the lines in place of a rule: itself, narrower ones, or none."""
    covered = list(cells_of(rule, policy.sections))
    if kept.issuperset(covered):
        return [text]
    end = "\r" if text.endswith("\r") else ""
    targets = _targets(covered, kept, {section.id: section.actions for section in policy.sections.values()})
    return [f"p, {rule.role}, {section}, {action}, {rule.effect}{end}" for section, action in targets]


def _targets(
    covered: list[tuple[str, str]], kept: Pairs, actions: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    """Yield the fewest targets for the kept pairs: ``*`` where a section is kept whole, else one per action."""
    for section in dict.fromkeys(section for section, _ in covered):
        left = [action for action in actions[section] if (section, action) in kept]
        if len(left) == len(actions[section]) > 1:
            yield (section, ANY)
        else:
            yield from ((section, action) for action in left)


def _verify(policy: Generation, draft: Generation, kept: Collection[Cell]) -> None:
    """Compare the proposal with its promise: all kept cells are allowed, and no other cell is opened."""
    lost = next((cell for cell in kept if not draft.cells[cell].allowed), None)
    opened = any(draft.allowed[role] - policy.allowed[role] for role in policy.roles)
    if lost is not None or opened:
        raise NoProposalError("the tighter policy would change an answer of the log; please report this bug")


def _unified(before: bytes, after: bytes) -> str:
    old, new = before.decode().splitlines(keepends=True), after.decode().splitlines(keepends=True)
    return "".join(unified_diff(old, new, FILE, f"{FILE} (proposed)"))
