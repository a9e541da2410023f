"""``GET /v1/policy/explain?method=…&path=…``, and own segments in the other endpoints."""

from urllib.parse import quote

import msgspec
import pytest

from sidecar.policy.explained import Explained
from tests.api.test_policy_api import ADMIN, ada, preview, web
from tests.own_world import own_policy

__all__ = ["ada", "web"]


@pytest.fixture
def own(web, ada, town, monkeypatch):
    """The API under a policy with own paths; its administrator is a user of Acme."""
    town.generation = own_policy()
    monkeypatch.setattr(web.app.policy, "generation", town.generation)
    return web


async def explain(web, token, **query):
    words = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return await web.ask("GET", f"/v1/policy/explain?{words}", token=token)


async def test_a_request_is_explained_for_oneself_a_user_and_a_role(own, ada, town) -> None:
    anna = await town.join(own.admin, "anna@example.com", "accountant")
    other = await town.found("Bolt", "bob@bolt.example")
    mine, foreign = (f"/accounts/{one.account}/invoices/1" for one in (own.admin, other))
    for subject, path, reason in (
        ({}, mine, "allowed"),
        ({}, foreign, "not_yours"),
        ({"user": anna.id}, mine, "allowed"),
        ({"user": "anna@example.com"}, foreign, "not_yours"),
        ({"user": anna.id}, f"/reports/{anna.id}", "allowed"),
        ({"user": anna.id}, f"/reports/{own.admin.id}", "not_yours"),
        ({"role": "marketer"}, mine, "no_rule"),
    ):
        answer = await explain(own, ada, method="GET", path=path, **subject)
        assert (answer.status, answer.body["reason"]) == (200, reason), (subject, path)
        assert answer.body["decision"] is (reason == "allowed")
        assert answer.body["request"]["path"] == path
        assert "note" not in answer.body
        msgspec.convert(answer.body, Explained)
    role = await explain(own, ada, method="GET", path=mine, role="accountant")
    assert (role.body["reason"], role.body["note"]) == ("not_yours", "for one's own: allow")
    assert (role.body["section"], role.body["action"]) == ("billing", "view")
    assert role.body["request"]["target"] == "own billing/view"
    assert role.body["request"]["pattern"] == "/accounts/{account}/invoices/**"
    assert role.body["request"]["route"].startswith("policy/sections.toml:")
    assert role.body["rule"].startswith("policy/policy.csv:")


async def test_a_path_is_taken_as_a_gateway_sends_it(own, ada) -> None:
    account = own.admin.account
    for path, reason in (
        (f"/accounts/%61{account[1:]}/invoices", "allowed"),
        (f"/accounts/%2561{account[1:]}/invoices", "ambiguous_path"),
        ("/login", "public"),
        ("/nope", "unmatched_path"),
    ):
        answer = await explain(own, ada, method="GET", path=path)
        assert answer.body["reason"] == reason
        assert answer.body["hint"] if "path" in reason else answer.body["hint"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"method": "GET"},
        {"path": "/login"},
        {"section": "billing", "path": "/login"},
        {"section": "billing", "action": "view", "path": "/login"},
        {"section": "billing", "action": "view", "method": "GET", "path": "/login"},
        {"section": "billing", "action": "view", "method": "GET"},
        {"method": "GET", "path": "login"},
        {"method": "GET", "path": "/login?x"},
        {"method": "", "path": "/login"},
        {"section": "billing"},
        {},
    ],
)
async def test_a_query_names_one_cell_or_one_request(own, ada, query) -> None:
    answer = await explain(own, ada, **query)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")


async def test_a_cell_says_which_checks_cannot_know_the_path(own, ada) -> None:
    cell = await explain(own, ada, section="analytics", action="view", role="accountant")
    assert cell.body["decision"] is True
    assert "/v1/check and sections of AuthZEN cannot know the path" in cell.body["note"]
    assert [one["text"] for one in cell.body["own"]] == ["GET /reports/{user}/**"]
    plain = await explain(own, ada, section="audit", action="view")
    assert not {"own", "note", "request"} & plain.body.keys()


async def test_a_preview_shows_an_own_path_that_becomes_anyones(own, ada, town) -> None:
    sections = town.generation.files["sections.toml"].decode()
    answer = await preview(own, ada, {"sections.toml": sections.replace("/reports/{user}/**", "/reports/*/**")})
    assert answer.status == 200, answer.body
    assert answer.body["routes"] == [
        {
            "method": "GET",
            "path": "/reports/*/**",
            "from": "own analytics/view",
            "to": "analytics/view",
            "opens": True,
        }
    ]


async def test_check_of_a_service_decides_the_cell(open_web, town) -> None:
    """It cannot know a path (policy/README.md)."""
    await town.found()
    town.generation = own_policy()
    web = await open_web()
    token = await web.token(ADMIN)
    sent = {"section": "analytics", "action": "view"}
    answer = await web.ask("POST", "/v1/check", sent, token=token)
    assert (answer.body["decision"], answer.body["reason"]) == (True, "allowed")
    named = await web.ask("GET", "/check/sections/analytics", token=token)
    assert (named.status, named.body["reason"]) == (403, "not_yours")
