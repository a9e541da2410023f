"""Searches and evaluation agree: searches enumerate the policy's allowed cells, evaluation looks each cell up.

The whole finite space: every user in every state and every role, times every section and action, and every path of the
route table and some others with every method.
"""

from itertools import product
from typing import Any

import pytest

from sidecar.domain.access import Resource
from sidecar.domain.decision import Reason
from sidecar.pdp.evaluation import ResolvedSubject, evaluate, resolve_record
from sidecar.pdp.search import actions, named_paths, resources, subjects
from sidecar.policy.generation import Generation
from sidecar.policy.routes import METHODS
from tests.authzen.conftest import AccountsFixture, Pdp, entity, question

STRAY = [
    "/", "/nowhere", "/dashboard", "/dashboard/media-library/shared", "/dashboard/media-library/shared/x",
    "/dashboard/media-library/shared/x/y", "/dashboard/billing/", "/dashboard//billing", "/dashboard/../billing",
]  # fmt: skip
FOREIGN = ("OPTIONS", "TRACE", "get", "")


def own_paths(account: str, uid: str) -> list[str]:
    """Return paths with these ids in the places of own segments."""
    return [
        f"/accounts/{account}/invoices/1",
        f"/accounts/{account}/invoices/terms",
        f"/accounts/{account}/users/{uid}",
        f"/accounts/%61{account[1:]}/invoices",
        f"/accounts/{account.upper()}/invoices",
        f"/reports/{uid}/",
        f"/reports/{account}",
    ]


NOBODYS = own_paths("acc_zzzzzzzzzzzz", "usr_zzzzzzzzzzzz_zzzzzzzzzzzz")


def space(generation: Generation, *more: str) -> list[tuple[str, Resource]]:
    """Every action on every resource that has one, and some without. ``more``: further paths."""
    names = sorted({action for section in generation.sections.values() for action in section.actions} | {"fly"})
    cells = [(action, Resource("section", section)) for section in (*generation.sections, "x") for action in names]
    paths = [*named_paths(generation), *STRAY, *NOBODYS, *more]
    return cells + [(method, Resource("route", path)) for path in paths for method in (*METHODS, *FOREIGN)]


async def test_subject_search_is_evaluation_over_the_whole_space(town: AccountsFixture, generation: Generation) -> None:
    members = (await town.people.users.roster(town.acme)).members
    assert {member.record.status.value for member in members} == {"active", "suspended", "invited"}
    others = own_paths(town.users["eve"].account, town.users["eve"].id)
    paths = [path for member in members for path in own_paths(town.acme, member.record.id)]
    for action, resource in space(generation, *dict.fromkeys(paths), *others):
        expected = sorted(
            member.record.id
            for member in members
            if evaluate(generation, resolve_record(member.record), action, resource).allowed
        )
        assert subjects(generation, "user", action, resource, members) == expected, (action, resource)
        roles = [
            role for role in generation.roles if evaluate(generation, ResolvedSubject(role), action, resource).allowed
        ]
        assert subjects(generation, "role", action, resource, ()) == sorted(roles), (action, resource)


async def test_a_users_searches_are_evaluation_of_own_paths(town: AccountsFixture, generation: Generation) -> None:
    """By user, not by role: each user's own paths are named with the ids of that user alone."""
    everybody = [resolve_record(town.users[name]) for name in ("ada", "anna", "dev", "mark", "eve")]
    paths = {path for user in everybody for path in named_paths(generation, user.record)}  # type: ignore[union-attr]
    for user in everybody:
        assert isinstance(user, ResolvedSubject) and user.record is not None
        mine = named_paths(generation, user.record)
        assert {f"/accounts/{user.record.account}/invoices", f"/reports/{user.record.id}"} <= set(mine)
        for method in (*METHODS, *FOREIGN):
            allowed = {p for p in paths if evaluate(generation, user, method, Resource("route", p)).allowed}
            assert resources(generation, "route", user, method) == sorted(allowed & set(mine))
            foreign = {p for p in allowed - set(mine) if "usr_" in p or "acc_" in p}
            assert not foreign, foreign
        for path in (*paths, *STRAY):
            expected = [m for m in METHODS if evaluate(generation, user, m, Resource("route", path)).allowed]
            assert actions(generation, user, Resource("route", path)) == sorted(expected)


def test_resource_search_is_evaluation_over_the_whole_space(generation: Generation) -> None:
    actions_named = {action for section in generation.sections.values() for action in section.actions}
    for role, action in product(generation.roles, (*actions_named, *METHODS, *FOREIGN, "fly")):
        standing = ResolvedSubject(role)

        def allowed(kind: str, names: Any, action: str = action, standing: ResolvedSubject = standing) -> list[str]:
            return sorted(
                name for name in names if evaluate(generation, standing, action, Resource(kind, name)).allowed
            )

        assert resources(generation, "section", standing, action) == allowed("section", generation.sections)
        assert resources(generation, "route", standing, action) == allowed("route", named_paths(generation))


def test_action_search_is_evaluation_over_the_whole_space(generation: Generation) -> None:
    names = sorted({action for section in generation.sections.values() for action in section.actions})
    everything = [Resource("section", section) for section in (*generation.sections, "x")]
    everything += [Resource("route", path) for path in (*named_paths(generation), *STRAY, *NOBODYS)]
    for role, resource in product(generation.roles, everything):
        asked = names if resource.kind == "section" else (*METHODS, *FOREIGN)
        expected = sorted(name for name in asked if evaluate(generation, ResolvedSubject(role), name, resource).allowed)
        assert actions(generation, ResolvedSubject(role), resource) == expected, (role, resource)


def test_a_role_that_is_gone_opens_nothing(generation: Generation) -> None:
    gone = ResolvedSubject("ghost")
    assert resources(generation, "section", gone, "view") == []
    assert actions(generation, gone, Resource("section", "billing")) == []
    assert evaluate(generation, gone, "view", Resource("section", "billing")).reason is Reason.NO_RULE


@pytest.mark.slow
async def test_over_http_exactly_the_results_evaluate_to_true(
    pdp: Pdp, town: AccountsFixture, generation: Generation
) -> None:
    """The same over HTTP, for every user by id and by e-mail, and for every role, in batches."""
    people = [(("user", record), record) for name, record in town.users.items() if name != "eve"]
    names = ("ada", "anna", "dev", "mark", "sue", "ivan")
    people += [(("user", f"{name}@acme.example"), town.users[name]) for name in names]
    roles = [(("role", role), None) for role in generation.roles]
    for subject, record in [*people, *roles, (("user", town.users["eve"]), town.users["eve"])]:
        asked = [
            (action, ("section", section.id)) for section in generation.sections.values() for action in section.actions
        ]
        asked += [(method, ("route", path)) for path in named_paths(generation, record) for method in METHODS]
        batch = await pdp.batch([question(subject, action, resource) for action, resource in asked])
        allowed = {pair for pair, item in zip(asked, batch.body["evaluations"], strict=True) if item["decision"]}
        for kind in ("section", "route"):
            found = set()
            for action in {action for action, resource in asked if resource[0] == kind}:
                body = {"subject": entity(subject), "action": {"name": action}, "resource": {"type": kind}}
                results = (await pdp.search("resource", body)).body["results"]
                found |= {(action, (kind, one["id"])) for one in results}
            assert found == {pair for pair in allowed if pair[1][0] == kind}
            found = set()
            for identifier in {resource[1] for _, resource in asked if resource[0] == kind}:
                body = {"subject": entity(subject), "resource": entity((kind, identifier))}
                results = (await pdp.search("action", body)).body["results"]
                found |= {(one["name"], (kind, identifier)) for one in results}
            assert found == {pair for pair in allowed if pair[1][0] == kind}
