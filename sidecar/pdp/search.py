"""AuthZEN's three searches: which subjects, resources or actions would be allowed?

Computed from the open cells of the policy, not by trying: ``evaluation`` looks cells up one by one, and the tests hold
the two against each other over the whole space. Lists nothing that would be denied: no suspended and no invited user.
"""

from collections.abc import Iterable

from sidecar.domain.access import Resource, Target
from sidecar.domain.decision import Reason
from sidecar.domain.users import Member
from sidecar.pdp.evaluation import ROLE, ROUTE, SECTION, USER, Standing
from sidecar.policy.generation import Generation
from sidecar.policy.routes import METHODS, Outcome, Public


def subjects(
    generation: Generation, kind: str, action: str, resource: Resource, members: Iterable[Member]
) -> list[str]:
    """Ids of the users among ``members``, or of the roles, sorted. Another kind of subject: nobody."""
    target = _target(generation, action, resource)
    public = isinstance(target, Public)
    roles = frozenset(generation.roles) if public else _roles_with(generation, target)
    if kind == ROLE:
        return sorted(roles)
    if kind == USER:
        active = (member.record for member in members if member.record.may_sign_in)
        return sorted(one.id for one in active if public or one.role in roles)
    return []


def resources(generation: Generation, kind: str, standing: Standing, action: str) -> list[str]:
    """Sections, or the paths that the route table names, sorted. Another kind of resource: none."""
    if kind == SECTION:
        return sorted(section for section, name in open_cells(generation, standing.role) if name == action)
    if kind == ROUTE:
        return [path for path in named_paths(generation) if _opens(generation, standing.role, action, path)]
    return []


def actions(generation: Generation, standing: Standing, resource: Resource) -> list[str]:
    """Actions of the section, or methods of the route, sorted."""
    if resource.kind == SECTION:
        return sorted(name for section, name in open_cells(generation, standing.role) if section == resource.id)
    if resource.kind == ROUTE:
        return sorted(method for method in METHODS if _opens(generation, standing.role, method, resource.id))
    return []


def named_paths(generation: Generation) -> list[str]:
    """The paths that one can point at: each pattern without ``*``, and the root of each ``…/**``. There is no end to
    the others, so a search does not list them; evaluation answers for any."""
    paths = set()
    for route in generation.routes.routes:
        segments = route.segments[:-1] if route.segments[-1:] == ("**",) else route.segments
        if "*" not in segments:
            paths.add("/" + "/".join(segments))
    return sorted(paths)


def open_cells(generation: Generation, role: str) -> frozenset[tuple[str, str]]:
    """Section and action pairs; none for a role that is gone."""
    return generation.allowed.get(role, frozenset())


def _target(generation: Generation, action: str, resource: Resource) -> Outcome:
    match resource.kind:
        case "section":
            return Target(resource.id, action)
        case "route":
            return generation.routes.resolve(action, resource.id)
        case _:
            return Reason.UNKNOWN_SECTION


def _roles_with(generation: Generation, target: Outcome) -> frozenset[str]:
    """The roles for which the target is open, ``member`` and inherited rights included."""
    if not isinstance(target, Target):
        return frozenset()
    cell = (target.section, target.action)
    return frozenset(role for role, cells in generation.allowed.items() if cell in cells)


def _opens(generation: Generation, role: str, method: str, path: str) -> bool:
    target = generation.routes.resolve(method, path)
    if isinstance(target, Target):
        return (target.section, target.action) in open_cells(generation, role)
    return isinstance(target, Public)
