"""AuthZEN's three searches: allowed subjects, resources or actions.

Results are computed from the allowed cells of the policy. ``evaluation`` looks cells up one by one, and the tests
compare both over the whole space. Denied entries are omitted, including suspended and invited users.
"""

from collections.abc import Iterable

from sidecar.domain.access import OwnTarget, Resource, Target
from sidecar.domain.users import Member, UserRecord
from sidecar.pdp.evaluation import (
    ROLE,
    ROUTE,
    SECTION,
    USER,
    Circumstances,
    ResolvedSubject,
    facts_class,
    is_own,
    resolve,
)
from sidecar.policy.generation import Generation
from sidecar.policy.own_segments import ACCOUNT
from sidecar.policy.own_segments import USER as OWN_USER
from sidecar.policy.routes import METHODS, Outcome, Public


def subjects(
    generation: Generation,
    kind: str,
    action: str,
    resource: Resource,
    members: Iterable[Member],
    circumstances: Circumstances | None = None,
) -> list[str]:
    """Return the sorted ids of allowed users among ``members``, or of allowed roles. Other kinds: empty."""
    found = resolve(generation, action, resource)
    target = found.target if isinstance(found, OwnTarget) else found
    public = isinstance(target, Public)
    roles = frozenset(generation.roles) if public else _roles_with(generation, target)

    def is_met(resolved: ResolvedSubject) -> bool:
        if isinstance(found, OwnTarget) and not is_own(found, resolved):
            return False
        return not isinstance(target, Target) or _is_met(generation, resolved, target, circumstances)

    if kind == ROLE:
        return sorted(role for role in roles if is_met(ResolvedSubject(role)))
    if kind == USER:
        active = (member.record for member in members if member.record.may_sign_in)
        allowed = (one for one in active if public or one.role in roles)
        return sorted(one.id for one in allowed if is_met(ResolvedSubject(one.role, one)))
    return []


def resources(
    generation: Generation,
    kind: str,
    resolved: ResolvedSubject,
    action: str,
    circumstances: Circumstances | None = None,
) -> list[str]:
    """Return the sorted allowed sections, or paths that the route table names. Other kinds: empty.

    A user's own paths are named with the user's ids.
    """
    cells = met_cells(generation, resolved, circumstances)
    if kind == SECTION:
        return sorted(section for section, name in cells if name == action)
    if kind == ROUTE:
        paths = named_paths(generation, resolved.record)
        return [path for path in paths if _opens(generation, resolved, cells, action, path)]
    return []


def actions(
    generation: Generation,
    resolved: ResolvedSubject,
    resource: Resource,
    circumstances: Circumstances | None = None,
) -> list[str]:
    """Return the sorted allowed actions of the section, or methods of the route. Other kinds: empty."""
    cells = met_cells(generation, resolved, circumstances)
    if resource.kind == SECTION:
        return sorted(name for section, name in cells if section == resource.id)
    if resource.kind == ROUTE:
        return sorted(method for method in METHODS if _opens(generation, resolved, cells, method, resource.id))
    return []


def named_paths(generation: Generation, record: UserRecord | None = None) -> list[str]:
    """Return the listable paths: each pattern without ``*``, and the root of each ``…/**``. Other paths are infinite in
    number, so a search omits them; evaluation decides any path.

    ``record``: the user whose ids replace own segments. Without it, paths with own segments are omitted.
    """
    ids = {} if record is None else {ACCOUNT: record.account, OWN_USER: record.id}
    omitted = {"*", ACCOUNT, OWN_USER} - ids.keys()
    paths = set()
    for route in generation.routes.routes:
        segments = route.segments[:-1] if route.segments[-1:] == ("**",) else route.segments
        if omitted.isdisjoint(segments):
            paths.add("/" + "/".join(ids.get(segment, segment) for segment in segments))
    return sorted(paths)


def open_cells(generation: Generation, role: str) -> frozenset[tuple[str, str]]:
    """Return the allowed (section, action) pairs; empty for a removed role."""
    return generation.allowed.get(role, frozenset())


def met_cells(
    generation: Generation, resolved: ResolvedSubject, circumstances: Circumstances | None
) -> frozenset[tuple[str, str]]:
    """Return the allowed (section, action) pairs with their needs met."""
    cells, needs = open_cells(generation, resolved.role), generation.needs
    if not needs.active:
        return cells
    facts, client = facts_class(generation, resolved, circumstances)
    number = needs.at(facts.base, client)
    requirements = {cell: needs.of(resolved.role, *cell) for cell in cells}
    return frozenset(cell for cell, one in requirements.items() if one is None or one.meets(number))


def _is_met(
    generation: Generation, resolved: ResolvedSubject, target: Target, circumstances: Circumstances | None
) -> bool:
    requirement = generation.needs.of(resolved.role, target.section, target.action)
    if requirement is None:
        return True
    facts, client = facts_class(generation, resolved, circumstances)
    return requirement.meets(generation.needs.at(facts.base, client))


def _roles_with(generation: Generation, target: Outcome) -> frozenset[str]:
    """Return the roles allowed for the target, including rights of ``member`` and inherited rights."""
    if not isinstance(target, Target):
        return frozenset()
    cell = (target.section, target.action)
    return frozenset(role for role, cells in generation.allowed.items() if cell in cells)


def _opens(
    generation: Generation,
    resolved: ResolvedSubject,
    cells: frozenset[tuple[str, str]],
    method: str,
    path: str,
) -> bool:
    target: Outcome = generation.routes.resolve(method, path)
    if isinstance(target, OwnTarget):
        if not is_own(target, resolved):
            return False
        target = target.target
    if isinstance(target, Target):
        return (target.section, target.action) in cells
    return isinstance(target, Public)
