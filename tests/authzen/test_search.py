"""AuthZEN 1.0, the three searches: requests, results, and pages."""

import base64
import json
from typing import Any

import pytest

from sidecar.domain.users import Status
from tests.authzen.conftest import OPERATOR, AccountsFixture, Pdp, Response, entity

SECTIONS_OF_ADMIN = {
    "subject": entity(("role", "account-administrator")),
    "action": {"name": "view"},
    "resource": {"type": "section"},
}
WHO_VIEWS_MEDIA = {
    "subject": {"type": "user"},
    "action": {"name": "view"},
    "resource": entity(("section", "media-library")),
}
WHAT_ON_MEDIA = {"subject": entity(("role", "developer")), "resource": entity(("section", "media-library"))}
REQUESTS = {"subject": WHO_VIEWS_MEDIA, "resource": SECTIONS_OF_ADMIN, "action": WHAT_ON_MEDIA}
each_search = pytest.mark.parametrize("what", REQUESTS)


def ids(answer: Response) -> list[str]:
    assert answer.status == 200, answer
    return [one["id"] if "id" in one else one["name"] for one in answer.body["results"]]


def ids_of(town: AccountsFixture, *names: str) -> list[str]:
    return sorted(town.users[name].id for name in names)


async def test_AZ_2_4_subject_search_lists_users_that_may(pdp: Pdp, town: AccountsFixture) -> None:
    answer = await pdp.search("subject", WHO_VIEWS_MEDIA)
    assert ids(answer) == ids_of(town, "ada", "dev", "mark")
    assert all(one.keys() == {"type", "id"} and one["type"] == "user" for one in answer.body["results"])


async def test_AZ_2_4_searches_are_transitive_over_inherited_roles(pdp: Pdp, town: AccountsFixture) -> None:
    """``member`` alone has the rule for account-settings; roles that inherit it are listed too."""
    own = {**WHO_VIEWS_MEDIA, "resource": entity(("section", "account-settings"))}
    assert ids(await pdp.search("subject", own)) == ids_of(town, "ada", "anna", "dev", "mark")
    roles = await pdp.search("subject", {**own, "subject": {"type": "role"}})
    assert ids(roles) == ["account-administrator", "accountant", "developer", "marketer", "member"]
    found = await pdp.search("resource", {**SECTIONS_OF_ADMIN, "subject": entity(("role", "marketer"))})
    assert ids(found) == ["account-settings", "media-library"]


async def test_AZ_2_4_resource_search_lists_sections(pdp: Pdp, town: AccountsFixture) -> None:
    answer = await pdp.search("resource", {**SECTIONS_OF_ADMIN, "subject": entity(("user", town.users["anna"]))})
    assert ids(answer) == ["account-settings", "analytics", "billing"]
    assert all(one.keys() == {"type", "id"} and one["type"] == "section" for one in answer.body["results"])


async def test_AZ_2_4_resource_search_lists_the_paths_that_routes_name(pdp: Pdp) -> None:
    asked = {"subject": entity(("role", "marketer")), "action": {"name": "GET"}, "resource": {"type": "route"}}
    assert ids(await pdp.search("resource", asked)) == [
        "/assets",
        "/dashboard/account-settings",
        "/dashboard/media-library",
        "/login",
    ]
    assert ids(await pdp.search("resource", {**asked, "action": {"name": "DELETE"}})) == ["/dashboard/account-settings"]
    assert ids(await pdp.search("resource", {**asked, "action": {"name": "view"}})) == []


async def test_AZ_2_4_action_search_lists_actions(pdp: Pdp) -> None:
    answer = await pdp.search("action", WHAT_ON_MEDIA)
    assert ids(answer) == ["manage", "upload", "view"]
    assert all(one.keys() == {"name"} for one in answer.body["results"])
    denied = {**WHAT_ON_MEDIA, "subject": entity(("role", "marketer"))}
    assert ids(await pdp.search("action", denied)) == ["upload", "view"]


async def test_AZ_2_4_action_search_on_a_route_lists_methods(pdp: Pdp) -> None:
    route = entity(("route", "/dashboard/media-library/x"))
    developer = await pdp.search("action", {"subject": entity(("role", "developer")), "resource": route})
    assert ids(developer) == ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
    marketer = await pdp.search("action", {"subject": entity(("role", "marketer")), "resource": route})
    assert ids(marketer) == ["GET", "HEAD", "POST", "PUT"]


@pytest.mark.parametrize("identifier", ["usr_x", "", 7, None, [], {}])
async def test_AZ_2_4_the_id_of_the_searched_entity_is_ignored(
    pdp: Pdp, town: AccountsFixture, identifier: Any
) -> None:
    asked = {**WHO_VIEWS_MEDIA, "subject": {"type": "user", "id": identifier}}
    assert ids(await pdp.search("subject", asked)) == ids_of(town, "ada", "dev", "mark")
    asked = {**SECTIONS_OF_ADMIN, "resource": {"type": "section", "id": identifier}}
    assert len(ids(await pdp.search("resource", asked))) == 12


async def test_AZ_2_4_an_action_in_an_action_search_is_ignored(pdp: Pdp) -> None:
    for action in ({"name": "view"}, {}, "view", None):
        assert ids(await pdp.search("action", {**WHAT_ON_MEDIA, "action": action})) == ["manage", "upload", "view"]


@pytest.mark.parametrize(
    ("what", "missing", "named"),
    [
        ("subject", {"subject": None}, "subject"),
        ("subject", {"subject": {}}, "subject.type"),
        ("subject", {"subject": {"id": "x"}}, "subject.type"),
        ("subject", {"action": {}}, "action.name"),
        ("subject", {"resource": {"type": "section"}}, "resource.id"),
        ("resource", {"subject": {"type": "role"}}, "subject.id"),
        ("resource", {"action": None}, "action"),
        ("resource", {"resource": {}}, "resource.type"),
        ("resource", {"resource": "section"}, "resource"),
        ("action", {"subject": {"type": "role"}}, "subject.id"),
        ("action", {"resource": {"type": "section"}}, "resource.id"),
        ("action", {"context": []}, "context"),
        ("action", {"page": []}, "page"),
        ("subject", {"subject": {"type": "user", "properties": []}}, "subject.properties"),
    ],
)
async def test_AZ_2_4_what_a_search_needs_is_400_without_it(pdp: Pdp, what: str, missing: Any, named: str) -> None:
    answer = await pdp.search(what, {**REQUESTS[what], **missing})
    assert answer.status == 400
    assert answer.body.startswith(named + " ")


@pytest.mark.parametrize(
    ("what", "replaced"),
    [
        ("subject", {"subject": {"type": "robot"}}),
        ("subject", {"resource": entity(("section", "nowhere"))}),
        ("subject", {"resource": entity(("document", "1"))}),
        ("subject", {"resource": entity(("route", "/a/../b"))}),
        ("subject", {"action": {"name": "fly"}}),
        ("resource", {"subject": entity(("user", "nobody@acme.example"))}),
        ("resource", {"subject": entity(("robot", "r2"))}),
        ("resource", {"subject": entity(("role", "ghost"))}),
        ("resource", {"resource": {"type": "document"}}),
        ("resource", {"action": {"name": "fly"}}),
        ("action", {"subject": entity(("user", "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"))}),
        ("action", {"resource": entity(("section", "nowhere"))}),
        ("action", {"resource": entity(("document", "1"))}),
        ("action", {"resource": entity(("route", "/a//b"))}),
    ],
)
async def test_AZ_2_8_a_search_about_what_is_not_there_finds_nothing(pdp: Pdp, what: str, replaced: Any) -> None:
    answer = await pdp.search(what, {**REQUESTS[what], **replaced})
    assert (answer.status, answer.body) == (200, {"results": []})


async def test_searches_list_no_suspended_and_no_invited_user(pdp: Pdp, town: AccountsFixture) -> None:
    found = ids(await pdp.search("subject", {**WHO_VIEWS_MEDIA, "resource": entity(("section", "account-settings"))}))
    assert not {town.users["sue"].id, town.users["ivan"].id} & set(found)
    for name in ("sue", "ivan"):
        asked = {**SECTIONS_OF_ADMIN, "subject": entity(("user", town.users[name]))}
        assert ids(await pdp.search("resource", asked)) == []
    await town.people.users.change(OPERATOR, town.users["sue"].id, status=Status.ACTIVE)
    assert ids(await pdp.search("subject", WHO_VIEWS_MEDIA)) == ids_of(town, "ada", "dev", "mark", "sue")


async def test_R20_searches_list_nobody_of_another_account(pdp: Pdp, town: AccountsFixture) -> None:
    theirs = await town.key(account=town.users["eve"].account)
    assert ids(await pdp.search("subject", WHO_VIEWS_MEDIA, key=theirs)) == ids_of(town, "eve")
    asked = {**SECTIONS_OF_ADMIN, "subject": entity(("user", town.users["eve"]))}
    assert ids(await pdp.search("resource", asked)) == []


# -- pages -------------------------------------------------------------------------------------------------------------


@each_search
async def test_AZ_2_4_without_a_page_the_response_is_complete(pdp: Pdp, what: str) -> None:
    for more in ({}, {"page": None}):
        assert set((await pdp.search(what, {**REQUESTS[what], **more})).body) == {"results"}


@each_search
@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_AZ_2_4_pages_list_results_once_and_end_with_empty_token(pdp: Pdp, what: str, limit: int) -> None:
    everything = ids(await pdp.search(what, REQUESTS[what]))
    seen: list[str] = []
    page: dict[str, Any] = {"limit": limit}
    while True:
        answer = await pdp.search(what, {**REQUESTS[what], "page": page})
        assert list(answer.body) == ["page", "results"]  # page first, for readers of a stream
        shown, told = ids(answer), answer.body["page"]
        assert len(shown) <= limit
        assert (told["count"], told["total"]) == (len(shown), len(everything))
        seen += shown
        if not told["next_token"]:
            break
        assert len(shown) == limit
        page = {"limit": limit, "token": told["next_token"]}
    assert seen == everything


@each_search
async def test_AZ_2_4_a_partial_answer_has_a_token(pdp: Pdp, what: str) -> None:
    answer = await pdp.search(what, {**REQUESTS[what], "page": {"limit": 0}})
    assert ids(answer) == []
    assert answer.body["page"]["next_token"]
    assert answer.body["page"]["total"] > 0
    whole = await pdp.search(what, {**REQUESTS[what], "page": {}})
    assert whole.body["page"]["next_token"] == ""


async def test_AZ_2_4_nothing_found_is_no_partial_answer(pdp: Pdp) -> None:
    asked = {**WHO_VIEWS_MEDIA, "subject": {"type": "robot"}, "page": {"limit": 0}}
    answer = await pdp.search("subject", asked)
    assert answer.body == {"page": {"next_token": "", "count": 0, "total": 0}, "results": []}


@each_search
async def test_AZ_2_8_a_token_without_a_limit_uses_the_first_limit(pdp: Pdp, what: str) -> None:
    first = await pdp.search(what, {**REQUESTS[what], "page": {"limit": 1}})
    second = await pdp.search(what, {**REQUESTS[what], "page": {"token": first.body["page"]["next_token"]}})
    assert len(ids(second)) == 1
    assert ids(second) != ids(first)


@each_search
async def test_AZ_2_4_a_token_with_another_limit_is_400(pdp: Pdp, what: str) -> None:
    first = await pdp.search(what, {**REQUESTS[what], "page": {"limit": 1}})
    page = {"limit": 2, "token": first.body["page"]["next_token"]}
    answer = await pdp.search(what, {**REQUESTS[what], "page": page})
    assert answer.status == 400
    assert "page.limit" in answer.body


CHANGED = {
    "subject": [{"action": {"name": "upload"}}, {"resource": entity(("section", "billing"))},
                {"subject": {"type": "role"}}],
    "resource": [{"action": {"name": "manage"}}, {"subject": entity(("role", "developer"))},
                 {"resource": {"type": "route"}}],
    "action": [{"subject": entity(("role", "marketer"))}, {"resource": entity(("section", "developer"))},
               {"resource": {**entity(("section", "media-library")), "properties": {"x": 1}}}],
}  # fmt: skip


@pytest.mark.parametrize(("what", "changed"), [(what, one) for what, several in CHANGED.items() for one in several])
async def test_AZ_2_4_a_token_of_another_request_is_400(pdp: Pdp, what: str, changed: Any) -> None:
    first = await pdp.search(what, {**REQUESTS[what], "page": {"limit": 1}})
    token = first.body["page"]["next_token"]
    answer = await pdp.search(what, {**REQUESTS[what], **changed, "page": {"token": token}})
    assert answer.status == 400
    assert "page.token" in answer.body
    same = await pdp.search(what, {**REQUESTS[what], "context": {"time": "later"}, "page": {"token": token}})
    assert same.status == 200


async def test_AZ_2_4_a_token_of_another_search_is_400(pdp: Pdp) -> None:
    request = {
        "subject": entity(("role", "developer")),
        "action": {"name": "view"},
        "resource": entity(("section", "media-library")),
    }
    for what, other in (("subject", "resource"), ("resource", "action"), ("action", "subject")):
        first = await pdp.search(what, {**request, "page": {"limit": 1}})
        token = first.body["page"]["next_token"]
        assert token
        assert (await pdp.search(other, {**request, "page": {"token": token}})).status == 400


GARBAGE = [
    "x",
    "!!!",
    "é",
    "a" * 10_000,
    base64.urlsafe_b64encode(b"[]").decode(),
    base64.urlsafe_b64encode(b'["a",1]').decode(),
    base64.urlsafe_b64encode(b'["a","1","b"]').decode(),
    base64.urlsafe_b64encode(b'["a",1,"b",2]').decode(),
    base64.urlsafe_b64encode(b"{}").decode(),
    base64.urlsafe_b64encode(b"\xff").decode(),
    1,
    True,
    [],
    {},
]


@each_search
@pytest.mark.parametrize("token", GARBAGE, ids=lambda token: repr(token)[:20])
async def test_AZ_2_4_a_token_that_is_none_of_ours_is_400(pdp: Pdp, what: str, token: Any) -> None:
    answer = await pdp.search(what, {**REQUESTS[what], "page": {"token": token}})
    assert answer.status == 400
    assert answer.body.startswith("page.token ")


async def test_a_forged_token_opens_only_pages_of_the_caller(pdp: Pdp, town: AccountsFixture) -> None:
    first = await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": {"limit": 1}})
    token = first.body["page"]["next_token"]
    _, _, request = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for mark in (["", 10**30, request], ["", -1, request], ["zzz", 5, request]):
        forged = base64.urlsafe_b64encode(json.dumps(mark).encode()).decode().rstrip("=")
        answer = await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": {"token": forged}})
        assert answer.status in (200, 400)
        if answer.status == 200:
            assert set(ids(answer)) <= set(ids_of(town, "ada", "dev", "mark"))


@each_search
@pytest.mark.parametrize("limit", [-1, 1.0, 1.5, "1", True, [], {}])
async def test_AZ_2_4_a_limit_is_an_integer_and_not_negative(pdp: Pdp, what: str, limit: Any) -> None:
    answer = await pdp.search(what, {**REQUESTS[what], "page": {"limit": limit}})
    assert (answer.status, answer.body) == (400, "page.limit must be an integer, 0 or more")


async def test_AZ_2_4_a_limit_above_ours_is_ours(pdp: Pdp) -> None:
    answer = await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": {"limit": 10**20}})
    assert answer.body["page"]["next_token"] == ""
    token_page = {"limit": 10**20, "token": ""}
    assert (await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": token_page})).body == answer.body


async def test_AZ_2_4_pages_are_no_snapshot_but_repeat_and_hide_nobody(pdp: Pdp, town: AccountsFixture) -> None:
    """A listed user leaves between two pages: the others keep their positions."""
    first = await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": {"limit": 2}})
    shown = ids(first)
    gone = next(uid for uid in shown if uid != town.users["ada"].id)
    await town.people.users.remove(OPERATOR, gone)
    second = await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": {"token": first.body["page"]["next_token"]}})
    assert sorted(shown + ids(second)) == ids_of(town, "ada", "dev", "mark")


async def test_AZ_2_4_properties_of_a_page_are_an_object_and_ignored(pdp: Pdp) -> None:
    page = {"limit": 1, "properties": {"sort": "name"}}
    assert (await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": page})).status == 200
    assert (await pdp.search("subject", {**WHO_VIEWS_MEDIA, "page": {"properties": []}})).status == 400
