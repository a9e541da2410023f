"""``GET /v1/audit``: every change of the account with actor, target, before, after and source address; no secret."""

import json
from datetime import datetime

import pytest

from tests.fixtures import OTHER_PASSWORD, PASSWORD

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def web(open_web):
    return await open_web()


async def entries(web, token, query=""):
    answer = await web.ask("GET", f"/v1/audit{query}", token=token)
    assert answer.status == 200, answer.body
    return answer.body["entries"]


async def test_R32_every_change_has_actor_action_target_and_source(web, town):
    ada = await town.found()
    token = await web.token("ada@example.com")
    headers = {"X-Request-ID": "req-42"}
    invited = await web.ask(
        "POST", "/v1/users", {"email": "bob@example.com", "role": "developer"}, token=token, headers=headers
    )
    bob = invited.body["user"]["id"]
    secret = invited.body["invitation"]["url"].partition("#")[2]
    accepted = await web.ask("POST", "/v1/invitations/accept", {"token": secret, "password": OTHER_PASSWORD})
    assert accepted.status == 201, accepted.body
    await web.ask("PATCH", f"/v1/users/{bob}", {"role": "marketer"}, token=token, headers=headers)
    await web.ask("DELETE", f"/v1/users/{bob}", token=token, headers=headers)

    rows = {row["action"]: row for row in await entries(web, token)}
    changed = rows["user.changed"]
    assert (changed["actor"], changed["target"], changed["address"]) == (ada.id, bob, "127.0.0.1")
    assert (changed["before"]["role"], changed["after"]["role"]) == ("developer", "marketer")
    assert changed["request_id"] == "req-42"
    assert datetime.fromisoformat(changed["at"]).tzinfo is not None
    assert {"account.created", "session.opened", "invitation.accepted", "user.removed"} <= set(rows)
    assert (rows["account.created"]["actor"], rows["account.created"]["address"]) == (None, "cli")
    assert (rows["user.removed"]["after"], rows["user.removed"]["before"]["email"]) == (None, "bob@example.com")


async def test_R32_rows_are_newest_first_without_gaps_and_paged(web, town):
    await town.found()
    for _ in range(7):
        token = await web.token("ada@example.com")
    everything = await entries(web, token)
    numbers = [row["seq"] for row in everything]
    assert numbers == list(range(len(numbers), 0, -1))

    seen, query = [], "?limit=4"
    while True:
        answer = await web.ask("GET", f"/v1/audit{query}", token=token)
        seen += answer.body["entries"]
        assert len(answer.body["entries"]) <= 4
        if answer.body["next"] is None:
            break
        query = f"?limit=4&after={answer.body['next']}"
    assert seen == everything
    assert await entries(web, token, "?after=1") == []


async def test_R24_no_row_holds_a_secret(web, town):
    ada = await town.found()
    grant = await town.grant("ada@example.com")
    sent = await town.invite(ada, "bob@example.com")
    secret = sent.url.partition("#")[2]
    await web.ask("POST", "/v1/invitations/accept", {"token": secret, "password": OTHER_PASSWORD})
    changed = await web.ask(
        "POST",
        "/v1/me/password",
        {"old_password": PASSWORD, "new_password": "copper-lantern-willow-63"},
        token=grant.access_token,
    )
    assert changed.status == 200
    body = json.dumps(await entries(web, changed.body["access_token"], "?limit=500"))
    for word in (
        PASSWORD, OTHER_PASSWORD, "copper-lantern", secret, grant.access_token, grant.refresh_token, "argon2",
        changed.body["refresh_token"],
    ):  # fmt: skip
        assert word not in body
    assert "user.password" in body


async def test_the_audit_needs_a_permission_and_shows_one_account(web, town):
    ada = await town.found()
    await town.join(ada, "bob@example.com", "developer")
    await town.found("Other", "eve@example.net")
    denied = await web.ask("GET", "/v1/audit", token=await web.token("bob@example.com"))
    assert (denied.status, denied.body["reason"]) == (403, "no_rule")
    assert (await web.ask("GET", "/v1/audit")).status == 401
    others = json.dumps(await entries(web, await web.token("eve@example.net")))
    assert ada.id not in others
    assert "ada@example.com" not in others


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=501", "?limit=x", "?limit=", "?after=0", "?after=-1", "?after=x", "?after=1.5"]
)
async def test_questions_that_make_no_sense_are_400(web, town, query):
    await town.found()
    answer = await web.ask("GET", f"/v1/audit{query}", token=await web.token("ada@example.com"))
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert "limit from 1 to 500" in answer.body["detail"]
