"""R48: a held user is denied everything, with any credential; a review ends the hold, under the rules of R11."""

import json

import pytest

from sidecar.domain.decision import Reason
from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.identity.emails import parse
from sidecar.identity.login import InvalidGrant
from sidecar.identity.password_reset import ResetGone
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole
from sidecar.identity.users import Edited
from sidecar.pdp.evaluation import Resource, resolve_record
from sidecar.pdp.search import subjects
from sidecar.policy.explain import explain_person
from sidecar.store import keys
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.outcomes import NotHeld

OPERATOR = Actor.operator()


@pytest.fixture
async def web(open_web):
    return await open_web()


async def hold(town, record, role="marketer", status="active"):
    """Hold as recover_account.lua does, except for epoch and sessions: a held user's do not count either."""
    home = keys.account(record.account, town.people.users._store.partitions)
    told = json.dumps({"role": role, "status": status, "t": "1764000000000"})
    store = town.people.users._store
    await store.change("HSET", f"{home}:{'i' if record.status is Status.INVITED else 'u'}:{record.id}", "hold", told)
    await store.change("SREM", f"{home}:admins", record.id)
    return await town.people.users.record(record.id)


async def test_R48_a_held_user_is_shown_denied_and_reviewed_over_http(web, town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com", "developer")
    token, bobs = await web.token("ada@example.com"), await web.token("bob@example.com")
    await hold(town, bob, status="removed")

    for path in ("/v1/me", "/v1/users"):
        denied = await web.ask("GET", path, token=bobs)
        assert (denied.status, denied.body["reason"]) == (401, "needs_review")
    checked = await web.ask("POST", "/v1/check", {"section": "billing", "action": "view"}, token=bobs)
    assert checked.status == 401

    listed = {one["email"]: one["review"] for one in (await web.ask("GET", "/v1/users", token=token)).body["users"]}
    assert listed["ada@example.com"] is None
    assert listed["bob@example.com"] == {
        "role_before": "marketer",
        "role_now": "developer",
        "status_before": "removed",
        "status_now": "active",
        "since": "2025-11-24T16:00:00+00:00",
    }

    path = f"/v1/users/{bob.id}/review"
    for body, status, code in (
        ({"role": "marketer"}, 400, "bad_request"),
        ({"role": "marketer", "status": "removed"}, 400, "bad_request"),
        ({"role": "no-such", "status": "active"}, 422, "unknown_role"),
    ):
        answer = await web.ask("POST", path, body, token=token)
        assert (answer.status, answer.body["code"]) == (status, code)
    assert (await web.ask("POST", path, {"role": "marketer", "status": "active"}, token=bobs)).status == 401
    done = await web.ask("POST", path, {"role": "marketer", "status": "active"}, token=token)
    assert (done.status, done.body["role"], done.body["revocation"]["complete"]) == (200, "marketer", True)
    again = await web.ask("POST", path, {"role": "marketer", "status": "active"}, token=token)
    assert (again.status, again.body["code"]) == (409, "not_held")
    missing = await web.ask(
        "POST", f"/v1/users/{bob.id[:-1]}x/review", {"role": "marketer", "status": "active"}, token=token
    )
    assert missing.status == 404
    assert (await web.ask("GET", "/v1/me", token=bobs)).status == 200


async def test_R48_a_held_users_sign_in_looks_like_a_wrong_password(town):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com")
    link = town.people.password_reset.link(bob)
    await hold(town, bob)
    assert await town.sign_in("bob@example.com") == InvalidGrant()
    assert await town.sign_in("bob@example.com", "another wrong one") == InvalidGrant()
    assert (
        await town.people.password_reset.reset(link.url.partition("#")[2], "velvet-anchor-77-x", town.client)
        == ResetGone()
    )
    assert await town.people.forgotten._records(parse("bob@example.com")) == []


@pytest.mark.parametrize("script", ["open", "password", "link", "actor"])
async def test_R48_no_script_serves_a_held_user(town, script):
    """Also if the caller has read the record before the hold."""
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com", ADMINISTRATOR)
    people, session = town.people, town.people.issuer.new_session(town.client)
    await hold(town, bob)
    outcome = {
        "open": lambda: people.sessions.open(bob.id, expected_epoch=1, session=session),
        "password": lambda: people.users.change_password(
            bob.id, expected_epoch=1, password_hash="h", session=None, actor=OPERATOR
        ),
        "link": lambda: FederatedIdentities(people.users._store).link(
            bob.account, issuer="https://i.example", subject="s", email="bob@example.com"
        ),
        "actor": lambda: people.users.change(town.actor(bob), admin.id, name="X"),
    }[script]
    names = {"open": "NoUser", "password": "NoUser", "link": "NoMatchingUser", "actor": "ActorChanged"}
    assert type(await outcome()).__name__ == names[script]


async def test_R48_every_other_question_about_a_held_user_is_denied(town):
    admin = await town.found()
    bob = await hold(town, await town.join(admin, "bob@example.com", "accountant"))
    assert resolve_record(bob) is Reason.NEEDS_REVIEW
    assert explain_person(town.generation, bob, "billing", "view").ruling.reason is Reason.NEEDS_REVIEW
    members = (await town.people.users.roster(admin.account)).members

    found = subjects(town.generation, "user", "view", Resource("section", "billing"), members)
    assert found == [admin.id]


async def test_R11_a_review_gives_no_role_above_ones_own(town):
    admin = await town.found(seats=9)
    mia = await town.join(admin, "mia@example.com", "marketer")
    bob = await town.join(admin, "bob@example.com", "marketer")
    dev = await town.join(admin, "dev@example.com", "developer")
    await hold(town, bob, role="marketer")
    await hold(town, dev, role="marketer")

    async def review(user, role, actor):
        return await town.people.membership.review(actor, town.generation, admin.account, user.id, role, Status.ACTIVE)

    assert await review(bob, "developer", town.actor(mia)) == RoleAboveYours("developer")
    assert await review(dev, "marketer", town.actor(mia)) == RoleAboveYours("developer")
    assert isinstance(await review(bob, "marketer", town.actor(mia)), Edited)
    await hold(town, bob, role="developer")
    assert await review(bob, "marketer", town.actor(mia)) == RoleAboveYours("developer")
    assert isinstance(await review(bob, "nobody", OPERATOR), UnknownRole)
    assert isinstance(await review(bob, "developer", OPERATOR), Edited)
    assert await review(bob, "developer", OPERATOR) == NotHeld()


async def test_R48_a_review_is_audited(town):
    admin = await town.found()
    bob = await hold(town, await town.join(admin, "bob@example.com", "developer"), status="suspended")
    await town.people.membership.review(OPERATOR, town.generation, admin.account, bob.id, "developer", Status.SUSPENDED)
    home = keys.account(admin.account, 1)
    ((_, row),) = await town.people.users._store.command("XREVRANGE", f"{home}:log", "+", "-", "COUNT", 1)
    row = row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
    assert (row["action"], row["target"]) == ("user.reviewed", bob.id)
    assert json.loads(row["before"])["status_before"] == "suspended"
    assert json.loads(row["after"]) == {"role": "developer", "status": "suspended"}


async def test_R48_a_held_administrator_does_not_count_as_one(town):
    admin = await town.found()
    eve = await town.join(admin, "eve@example.com", ADMINISTRATOR)
    await hold(town, eve)
    demoted = await town.people.users.change(town.actor(admin), admin.id, role="marketer")
    assert type(demoted).__name__ == "LastAdmin"
    assert (await town.people.users.change(OPERATOR, eve.id, role="developer")).record.review is not None
    assert (await town.people.users.change(OPERATOR, eve.id, role=ADMINISTRATOR)).record.review is not None
    assert await town.people.users._store.command("SMEMBERS", f"{keys.account(admin.account, 1)}:admins") == {admin.id}


async def test_R11_a_review_ends_a_link_made_for_another_role(web, town):
    await town.found()
    token = await web.token("ada@example.com")
    links = {}
    for name in ("nina", "otto"):
        sent = {"email": f"{name}@example.com", "role": "marketer"}
        invited = (await web.ask("POST", "/v1/users", sent, token=token)).body
        links[name] = {"token": invited["invitation"]["url"].partition("#")[2]}
        await hold(town, await town.people.users.record(invited["user"]["id"]), role="developer")
        role = {"nina": "developer", "otto": "marketer"}[name]
        body = {"role": role, "status": "active"}
        assert (await web.ask("POST", f"/v1/users/{invited['user']['id']}/review", body, token=token)).status == 200
    assert (await web.ask("POST", "/v1/invitations/show", links["nina"])).status == 410
    assert (await web.ask("POST", "/v1/invitations/show", links["otto"])).status == 200
