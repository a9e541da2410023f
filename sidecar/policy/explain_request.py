"""Explanation of a request: its route, the section and action of the route, and the rule that decides them."""

from collections.abc import Collection
from dataclasses import replace

from sidecar.domain.access import OwnTarget
from sidecar.domain.decision import Reason
from sidecar.domain.users import UserRecord
from sidecar.policy.decision_table import Ruling
from sidecar.policy.explain import Explanation, explain, explain_person, status_denial
from sidecar.policy.generation import Generation
from sidecar.policy.route_notes import RequestMatch, for_ones_own
from sidecar.policy.routes import Public, ambiguity, outcome_text


def explain_request(
    generation: Generation,
    role: str,
    method: str,
    path: str,
    *,
    met: Collection[str] = (),
    person: UserRecord | None = None,
) -> Explanation:
    """Explain the decision of a check of this request, for a role or for a user of the role.

    ``path``: percent-encoded, without query. ``met``: names of conditions that are met.
    """
    outcome = generation.routes.resolve(method, path)
    request = RequestMatch(method, path, outcome_text(outcome), generation.routes.route_of(method, path))
    if isinstance(outcome, Public):
        return Explanation(generation.id, role, "", "", Ruling(Reason.PUBLIC), request=request, person=person)
    if isinstance(outcome, Reason):
        known = None if person is None or outcome is Reason.AMBIGUOUS_PATH else status_denial(person)
        ruling = known or Ruling(outcome)
        hint = _hint(generation, outcome, path)
        return Explanation(generation.id, role, "", "", ruling, request=request, person=person, hint=hint)
    target = outcome.target if isinstance(outcome, OwnTarget) else outcome
    if person is None:
        found = explain(generation, role, target.section, target.action, met)
    else:
        found = explain_person(generation, person, target.section, target.action, met)
    found = replace(found, request=request, own_routes=(), note="")
    if not isinstance(outcome, OwnTarget) or not found.ruling.allowed:
        return found
    if person is not None and outcome.is_own(person.account, person.id):
        return found
    note = "" if person is not None else for_ones_own(allowed=found.allowed, why=f"unmet: {', '.join(found.unmet)}")
    return replace(found, ruling=Ruling(Reason.NOT_YOURS, found.ruling.rule), unmet=(), sign_in=False, note=note)


def is_method(text: str) -> bool:
    """Return whether ``text`` has the form of a method: upper case. Methods are case-sensitive."""
    return text.isascii() and text.isalpha() and text.isupper()


def path_problem(path: str) -> str:
    """Return the reason why ``path`` is not the path of a request; empty if it is one."""
    if not path.startswith("/"):
        return "a path begins with /"
    return "a path has no ?: leave out the query, which decides nothing" if "?" in path else ""


def _hint(generation: Generation, reason: Reason, path: str) -> str:
    if reason is Reason.AMBIGUOUS_PATH:
        return f"the path contains {ambiguity(path)}, which programs interpret differently"
    methods = generation.routes.methods_at(path)
    return f"its routes have only {', '.join(methods)}" if methods else "no route in sections.toml has this path"
