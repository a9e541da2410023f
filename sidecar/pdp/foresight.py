"""The answer of a preview, written in the child: which answers an edit would change, for whom, and what its tests say.

Apart from preview.py, which starts the child: what a child imports, everybody waits for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, path_of
from sidecar.policy.diff import CellChange, RouteChange, diff
from sidecar.policy.expectations import EXPECTATIONS, ROUTES, Expectation, RouteTest
from sidecar.policy.generation import Generation

People = Mapping[str, Sequence[Mapping[str, str]]]
"""By role: those of the caller's account who hold it, as the answer shows them."""


def preview(current: Generation, files: Mapping[str, bytes], people: People) -> bytes:
    """The answer. Changes are shown as soon as the rules mean something, also when the tests or invariants fail."""
    compiled = compile_policy(files, proof=ProofScope.NONE)
    lost = _roles_in_use(compiled, people)
    cells: tuple[CellChange, ...] = ()
    routes: tuple[RouteChange, ...] = ()
    if compiled.draft is not None:
        difference = diff(current, compiled.draft)
        cells, routes = difference.cells, difference.routes
    return msgspec.json.encode(
        {
            "valid": compiled.valid and not lost,
            "diagnostics": sorted((*compiled.diagnostics, *lost)),
            "changes": [{**change.as_dict(), "users": people.get(change.role, ())} for change in cells],
            "routes": [change.as_dict() for change in routes],
            "expectations": {
                "passed": compiled.verdict.passed,
                "failed": [_failed(test, got) for test, got in compiled.verdict.failed],
            },
        }
    )


def _roles_in_use(compiled: Compiled, people: People) -> list[Diagnostic]:
    """What would keep it from being activated and only the account's people show: no role disappears under them."""
    if compiled.draft is None:
        return []
    return [
        role_in_use(role, len(holders))
        for role, holders in sorted(people.items())
        if holders and role not in compiled.draft.roles
    ]


def role_in_use(role: str, holders: int) -> Diagnostic:
    """The finding about a role that the files do not declare and somebody holds (R26)."""
    code = DiagnosticCode.ROLE_IN_USE
    who = "1 user holds" if holders == 1 else f"{holders} users hold"
    message = f'{who} or is invited to "{role}", which is not declared any more'
    hint = f"give them another role first, or keep [roles.{role}]"
    return Diagnostic(code.severity, code, path_of("roles.toml"), 1, 1, message, hint)


def _failed(test: Expectation | RouteTest, got: str) -> dict[str, Any]:
    """A test that says otherwise: where it stands, what it expects, what it gets."""
    match test:
        case Expectation(line, allowed, role, section, action):
            return {
                "rule": f"{path_of(EXPECTATIONS)}:{line}",
                "role": role,
                "section": section,
                "action": action,
                "expected": "allow" if allowed else "deny",
                "got": got,
            }
        case RouteTest(line, expected, method, path):
            return {
                "rule": f"{path_of(ROUTES)}:{line}",
                "method": method,
                "path": path,
                "expected": expected,
                "got": got,
            }
