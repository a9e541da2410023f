"""Recognition of renames between two generations: removed and added names that mean the same.

Evidence is what requests and users see: the routes of a section or action, the rights of a role. Without routes, a
section or an action is renamed only if its declared title stays. A guess would hide a change that opens access. The
time is linear in the policy, because a preview compares any files.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from sidecar.domain.access import Target
from sidecar.policy.declarations import Section, default_title
from sidecar.policy.generation import Generation
from sidecar.policy.needs.compare import NeedComparer
from sidecar.policy.rename.names import Renames

Place = tuple[object, str]
"""Segments and method of a route."""
Places = Mapping[str, frozenset[Place]]
"""Name → places of its routes."""
Key = Callable[[str], object]
"""Name → what must be equal without routes. None: nothing proves a rename."""


def detect_renames(old: Generation, new: Generation, needs: NeedComparer) -> Renames:
    """Return the recognised renames. A name with two possible partners is not renamed."""
    gone = [name for name in old.sections if name not in new.sections]
    added = [name for name in new.sections if name not in old.sections]
    if not gone and not added and all(one.actions == new.sections[one.id].actions for one in old.sections.values()):
        return Renames(_roles(old, new, Renames(), needs))
    before, after = _places(old), _places(new)
    sections = _pairs(gone, added, _joined(before), _joined(after), _section_key(old), _section_key(new))
    actions: dict[tuple[str, str], str] = {}
    for section in old.sections.values():
        renamed = new.sections.get(sections.get(section.id, section.id))
        if renamed is not None:
            found = _actions(section, renamed, before.get(section.id, {}), after.get(renamed.id, {}))
            actions.update({(section.id, name): other for name, other in found.items()})
    renames = Renames(sections=sections, actions=actions)
    return Renames(_roles(old, new, renames, needs), sections, actions)


# -- sections and actions ----------------------------------------------------------------------------------------------


def _places(generation: Generation) -> dict[str, dict[str, frozenset[Place]]]:
    """Return the places of each action of each section."""
    found: dict[str, dict[str, frozenset[Place]]] = {}
    for route in generation.routes.routes:
        if isinstance(route.target, Target):
            places = frozenset((route.segments, method) for method in route.methods)
            actions = found.setdefault(route.target.section, {})
            actions[route.target.action] = actions.get(route.target.action, frozenset()) | places
    return found


def _joined(places: Mapping[str, Places]) -> Places:
    return {section: frozenset().union(*actions.values()) for section, actions in places.items()}


def _section_key(generation: Generation) -> Key:
    return lambda name: (generation.sections[name].title, frozenset(generation.sections[name].actions))


def _actions(section: Section, renamed: Section, before: Places, after: Places) -> dict[str, str]:
    gone = [name for name in section.actions if name not in renamed.actions]
    added = [name for name in renamed.actions if name not in section.actions]
    return _pairs(gone, added, before, after, _action_key(section), _action_key(renamed))


def _action_key(section: Section) -> Key:
    titles = dict(zip(section.actions, section.action_titles, strict=True))
    return lambda action: None if titles[action] == default_title(action) else titles[action]


def _pairs(
    gone: list[str], added: list[str], before: Places, after: Places, old_key: Key, new_key: Key
) -> dict[str, str]:
    """Return the renamed ones: more than half of the routes stay, or neither side has routes and the keys are equal."""
    nowhere: frozenset[Place] = frozenset()
    owners = {place: name for name in added for place in after.get(name, nowhere)}
    by_key = _single((new_key(name), name) for name in added if name not in after)
    old_keys = Counter(old_key(name) for name in gone if name not in before)
    found: dict[str, str] = {}
    for name in gone:
        places = before.get(name, nowhere)
        shared = Counter(owners[place] for place in places if place in owners).most_common(1)
        if shared and 2 * shared[0][1] > max(len(places), len(after[shared[0][0]])):
            found[name] = shared[0][0]
        elif not places and old_keys[old_key(name)] == 1 and (other := by_key.get(old_key(name))) is not None:
            found[name] = other
    return found


def _single(items: Iterable[tuple[object, str]]) -> dict[object, str]:
    """Return the names by key, without keys of several names and without None."""
    listed = list(items)
    counts = Counter(key for key, _ in listed)
    return {key: name for key, name in listed if key is not None and counts[key] == 1}


# -- roles -------------------------------------------------------------------------------------------------------------


def _roles(old: Generation, new: Generation, renames: Renames, needs: NeedComparer) -> dict[str, str]:
    """Return renamed roles: equal rights, needs and assignability; or the same title and more than half of the rights.

    Of several roles with equal rights, those with the same title are renamed.
    """
    gone = [name for name in old.roles if name not in new.roles]
    added = [name for name in new.roles if name not in old.roles]
    if not gone or not added:
        return {}
    was = {name: renames.cells(old.allowed[name]) for name in gone}
    now = {name: frozenset(new.allowed[name]) for name in added}
    titles = _single((new.roles[name].title, name) for name in added)
    same = _single((_rights(new, name, now[name]), name) for name in added)
    counts = Counter(_rights(old, name, was[name]) for name in gone)
    found: dict[str, str] = {}
    for name in gone:
        rights = _rights(old, name, was[name])
        titled = titles.get(old.roles[name].title)
        other = same.get(rights) if counts[rights] == 1 else None
        if other is not None and not _differ(old, name, other, renames, needs):
            found[name] = other
        elif titled is not None and 2 * len(was[name] & now[titled]) > max(len(was[name]), len(now[titled])):
            found[name] = titled
    partners = Counter(found.values())
    return {name: other for name, other in found.items() if partners[other] == 1}


def _rights(generation: Generation, role: str, cells: frozenset[tuple[str, str]]) -> object:
    return (generation.roles[role].assignable, cells) if cells else None


def _differ(old: Generation, gone: str, added: str, renames: Renames, needs: NeedComparer) -> bool:
    cells = old.allowed[gone] if needs.active else ()
    return any(needs.compare((gone, *cell), (added, *renames.cell(*cell))) is not None for cell in cells)
