"""Routes in explanations: the route of a request, and the own paths of a cell."""

from dataclasses import dataclass

from sidecar.domain.access import Target
from sidecar.domain.decision import Reason
from sidecar.policy.diagnostics import path_of
from sidecar.policy.routes import Route, RouteTable


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """Request, and its deciding route. ``target``: as in routes.csv. ``route`` is None if no route decides."""

    method: str
    path: str
    target: str
    route: Route | None


def route_id(route: Route) -> str:
    """Return ``policy/sections.toml:LINE``."""
    return f"{path_of('sections.toml')}:{route.line}"


def route_text(route: Route) -> str:
    """Return methods and path: ``GET, HEAD /accounts/{account}``."""
    return f"{', '.join(route.methods)} {route.path}"


def own_routes(table: RouteTable, section: str, action: str) -> tuple[tuple[Route, ...], str]:
    """Return the routes of a cell with own segments, and a note on the checks that cannot know a path."""
    target = Target(section, action)
    own = tuple(route for route in table.routes if route.own is not None and route.target == target)
    if not own:
        return (), ""
    named = f"/check/sections/{section}/{action} is {Reason.NOT_YOURS}; " if target in table.own_only else ""
    unknown = "/v1/check and sections of AuthZEN cannot know the path"
    return own, f"the path must have the caller's own ids; {named}{unknown}"


def for_ones_own(*, allowed: bool, why: str) -> str:
    """Return the note beside a role's `not_yours`: the decision for a user of the role on their own path."""
    return f"for one's own: {'allow' if allowed else f'deny ({why})'}"
