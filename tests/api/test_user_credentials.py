"""``/v1/users/{id}/sessions`` and ``…/password-reset``: sessions and passwords of other users, under R11."""

import json

import pytest

from sidecar.domain.users import Actor, Status
from sidecar.identity.hash_limits import Limited
from tests.fixtures import OTHER_PASSWORD, PASSWORD

CALLS = [("GET", "sessions", None), ("DELETE", "sessions", None), ("POST", "password-reset", {})]


@pytest.fixture
async def web(open_web):
    return await open_web()


@pytest.fixture
async def ada(town):
    return await town.found()


async def audited(web, token, action):
    rows = (await web.ask("GET", "/v1/audit?limit=500", token=token)).body["entries"]
    return [row for row in rows if row["action"] == action]


def secret(link: str) -> str:
    return link.partition("#")[2]


async def test_sessions_of_a_user_are_listed_as_its_own(web, town, ada):
    bob = await town.join(ada, "bob@example.com")
    mine = await web.token("bob@example.com")
    theirs = await web.ask("GET", f"/v1/users/{bob.id}/sessions", token=await web.token("ada@example.com"))
    own = await web.ask("GET", "/v1/me/sessions", token=mine)
    assert theirs.status == 200
    assert len(theirs.body["sessions"]) == 2
    assert theirs.body["sessions"] == [{**one, "current": False} for one in own.body["sessions"]]


async def test_R15_sign_out_ends_all_sessions_of_a_user(web, town, ada):
    bob = await town.join(ada, "bob@example.com")
    token = await web.token("bob@example.com")
    admin = await web.token("ada@example.com")
    town.fleet.waited.clear()
    done = await web.ask("DELETE", f"/v1/users/{bob.id}/sessions", token=admin)
    assert (done.status, done.raw) == (204, b"")
    assert done.headers["X-Sidecar-Revocation"] == "complete"
    assert int(done.headers["X-Sidecar-Revision"]) >= 0
    assert len(town.fleet.waited) == 1
    assert (await web.ask("GET", "/v1/me", token=token)).status == 401
    listed = await web.ask("GET", f"/v1/users/{bob.id}/sessions", token=admin)
    assert (listed.status, listed.body) == (200, {"sessions": []})
    (row,) = await audited(web, admin, "user.signed_out")
    assert (row["actor"], row["target"]) == (ada.id, bob.id)
    assert (await web.ask("GET", "/v1/me", token=await web.token("bob@example.com"))).status == 200


async def test_own_user_has_calls_of_its_own(web, ada):
    token = await web.token("ada@example.com")
    for method, path, body in CALLS[1:]:
        for sent in ({}, {"show": True}) if body is not None else (None,):
            answer = await web.ask(method, f"/v1/users/{ada.id}/{path}", sent, token=token)
            assert (answer.status, answer.body["code"]) == (409, "use_me")
            assert "/v1/me/" in answer.body["detail"]
    assert (await web.ask("GET", "/v1/me", token=token)).status == 200
    assert (await web.ask("GET", f"/v1/users/{ada.id}/sessions", token=token)).body["sessions"][0]["current"] is True


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_a_user_of_another_account_is_not_found(web, town, ada, method, path, body):
    eve = await town.found("Other", "eve@example.net")
    theirs = await web.token("eve@example.net")
    token = await web.token("ada@example.com")
    for named in (eve.id, "usr_aaaaaaaaaaaa_aaaaaaaaaaaa", "nonsense", f"{ada.account}"):
        answer = await web.ask(method, f"/v1/users/{named}/{path}", body, token=token)
        assert (answer.status, answer.body["code"]) == (404, "not_found"), named
    assert (await web.ask("GET", "/v1/me", token=theirs)).status == 200
    assert not await audited(web, theirs, "user.reset_link")


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_R11_roles_above_the_callers_are_refused(web, town, ada, method, path, body, monkeypatch):
    bob = await town.join(ada, "bob@example.com", "developer")
    denied = await web.ask(method, f"/v1/users/{ada.id}/{path}", body, token=await web.token("bob@example.com"))
    assert denied.status == 403
    # A role with users/manage and less than an administrator's permissions.
    monkeypatch.setattr("sidecar.pdp.decision_point.DecisionPoint.evaluate", allow)
    refused = await web.ask(method, f"/v1/users/{ada.id}/{path}", body, token=await web.token("bob@example.com"))
    assert (refused.status, refused.body["code"]) == (403, "role_above_yours")
    assert bob.role == "developer"


def allow(*_):
    class Allowed:
        allowed = True

    return Allowed


async def test_R11_a_role_changed_meanwhile_is_judged_again(web, town, ada, monkeypatch):
    """The script rejects a role that it was not judged by, and the second judgement is of the new role."""
    carl = await town.join(ada, "carl@example.com")
    users, judged = town.people.users, []
    real = users.sign_out_everywhere

    async def late(uid, actor, *, expected_role=None):
        judged.append(expected_role)
        if len(judged) == 1:
            await users.change(Actor.operator(), uid, role="marketer")
        return await real(uid, actor, expected_role=expected_role)

    monkeypatch.setattr(type(users), "sign_out_everywhere", lambda self, *a, **k: late(*a, **k))
    done = await web.ask("DELETE", f"/v1/users/{carl.id}/sessions", token=await web.token("ada@example.com"))
    assert (done.status, judged) == (204, ["developer", "marketer"])


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_an_invited_user_has_neither_session_nor_password(web, town, ada, method, path, body):
    sent = await town.invite(ada, "bob@example.com")
    token = await web.token("ada@example.com")
    answer = await web.ask(method, f"/v1/users/{sent.member.record.id}/{path}", body, token=token)
    assert (answer.status, answer.body["code"]) == (409, "already_invited")
    assert not await audited(web, token, "user.reset_link")


async def test_R9_a_shown_reset_makes_the_email_unverified(web, town, ada):
    await town.join(ada, "second@example.com", "account-administrator")
    admin = await web.token("second@example.com")
    answer = await web.ask("POST", f"/v1/users/{ada.id}/password-reset", {"show": True}, token=admin)
    assert answer.status == 200
    assert set(answer.body) == {"mailed", "reset"}
    assert answer.body["reset"]["url"].startswith("https://sidecar.example/console/reset#rst_")
    (row,) = await audited(web, admin, "user.reset_link")
    assert (row["target"], row["after"]) == (ada.id, {"shown": True})
    assert secret(answer.body["reset"]["url"]) not in json.dumps(row)

    token = secret(answer.body["reset"]["url"])
    done = await web.ask("POST", "/v1/password/reset", {"token": token, "password": OTHER_PASSWORD})
    assert done.status == 201
    listed = {
        one["email"]: one["email_verified"] for one in (await web.ask("GET", "/v1/users", token=admin)).body["users"]
    }
    assert listed["ada@example.com"] is False
    again = await web.ask("POST", "/v1/password/reset", {"token": token, "password": PASSWORD})
    assert again.status == 410


async def test_R32_a_password_by_a_link_names_link_and_maker(web, town, ada):
    """The actor of all four is the user: only ``via`` tells a change by the old password from one by a link."""
    bob = await town.join(ada, "bob@example.com")
    admin = await web.token("ada@example.com")

    async def link_shown_to_ada():
        return (await web.ask("POST", f"/v1/users/{bob.id}/password-reset", {"show": True}, token=admin)).body["reset"]

    links = [
        (await link_shown_to_ada())["url"],
        lambda: town.people.password_reset.link(bob, shown=True).url,  # of an operator
        lambda: town.people.password_reset.link(bob).url,
    ]
    for number, link in enumerate(links):
        bob = await town.people.users.record(bob.id)
        token = secret(link if isinstance(link, str) else link())
        body = {"token": token, "password": f"{number} green bottles on a shelf", "tokens": False}
        assert (await web.ask("POST", "/v1/password/reset", body)).status == 200
    last = f"{len(links) - 1} green bottles on a shelf"
    own = await web.token("bob@example.com", last)
    body = {"old_password": last, "new_password": OTHER_PASSWORD}
    assert (await web.ask("POST", "/v1/me/password", body, token=own)).status == 200

    rows = await audited(web, admin, "user.password")
    assert {row["actor"] for row in rows} == {bob.id}
    known = ({k: v for k, v in row["after"].items() if k not in {"epoch", "email_verified"}} for row in rows)
    assert list(known) == [
        {"via": "password"},
        {"via": "mailed_link"},
        {"via": "shown_link"},
        {"via": "shown_link", "maker": ada.id, "maker_name": "Ada"},
    ]


async def test_R9_a_mailed_reset_is_never_shown_and_proves(web, town, ada):
    bob = await town.join(ada, "Bob@Example.com")
    admin = await web.token("ada@example.com")
    answer = await web.ask("POST", f"/v1/users/{bob.id}/password-reset", {}, token=admin)
    assert (answer.status, answer.body) == (200, {"mailed": True, "reset": None})
    (row,) = await audited(web, admin, "user.reset_link")
    assert row["after"] == {"shown": False}
    await town.outbox.close()
    letter = town.mailed[-1]
    assert letter.recipient == "Bob@example.com"
    token = "rst_" + letter.text.partition("#rst_")[2].split()[0]
    assert (await web.ask("POST", "/v1/password/reset", {"token": token, "password": OTHER_PASSWORD})).status == 201
    assert (await town.people.users.record(bob.id)).email_verified


async def test_shown_and_mailed_links_differ(web, town, ada):
    bob = await town.join(ada, "bob@example.com")
    admin = await web.token("ada@example.com")
    answer = await web.ask("POST", f"/v1/users/{bob.id}/password-reset", {"show": True}, token=admin)
    assert answer.body["mailed"] is True
    await town.outbox.close()
    assert secret(answer.body["reset"]["url"]) not in town.mailed[-1].text


async def test_R16_a_limited_mail_creates_no_link(web, town, ada):
    bob = await town.join(ada, "bob@example.com")
    admin = await web.token("ada@example.com")
    for limited in ("bob@example.com", ada.account):
        town.limits.no_mail = {limited}
        answer = await web.ask("POST", f"/v1/users/{bob.id}/password-reset", {}, token=admin)
        assert (answer.status, answer.body) == (200, {"mailed": False, "reset": None})
    assert not await audited(web, admin, "user.reset_link")
    await town.outbox.close()
    assert all("password" not in letter.subject for letter in town.mailed)


async def test_a_suspended_user_gets_no_reset(web, town, ada):
    bob = await town.join(ada, "bob@example.com")
    await town.people.users.change(Actor.operator(), bob.id, status=Status.SUSPENDED)
    admin = await web.token("ada@example.com")
    for body in ({}, {"show": True}):
        answer = await web.ask("POST", f"/v1/users/{bob.id}/password-reset", body, token=admin)
        assert (answer.status, answer.body["code"]) == (409, "not_active")
    assert (await web.ask("POST", f"/v1/users/{bob.id}/password-reset", {"show": 1}, token=admin)).status == 400


async def test_users_list_shows_proof_sessions_and_inviter(web, town, ada):
    bob = await town.join(ada, "bob@example.com", "account-administrator")
    await town.people.users.change(Actor.operator(), bob.id, name="")
    await town.invite(await town.people.users.record(bob.id), "carl@example.com")
    await town.people.users.change(Actor.operator(), ada.id, name="Ada Lovelace")
    for _ in range(2):
        token = await web.token("bob@example.com")
    listed = (await web.ask("GET", "/v1/users", token=token)).body["users"]
    shown = {one["email"]: (one["email_verified"], one["sessions"], one["inviter"]) for one in listed}
    assert shown == {
        "ada@example.com": (True, 0, None),
        "bob@example.com": (False, 3, "Ada Lovelace"),
        "carl@example.com": (False, 0, "bob@example.com"),
    }
    assert (await web.ask("DELETE", f"/v1/users/{ada.id}", token=token)).status == 204
    listed = (await web.ask("GET", "/v1/users", token=token)).body["users"]
    assert {one["email"]: one["inviter"] for one in listed}["bob@example.com"] == "Ada"


async def test_R11_a_reset_link_ends_with_the_role_it_was_made_for(web, town, ada):
    admin = await web.token("ada@example.com")
    mark = await town.join(ada, "mark@example.com", "marketer")
    made = await web.ask("POST", f"/v1/users/{mark.id}/password-reset", {"show": True}, token=admin)
    token = secret(made.body["reset"]["url"])
    raised = await web.ask("PATCH", f"/v1/users/{mark.id}", {"role": "account-administrator"}, token=admin)
    assert raised.status == 200
    used = await web.ask("POST", "/v1/password/reset", {"token": token, "password": OTHER_PASSWORD})
    assert (used.status, used.body["code"]) == (410, "invitation_gone")


async def test_R11_an_invitation_link_ends_when_its_role_is_raised(web, town, ada):
    admin = await web.token("ada@example.com")
    sent = {"email": "nina@example.com", "role": "marketer"}
    invited = (await web.ask("POST", "/v1/users", sent, token=admin)).body
    link = {"token": secret(invited["invitation"]["url"])}
    path = f"/v1/users/{invited['user']['id']}"
    for name in ("Nina", "Nina N."):  # a name or the same role leaves the link as it is
        assert (await web.ask("PATCH", path, {"name": name, "role": "marketer"}, token=admin)).status == 200
    assert (await web.ask("POST", "/v1/invitations/show", link)).status == 200
    assert (await web.ask("PATCH", path, {"role": "developer"}, token=admin)).status == 200
    for call, body in (("show", link), ("accept", {**link, "password": OTHER_PASSWORD})):
        assert (await web.ask("POST", f"/v1/invitations/{call}", body)).status == 410
    again = await web.ask("POST", f"{path}/invitation", token=admin)
    fresh = {"token": secret(again.body["invitation"]["url"]), "password": OTHER_PASSWORD}
    assert (await web.ask("POST", "/v1/invitations/accept", fresh)).status == 201


async def test_R16_resets_and_sign_outs_of_others_are_limited(web, town, ada):
    admin = await web.token("ada@example.com")
    mark = await town.join(ada, "mark@example.com", "marketer")
    town.limits.refuse = Limited(7)
    for method, path, body in CALLS[1:]:
        answer = await web.ask(method, f"/v1/users/{mark.id}/{path}", body, token=admin)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    town.limits.refuse = None
    assert not await audited(web, admin, "user.reset_link")
    assert not await audited(web, admin, "user.signed_out")


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"role": "marketer"}, None])
async def test_R11_a_shown_link_ends_with_its_makers_rights(web, town, ada, change):
    """The maker is suspended, demoted or removed; a change of the maker's name alone changes nothing."""
    admin = await web.token("ada@example.com")
    mark = await town.join(ada, "mark@example.com", "marketer")
    lead = await town.join(ada, "lead@example.com", "account-administrator")
    theirs = await web.token("lead@example.com")
    links = []
    for _ in range(2):
        made = await web.ask("POST", f"/v1/users/{mark.id}/password-reset", {"show": True}, token=theirs)
        links.append({"token": secret(made.body["reset"]["url"]), "password": OTHER_PASSWORD})
    if change is None:
        assert (await web.ask("DELETE", f"/v1/users/{lead.id}", token=admin)).status == 204
    else:
        assert (await web.ask("PATCH", f"/v1/users/{lead.id}", change, token=admin)).status == 200
    assert (await web.ask("POST", "/v1/password/reset", links[0])).status == 410
    if change == {"status": "suspended"}:
        renamed = {"status": "active", "name": "Lea"}
        assert (await web.ask("PATCH", f"/v1/users/{lead.id}", renamed, token=admin)).status == 200
        assert (await web.ask("POST", "/v1/password/reset", links[1])).status == 201
