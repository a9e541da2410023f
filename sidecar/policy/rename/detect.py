"""Recognition of renames between two generations: removed and added names that mean the same.

Evidence is what requests and users see: the routes of a section or action, the rights of a role. Without routes, a
section or an action is renamed only if its declared title stays. A guess would hide a change that opens access.
"""

from collections.abc import Callable, Collection, Mapping

from sidecar.domain.access import Target
from sidecar.policy.declarations import Section, default_title
from sidecar.policy.generation import Generation
from sidecar.policy.needs.compare import NeedComparer
from sidecar.policy.rename.names import Renames

Places = Mapping[tuple[str, str], Collection[tuple[object, str]]]
"""Section and action → segments and method of its routes."""


def detect_renames(old: Generation, new: Generation, needs: NeedComparer) -> Renames:
    """Return the recognised renames. A name with two possible partners is not renamed."""
    before, after = _places(old), _places(new)
    sections = _sections(old, new, before, after)
    actions: dict[tuple[str, str], str] = {}
    for section in old.sections.values():
        renamed = new.sections.get(sections.get(section.id, section.id))
        if renamed is not None:
            actions.update(_actions(section, renamed, before, after))
    found = Renames(sections=sections, actions=actions)
    return Renames(_roles(old, new, found, needs), sections, actions)


def _places(generation: Generation) -> dict[tuple[str, str], set[tuple[object, str]]]:
    found: dict[tuple[str, str], set[tuple[object, str]]] = {}
    for route in generation.routes.routes:
        if isinstance(route.target, Target):
            key = (route.target.section, route.target.action)
            found.setdefault(key, set()).update((route.segments, method) for method in route.methods)
    return found


def _sections(old: Generation, new: Generation, before: Places, after: Places) -> dict[str, str]:
    def alike(gone: str, added: str) -> int:
        was = {place for (section, _), places in before.items() if section == gone for place in places}
        now = {place for (section, _), places in after.items() if section == added for place in places}
        same_actions = set(old.sections[gone].actions) == set(new.sections[added].actions)
        return _overlap(was, now, old.sections[gone].title == new.sections[added].title and same_actions)

    gone = [name for name in old.sections if name not in new.sections]
    return _pairs(gone, [name for name in new.sections if name not in old.sections], alike)


def _actions(section: Section, renamed: Section, before: Places, after: Places) -> dict[tuple[str, str], str]:
    def alike(gone: str, added: str) -> int:
        was, now = before.get((section.id, gone), ()), after.get((renamed.id, added), ())
        title = _declared_title(section, gone)
        return _overlap(set(was), set(now), title is not None and title == _declared_title(renamed, added))

    gone = [name for name in section.actions if name not in renamed.actions]
    found = _pairs(gone, [name for name in renamed.actions if name not in section.actions], alike)
    return {(section.id, name): other for name, other in found.items()}


def _declared_title(section: Section, action: str) -> str | None:
    title = section.action_titles[section.actions.index(action)]
    return None if title == default_title(action) else title


def _overlap(was: set[tuple[object, str]], now: set[tuple[object, str]], same_title: bool) -> int:
    """Return a positive number if more than half of the routes stay, or the title if neither side has routes."""
    if not was and not now:
        return int(same_title)
    shared = len(was & now)
    return shared if 2 * shared > max(len(was), len(now)) else 0


def _roles(old: Generation, new: Generation, renames: Renames, needs: NeedComparer) -> dict[str, str]:
    """Return renamed roles: equal rights, needs and assignability; or the same title and most rights."""

    def alike(gone: str, added: str) -> int:
        was, now = renames.cells(old.allowed[gone]), new.allowed[added]
        titled = old.roles[gone].title == new.roles[added].title
        same = was == now and old.roles[gone].assignable is new.roles[added].assignable
        if same and was and not _differ(gone, added):
            return 2 + titled
        return int(titled and 2 * len(was & now) > max(len(was), len(now)))

    def _differ(gone: str, added: str) -> bool:
        cells = old.allowed[gone] if needs.active else ()
        return any(needs.compare((gone, *cell), (added, *renames.cell(*cell))) is not None for cell in cells)

    gone = [name for name in old.roles if name not in new.roles]
    return _pairs(gone, [name for name in new.roles if name not in old.roles], alike)


def _pairs(gone: list[str], added: list[str], alike: Callable[[str, str], int]) -> dict[str, str]:
    """Return each pair in which both names are the only best partner of the other."""
    if not gone or not added:
        return {}
    points = {(one, other): alike(one, other) for one in gone for other in added}
    forward = {one: _best({other: points[one, other] for other in added}) for one in gone}
    backward = {other: _best({one: points[one, other] for one in gone}) for other in added}
    return {one: other for one, other in forward.items() if other is not None and backward[other] == one}


def _best(points: Mapping[str, int]) -> str | None:
    most = max(points.values())
    best = [name for name, number in points.items() if number == most]
    return best[0] if most and len(best) == 1 else None
