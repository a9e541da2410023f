"""Edits that write the missing tests of a policy: expectations, route tests, and rows for needs."""

from collections.abc import Mapping

from sidecar.policy.compiler import Compiled
from sidecar.policy.decide import decide
from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.placing import insert_all
from sidecar.policy.expectations import EXPECTATIONS, ROUTES
from sidecar.policy.generation import Generation
from sidecar.policy.needs.rows import example_row
from sidecar.policy.own_checks import owner
from sidecar.policy.routes import Route
from sidecar.policy.rules import Effect


def missing_edits(compiled: Compiled, buffers: Mapping[str, Buffer]) -> list[BufferEdit]:
    """Return the edits that add a row, as the policy decides now, for all that has no test."""
    draft, verdict = compiled.draft, compiled.verdict
    if draft is None:
        return []
    rows = [_expectation(draft, *cell) for cell in verdict.missing]
    needs = (example_row(draft.needs, line, draft.roles, draft.cells) for line in verdict.untested_needs)
    rows += [row for row in needs if row]
    routes = [f"{owner(route)}, {route.methods[0]}, {_request(draft, route)}" for route in verdict.untested]
    files = ((EXPECTATIONS, rows), (ROUTES, routes))
    return insert_all((buffers.get(file) or Buffer(file, ""), lines) for file, lines in files)


def _expectation(draft: Generation, role: str, section: str, action: str) -> str:
    effect = Effect.ALLOW if decide(draft, role, section, action).allowed else Effect.DENY
    return f"{effect}, {role}, {section}, {action}"


def _request(draft: Generation, route: Route) -> str:
    """Return a path that the route decides, if one of the tried ones is."""
    rests = ("/example", "", "/example/example")
    paths = [route.path.replace("/**", rest).replace("*", "example") or "/" for rest in rests]
    return next((path for path in paths if draft.routes.route_of(route.methods[0], path) is route), paths[0])
