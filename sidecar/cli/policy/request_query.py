"""Queries by method and path: ``ROLE METHOD PATH`` in place of ``ROLE SECTION ACTION``."""

from collections.abc import Collection

from sidecar.cli.output import usage_error
from sidecar.cli.policy.policy_source import Source
from sidecar.domain.decision import Reason
from sidecar.domain.users import UserRecord
from sidecar.policy.diagnostics import did_you_mean
from sidecar.policy.explain import Explanation
from sidecar.policy.explain_request import explain_request, is_method, path_problem
from sidecar.policy.explained import RequestShown, to_explained
from sidecar.policy.generation import Generation
from sidecar.policy.route_notes import route_id, route_text
from sidecar.policy.routes import METHODS


def is_path(last: str) -> bool:
    """Return whether the last argument of a query is a path, and the one before it a method."""
    return last.startswith("/")


def request_explained(
    generation: Generation, role: str, method: str, path: str, met: Collection[str], person: UserRecord | None
) -> Explanation:
    """Explain a request. End the verb with status 2 if it is none."""
    if not is_method(method):
        hint = did_you_mean(method, METHODS) or f"known: {', '.join(METHODS)}"
        raise usage_error(f'"{method}" is not a method ({hint})')
    problem = path_problem(path)
    if problem:
        raise usage_error(f'"{path}": {problem}')
    return explain_request(generation, role, method, path, met=met, person=person)


def route_rows(found: Explanation, source: Source) -> dict[str, object]:
    """Return the rows of an explanation about routes: route and target of a request, own paths of a cell."""
    rows: dict[str, object] = {}
    request = found.request
    if request is not None:
        route = request.route
        rows["route"] = f"{source.name_of(route_id(route))}: {route_text(route)}" if route else f"none: {found.hint}"
        rows["target"] = request.target
    for route in found.own_routes:
        rows[f"own {route.line}"] = f"{source.name_of(route_id(route))}: {route_text(route)}"
    if found.note:
        rows["note"] = found.note
    return rows


def because(found: Explanation, source: Source) -> str:
    """Return reason, rule, route and note of a request's decision, in one line."""
    rule = f" by {source.name_of(found.rule.id)}" if found.rule else ""
    request = found.request
    route = ""
    if request is not None and request.route is not None:
        target = "" if found.ruling.reason is Reason.PUBLIC else f", {request.target}"
        route = f"{target} by {source.name_of(route_id(request.route))}"
    unmet = f", but unmet: {', '.join(found.unmet)}" if found.unmet else ""
    after = "".join(f"; {text}" for text in (found.hint, found.note) if text)
    return f"{found.ruling.reason}{rule}{route}{unmet}{after}"


def as_members(found: Explanation, source: Source) -> dict[str, object]:
    """Return the members of a request's decision in JSON."""
    shown = to_explained(found, source.name_of)
    request = shown.request or RequestShown("", "", "", None, None)
    members = {
        "role": shown.role,
        "section": shown.section,
        "action": shown.action,
        "decision": shown.decision,
        "reason": shown.reason.value,
        "rule": shown.rule,
        "request": request,
    }
    needs = {"needs": [list(line.conditions) for line in found.needs], "unmet": shown.unmet} if found.needs else {}
    return {**members, **needs, **({"note": shown.note} if shown.note else {})}
