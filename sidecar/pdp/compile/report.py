"""Preview response, built in the child: changed decisions, affected users, diagnostics and test results of an edit.

Separate from preview.py, which starts the child, to keep the child's import time short.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.declarations import read_vocabulary
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, DiagnosticSink, path_of
from sidecar.policy.diff import ALLOW, CellChange, RenameChange, RouteChange, diff
from sidecar.policy.expectations import EXPECTATIONS, ROUTES, Expectation, FailedTest, RouteTest
from sidecar.policy.generation import Generation
from sidecar.policy.rename.names import RenameKind

People = Mapping[str, Sequence[Mapping[str, str | int | bool]]]
"""Users of the caller's account by role, in response form."""


MAX_ANSWER: Final = 1024 * 1024
"""Maximum bytes of a response. Changes get half; diagnostics, renames, routes and failed tests an eighth each."""
PER_KIND: Final = 50
"""Maximum diagnostics per code."""
MAX_RENAMES: Final = 100
PER_CHANGE: Final = 100
"""Maximum users listed per change."""


class TooManyCellsError(Exception):
    """Edited roles and sections have more cells than a preview allows."""


def preview(current: Generation, files: Mapping[str, bytes], people: People, *, most_cells: int = 0) -> bytes:
    """Build a response of at most `MAX_ANSWER` bytes. Omitted entries are counted under ``omitted``.

    Changes are listed once the rules compile, even if tests or invariants fail. ``most_cells``: 0 is unlimited.
    Raises TooManyCellsError.
    """
    if most_cells and _cells(files) > most_cells:
        raise TooManyCellsError
    compiled = compile_policy(files, proof=ProofScope.NONE)
    lost = _roles_in_use(compiled, people)
    cells: tuple[CellChange, ...] = ()
    routes: tuple[RouteChange, ...] = ()
    renames: tuple[RenameChange, ...] = ()
    if compiled.draft is not None:
        difference = diff(current, compiled.draft)
        cells, routes, renames = difference.cells, difference.routes, difference.renames
        people = _under_new_names(people, renames)
    diagnostics = _Part(sorted((*compiled.diagnostics, *lost)), MAX_ANSWER // 8, lambda one: one.code)
    changes = _Part((_shown(change, people.get(change.role, ()), compiled.draft) for change in cells), MAX_ANSWER // 2)
    moved = _Part(routes, MAX_ANSWER // 8)
    renamed = _Part(renames[:MAX_RENAMES], MAX_ANSWER // 8)
    failed = _Part((shown for one in compiled.verdict.failed for shown in _failed(one)), MAX_ANSWER // 8)
    unnamed = (len(people.get(change.role, ())) - PER_CHANGE for change in cells[: len(changes.kept)])
    return msgspec.json.encode(
        {
            "generation": current.id,
            "valid": compiled.valid and not lost,
            "diagnostics": diagnostics.kept,
            "renames": renamed.kept,
            "changes": changes.kept,
            "routes": moved.kept,
            "expectations": {"passed": compiled.verdict.passed, "failed": failed.kept},
            "omitted": {
                "diagnostics": diagnostics.omitted,
                "renames": renamed.omitted + max(0, len(renames) - MAX_RENAMES),
                "changes": changes.omitted,
                "users": sum(max(0, number) for number in unnamed),
                "routes": moved.omitted,
                "failed": failed.omitted,
            },
        }
    )


def _under_new_names(people: People, renames: Iterable[RenameChange]) -> People:
    """Return the holders of renamed roles under the new name, too: changes are listed under it."""
    moved = {one.after: people[one.before] for one in renames if one.kind is RenameKind.ROLE and one.before in people}
    return {**people, **moved}


def _shown(
    change: CellChange, holders: Sequence[Mapping[str, str | int | bool]], draft: Generation | None
) -> dict[str, Any]:
    shown = {**msgspec.to_builtins(change), "users": holders[:PER_CHANGE]}
    return {**shown, "needs_factor": True} if draft is not None and _needs_factor(draft, change) else shown


def _needs_factor(draft: Generation, change: CellChange) -> bool:
    """Return True if only a second factor meets one of the lines of an allowed cell."""
    if change.after != ALLOW or draft.needs.of(change.role, change.section, change.action) is None:
        return False
    conditions = draft.needs.conditions
    lines = draft.needs.lines_of(change.role, change.section, change.action)
    return any(all(conditions[name].is_factor for name in line.conditions) for line in lines)


class _Part:
    """Encoded list of at most ``most`` bytes and `PER_KIND` items per kind; the rest is counted."""

    def __init__(self, items: Iterable[Any], most: int, kind: Callable[[Any], object] | None = None) -> None:
        self.kept: list[msgspec.Raw] = []
        self.omitted = 0
        kinds: Counter[object] = Counter()
        full = False
        for item in items:
            if full or (kind is not None and kinds[kind(item)] >= PER_KIND):
                self.omitted += 1
                continue
            encoded = msgspec.json.encode(item)
            most -= len(encoded) + 1
            if most < 0:  # omit all later items too, so that the list has no gap
                full = True
                self.omitted += 1
                continue
            if kind is not None:
                kinds[kind(item)] += 1
            self.kept.append(msgspec.Raw(encoded))


def _cells(files: Mapping[str, bytes]) -> int:
    """Return roles × actions, without building their table."""
    declared = read_vocabulary(files, DiagnosticSink())
    actions = sum(len(section.actions) for section in (declared.sections or {}).values())
    return len(declared.roles or ()) * actions


def _roles_in_use(compiled: Compiled, people: People) -> list[Diagnostic]:
    """Return a diagnostic per removed role that users of the account hold. Activation would reject the removal."""
    if compiled.draft is None:
        return []
    return [
        role_in_use(role, len(holders))
        for role, holders in sorted(people.items())
        if holders and role not in compiled.draft.roles
    ]


def role_in_use(role: str, holders: int) -> Diagnostic:
    """Return the diagnostic for an undeclared role with holders (R26)."""
    code = DiagnosticCode.ROLE_IN_USE
    holding = "1 user holds" if holders == 1 else f"{holders} users hold"
    message = f'{holding} or is invited to "{role}", which is no longer declared'
    hint = f"assign another role first, or keep [roles.{role}]"
    return Diagnostic(code.severity, code, path_of("roles.toml"), 1, 1, message, hint)


def _failed(failed: FailedTest) -> Iterator[dict[str, Any]]:
    """Yield a failed test as JSON members: location, expected result, actual result.

    A row with a wildcard has one entry for each cell that differs.
    """
    match failed.test:
        case Expectation(line, _, role, section, action, without):
            for one_section, one_action in failed.cells or ((section, action),):
                yield {
                    "rule": f"{path_of(EXPECTATIONS)}:{line}",
                    **({"without": list(without)} if without else {}),
                    "role": role,
                    "section": one_section,
                    "action": one_action,
                    "expected": failed.test.effect,
                    "got": failed.got,
                }
        case RouteTest(line, expected, method, path):
            yield {
                "rule": f"{path_of(ROUTES)}:{line}",
                "method": method,
                "path": path,
                "expected": expected,
                "got": failed.got,
            }
