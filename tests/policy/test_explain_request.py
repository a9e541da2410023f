"""Explanation of a request: the check's decision, its route, its section and action, its rule."""

import random

import msgspec
import pytest

from sidecar.domain.access import Credential, CredentialSource, Question, RequestPath
from sidecar.domain.decision import Decision, Reason
from sidecar.policy.explain import explain
from sidecar.policy.explain_request import explain_request, is_method, path_problem
from sidecar.policy.explained import Explained, to_explained
from sidecar.policy.generation import Generation
from sidecar.policy.routes import METHODS
from tests.needs_world import policy_with
from tests.own_forms import foreign_forms
from tests.own_world import OwnWorld, own_policy, token_of

ACCOUNT, OTHER = "acc_aaaaaaaaaaaa", "acc_bbbbbbbbbbbb"


@pytest.fixture(scope="module")
def own() -> Generation:
    return own_policy()


@pytest.fixture(scope="module")
def world() -> OwnWorld:
    return OwnWorld()


def test_an_explanation_is_the_decision_of_a_check(world: OwnWorld) -> None:
    """For each user, over own and other paths, methods, and forms of ids."""
    generation = world.policy.generation
    forms = random.Random(18).sample([*foreign_forms(ACCOUNT, OTHER).values()], 20)
    paths = [f"/accounts/{one}/invoices/1" for one in (ACCOUNT, OTHER, *forms)]
    paths += [f"/reports/{user.id}" for user in world.users.values()]
    paths += ["/login", "/", "/dashboard/billing", "/dashboard//billing", f"/accounts/{OTHER}/invoices/terms"]
    for user in world.users.values():
        credential = Credential(CredentialSource.HEADER, token_of(user))
        for path in paths:
            for method in (*METHODS, "TRACE", "get"):
                decision = world.pdp.check_now(Question(RequestPath(method, path), credential))
                assert isinstance(decision, Decision)
                found = explain_request(generation, user.role, method, path, person=user)
                assert (found.ruling.reason, found.allowed) == (decision.reason, decision.allowed), (method, path)
                assert (found.section, found.action) == (decision.section, decision.action)
                assert (found.rule.id if found.rule else None) == decision.rule
                msgspec.convert(msgspec.to_builtins(to_explained(found)), Explained)


def test_a_role_is_not_yours_and_allowed_for_ones_own(own: Generation) -> None:
    found = explain_request(own, "accountant", "GET", f"/accounts/{ACCOUNT}/invoices/1")
    assert (found.ruling.reason, found.allowed, found.note) == (Reason.NOT_YOURS, False, "for one's own: allow")
    assert found.edits_to_flip == ()
    request = to_explained(found).request
    assert request is not None
    assert (request.target, request.pattern) == ("own billing/view", "/accounts/{account}/invoices/**")
    assert request.route is not None
    assert request.route.startswith("policy/sections.toml:")
    denied = explain_request(own, "marketer", "GET", f"/accounts/{ACCOUNT}/invoices/1")
    assert (denied.ruling.reason, denied.note) == (Reason.NO_RULE, "")
    assert denied.edits_to_flip


def test_unmet_needs_stand_beside_ones_own() -> None:
    own = policy_with("needs, accountant, billing, view, office\n", own=True)
    path = f"/accounts/{ACCOUNT}/invoices/1"
    assert explain_request(own, "accountant", "GET", path).note == "for one's own: deny (unmet: office)"
    assert explain_request(own, "accountant", "GET", path, met={"office"}).note == "for one's own: allow"


def test_a_cell_names_its_own_paths_and_who_cannot_know_them(own: Generation) -> None:
    all_own, some_own, none = (
        explain(own, "accountant", section, "view") for section in ("analytics", "billing", "account-settings")
    )
    assert all_own.allowed and some_own.allowed
    unknown = "/v1/check and sections of AuthZEN cannot know the path"
    assert some_own.note == f"the path must have the caller's own ids; {unknown}"
    named = "/check/sections/analytics/view is not_yours"
    assert all_own.note == f"the path must have the caller's own ids; {named}; {unknown}"
    assert [one.text for one in to_explained(all_own).own] == ["GET /reports/{user}/**"]
    assert (none.own_routes, none.note) == ((), "")


@pytest.mark.parametrize(
    ("method", "path", "reason", "hint"),
    [
        ("GET", "/nope", Reason.UNMATCHED_PATH, "no route in sections.toml has this path"),
        ("POST", "/login", Reason.UNMATCHED_PATH, "its routes have only GET, HEAD"),
        ("GET", "/a//b", Reason.AMBIGUOUS_PATH, 'the path contains "//", which programs interpret differently'),
        ("GET", "/login", Reason.PUBLIC, ""),
    ],
)
def test_a_request_without_a_section(own: Generation, method: str, path: str, reason: Reason, hint: str) -> None:
    found = explain_request(own, "marketer", method, path)
    assert (found.ruling.reason, found.hint, found.section, found.action) == (reason, hint, "", "")
    assert found.allowed is (reason is Reason.PUBLIC)


def test_what_is_a_method_and_a_path() -> None:
    assert [text for text in ("GET", "TRACE", "get", "Post", "", "G T", "ÄT") if is_method(text)] == ["GET", "TRACE"]
    assert path_problem("/a") == ""
    assert path_problem("a")
    assert path_problem("/a?b")
