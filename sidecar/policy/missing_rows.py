"""Rows that are missing in expectations.csv and routes.csv, as the policy decides now. They are proposals for a review.

A ``*`` is used where a whole section or a whole role has one decision. A role without any row is denied by default: its
first row is ``deny, ROLE, *, *``, and the allows follow.
"""

from collections.abc import Iterable, Iterator, Mapping

from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Cell
from sidecar.policy.generation import Generation
from sidecar.policy.name_checks import ANY
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.needs.rows import example_row
from sidecar.policy.own_checks import owner
from sidecar.policy.routes import Route, RouteTable
from sidecar.policy.rules import Effect

Row = tuple[str, ...]
"""Fields of a line."""


def missing_expectations(generation: Generation, missing: Iterable[Cell], *, explicit: bool = False) -> Iterator[Row]:
    """Yield rows for the missing cells, by role and in the order of sections.toml.

    ``explicit``: no allow is covered by a ``*``.
    """
    by_role: dict[str, dict[str, list[str]]] = {}
    for role, section, action in missing:
        by_role.setdefault(role, {}).setdefault(section, []).append(action)
    for role, sections in by_role.items():
        whole = all(
            len(sections.get(section.id, ())) == len(section.actions) for section in generation.sections.values()
        )
        yield from _of_role(generation, role, sections, whole=whole, explicit=explicit)


def _of_role(
    generation: Generation, role: str, sections: Mapping[str, list[str]], *, whole: bool, explicit: bool
) -> Iterator[Row]:
    """Yield the rows of one role. ``whole``: the role has no row yet."""
    effects = {section: [_effect(generation, role, section, a) for a in names] for section, names in sections.items()}
    found = {effect for listed in effects.values() for effect in listed}
    base = Effect.DENY if Effect.DENY in found else Effect.ALLOW
    whole = whole and len(sections) > 1 and not (explicit and base is Effect.ALLOW)
    if whole:
        yield (base, role, ANY, ANY)
    for section, actions in sections.items():
        covers = len(actions) > 1 and len(actions) == len(generation.sections[section].actions)
        effect = effects[section][0]
        if covers and len(set(effects[section])) == 1 and not (explicit and effect is Effect.ALLOW):
            if not (whole and effect is base):
                yield (effect, role, section, ANY)
            continue
        for action, one in zip(actions, effects[section], strict=True):
            if not (whole and one is base):
                yield (one, role, section, action)


def _effect(generation: Generation, role: str, section: str, action: str) -> Effect:
    return Effect.ALLOW if decide(generation, role, section, action).allowed else Effect.DENY


def missing_need_tests(generation: Generation, untested: Iterable[NeedLine]) -> Iterator[Row]:
    """Yield a row in which each line of needs.csv is decisive, if there is one."""
    for line in untested:
        row = example_row(generation.needs, line, generation.roles, generation.cells)
        if row is not None:
            yield tuple(row.split(", "))


# -- routes.csv --------------------------------------------------------------------------------------------------------

_REST = ("/example", "", "/example/example", "/example/example/example")
_SEGMENTS = ("example", "example-2", "example-3")


def missing_route_tests(generation: Generation, untested: Iterable[Route]) -> Iterator[Row]:
    """Yield a row for each route."""
    for route in untested:
        yield (owner(route), *example_request(generation.routes, route))


def example_request(table: RouteTable, route: Route) -> tuple[str, str]:
    """Return method and path of a request that the route decides, if one of the tried ones is.

    A more specific route may decide some of the paths that match.
    """
    for segment in _SEGMENTS:
        for rest in _REST:
            path = route.path.replace("/**", rest).replace("*", segment) or "/"
            for method in route.methods:
                if table.route_of(method, path) is route:
                    return method, path
    return route.methods[0], route.path.replace("/**", _REST[0]).replace("*", _SEGMENTS[0])
