"""Own segments over AuthZEN: a user's own path, a role without ids, and questions that cannot know a path."""

from typing import Any

import pytest

from tests.authzen.conftest import AccountsFixture, Pdp, entity
from tests.needs_world import policy_with
from tests.own_forms import foreign_forms

EVALUATION = "/access/v1/evaluation"
NOT_YOURS = {"decision": False, "context": {"reason": "not_yours"}}


async def reply(pdp: Pdp, subject: Any, path: str, method: str = "GET") -> Any:
    return (await pdp.evaluate(subject, method, ("route", path))).body


async def test_a_path_is_its_users_own(pdp: Pdp, town: AccountsFixture) -> None:
    anna, ada, eve = (town.users[name] for name in ("anna", "ada", "eve"))
    for who in (("user", anna), ("user", "anna@acme.example")):
        assert await reply(pdp, who, f"/accounts/{town.acme}/invoices/1") == {"decision": True}
        assert await reply(pdp, who, f"/accounts/{eve.account}/invoices/1") == NOT_YOURS
        assert await reply(pdp, who, f"/reports/{anna.id}") == {"decision": True}
        assert await reply(pdp, who, f"/reports/{ada.id}") == NOT_YOURS
        assert await reply(pdp, who, f"/accounts/{eve.account}/invoices/terms") == {"decision": True}, "own = false"
        batch = await pdp.batch(
            [
                {"subject": entity(who), "action": {"name": "GET"}, "resource": entity(("route", f"/reports/{one.id}"))}
                for one in (anna, ada)
            ]
        )
        assert batch.body == {"evaluations": [{"decision": True}, {"decision": False}]}


async def test_a_role_is_never_ones_own_and_the_answer_says_so(pdp: Pdp, town: AccountsFixture) -> None:
    for path in (f"/accounts/{town.acme}/invoices/1", "/accounts/x/invoices/1", "/accounts/{account}/invoices/1"):
        assert await reply(pdp, ("role", "accountant"), path) == {
            "decision": False,
            "context": {"reason": "not_yours", "note": "for one's own: allow"},
        }
        assert await reply(pdp, ("role", "marketer"), path) == {"decision": False, "context": {"reason": "no_rule"}}


async def test_a_role_with_needs_is_told_what_one_would_need(pdp: Pdp) -> None:
    pdp.app.policy.generation = policy_with("needs, accountant, billing, view, office\n", own=True)
    assert await reply(pdp, ("role", "accountant"), "/accounts/x/invoices/1") == {
        "decision": False,
        "context": {"reason": "not_yours", "note": "for one's own: deny (condition_unmet)"},
    }


async def test_a_section_is_decided_without_a_path(pdp: Pdp, town: AccountsFixture) -> None:
    """The service that asks compares the ids itself (policy/README.md)."""
    for subject in (("user", town.users["anna"]), ("role", "accountant")):
        assert await pdp.decides(subject, "view", ("section", "analytics"))
        assert await pdp.decides(subject, "view", ("section", "billing"))


@pytest.mark.parametrize("kind", ["account", "user"])
async def test_sixty_forms_of_anothers_id_are_denied(pdp: Pdp, town: AccountsFixture, kind: str) -> None:
    anna, eve = town.users["anna"], town.users["eve"]
    own, other = (anna.account, eve.account) if kind == "account" else (anna.id, eve.id)
    before, after = ("/accounts/", "/invoices/1") if kind == "account" else ("/reports/", "/1")
    assert await pdp.decides(("user", anna), "GET", ("route", f"{before}{own}{after}"))
    for name, form in foreign_forms(own, other).items():
        assert not await pdp.decides(("user", anna), "GET", ("route", f"{before}{form}{after}")), name
