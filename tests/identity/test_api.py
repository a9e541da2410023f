"""Endpoints for users over HTTP, with the real guard and the shipped policy: statuses, bodies, and denied callers."""

import asyncio
import json

import pytest

from sidecar.domain.decision import Reason
from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.identity.account_creation import InvalidName, NewAccount, create_account
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Hashing, Overloaded
from sidecar.identity.sessions import InvalidGrant
from sidecar.pdp.evaluation import resolve_record
from sidecar.policy.explain import status_denial
from sidecar.store import sessions
from sidecar.store.account_labels import AccountLabels
from sidecar.store.rate_limiter import Rate
from tests.fixtures import PUBLIC

PASSWORD = "unquiet-otter-marble-41"
NEW = "velvet-anchor-pigeon-77"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def web(open_web):
    return await open_web()


async def test_token_password_grant_as_form_and_as_json(web, town):
    admin = await town.found()
    form = await web.ask(
        "POST",
        "/token",
        raw=b"grant_type=password&username=Ada%40Example.com&password=unquiet-otter-marble-41&client_id=x",
        headers=FORM,
    )
    sent = {"grant_type": "password", "username": "ada@example.com", "password": PASSWORD, "account": "acme"}
    as_json = await web.ask("POST", "/token", sent, headers={"Content-Type": "application/json"})
    for answer in (form, as_json):
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"
        assert set(answer.body) == {
            "access_token", "token_type", "expires_in", "refresh_token", "scope", "account", "user"
        }  # fmt: skip
        assert answer.body["token_type"] == "Bearer"
        assert answer.body["expires_in"] == 900
        assert answer.body["account"] == admin.account
        assert answer.body["user"] == {
            "id": admin.id,
            "email": "ada@example.com",
            "name": "Ada",
            "role": ADMINISTRATOR,
            "status": "active",
            "account": admin.account,
        }
        assert "Set-Cookie" not in answer.headers


async def test_token_refresh_grant(web, town):
    await town.found()
    grant = await town.grant("ada@example.com")
    body = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
    answer = await web.ask("POST", "/token", body, headers={"Content-Type": "application/json"})
    assert answer.status == 200
    assert (await web.ask("GET", "/v1/me", token=answer.body["access_token"])).status == 200


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "invalid_request"),
        (b"grant_type=password", "invalid_request"),
        (b"grant_type=password&username=ada%40example.com&password=", "invalid_request"),
        (b"grant_type=client_credentials", "unsupported_grant_type"),
        (b"grant_type=refresh_token&refresh_token=garbage", "invalid_grant"),
        (b"grant_type=password&grant_type=password&username=a&password=b", "invalid_request"),
        (b"grant_type=password&username=ada%40example.com&password=wrong-otter-41", "invalid_grant"),
        (b"grant_type=password&username=%00&password=%00", "invalid_grant"),
        (b"\xff", "invalid_request"),
    ],
)
async def test_token_errors_are_rfc_6749s(web, town, raw, error):
    await town.found()
    answer = await web.ask("POST", "/token", raw=raw, headers=FORM)
    assert answer.status == 400
    assert set(answer.body) == {"error", "error_description"}
    assert answer.body["error"] == error
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"


async def test_several_accounts_ask_for_one(web, town):
    await town.found("Acme")
    await town.found("Bolt")
    raw = b"grant_type=password&username=ada%40example.com&password=unquiet-otter-marble-41"
    answer = await web.ask("POST", "/token", raw=raw, headers=FORM)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "account_required" in answer.body["error_description"]
    assert (await web.ask("POST", "/token", raw=raw + b"&account=Bolt", headers=FORM)).status == 200


async def test_a_limit_is_429_and_a_full_pool_503_with_retry_after(web, town, monkeypatch):
    await town.found()
    raw = b"grant_type=password&username=ada%40example.com&password=unquiet-otter-marble-41"
    town.limits.refuse = Limited(17)
    limited = await web.ask("POST", "/token", raw=raw, headers=FORM)
    assert (limited.status, limited.headers["Retry-After"]) == (429, "17")
    town.limits.refuse = None

    async def full(self, priority, *arguments):
        return Overloaded(3)

    monkeypatch.setattr(Hashing, "compare", full)
    overloaded = await web.ask("POST", "/token", raw=raw, headers=FORM)
    assert (overloaded.status, overloaded.headers["Retry-After"]) == (503, "3")


async def test_revoke_takes_the_session_along_and_says_200_to_garbage(web, town):
    await town.found()
    grant = await town.grant("ada@example.com")
    garbage = await web.ask("POST", "/revoke", raw=b"token=garbage&token_type_hint=x", headers=FORM)
    assert garbage.status == 200
    assert (await web.ask("GET", "/v1/me", token=grant.access_token)).status == 200
    done = await web.ask("POST", "/revoke", raw=b"token=" + grant.refresh_token.encode(), headers=FORM)
    assert done.status == 200
    out = await web.ask("GET", "/v1/me", token=grant.access_token)
    assert (out.status, out.body["reason"]) == (401, "session_ended")
    assert (await web.ask("POST", "/revoke", raw=b"", headers=FORM)).body["error"] == "invalid_request"


async def test_keys_and_metadata(web, issuer):
    keys = await web.ask("GET", "/.well-known/jwks.json")
    assert [key["kid"] for key in keys.body["keys"]] == [issuer.keys.kid]
    assert "d" not in keys.body["keys"][0]
    metadata = (await web.ask("GET", "/.well-known/oauth-authorization-server")).body
    assert metadata["issuer"] == "https://sidecar.example"
    assert metadata["token_endpoint"] == "https://sidecar.example/token"
    assert metadata["jwks_uri"] == "https://sidecar.example/.well-known/jwks.json"


async def test_me_and_what_i_may(web, town, generation, store):
    admin = await town.found()
    await town.join(admin, "mia@example.com", "marketer")
    token = await web.token("mia@example.com")
    me = await web.ask("GET", "/v1/me", token=token)
    assert me.body["role"] == "marketer"
    menu = (await web.ask("GET", "/v1/me/permissions", token=token)).body
    assert menu["generation"] == generation.id
    allowed = {(cell["section"], cell["action"]) for cell in menu["permissions"] if cell["decision"]}
    assert {section for section, _ in allowed} == {"media-library", "account-settings"}
    assert len(menu["permissions"]) == sum(len(section.actions) for section in generation.sections.values())
    await AccountLabels(store).change(admin.account, {"plan": "pro"}, Actor.operator())
    account = await web.ask("GET", "/v1/account", token=token)
    assert account.body == {
        "id": admin.account,
        "name": "Acme",
        "seats": {"cap": 5, "used": 2, "members": 2, "invited": 0, "available": 3, "contact": "sales@example.com"},
        "labels": {"plan": "pro"},
    }


async def test_a_password_change_kills_every_older_token(web, town):
    await town.found()
    old = await web.token("ada@example.com")
    body = {"old_password": PASSWORD, "new_password": NEW, "confirm_password": NEW}
    done = await web.ask("POST", "/v1/me/password", body, token=old)
    assert done.status == 200
    assert done.body["revocation"] == {"complete": True, "sidecars": 1, "waited_ms": 0}
    dead = await web.ask("GET", "/v1/me", token=old)
    assert (dead.status, dead.body["reason"]) == (401, "revoked")
    assert (await web.ask("GET", "/v1/me", token=done.body["access_token"])).status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"old_password": "wrong-otter-marble-41", "new_password": NEW}, 403, "wrong_password"),
        ({"old_password": PASSWORD, "new_password": "short"}, 422, "weak_password"),
        ({"old_password": PASSWORD, "new_password": "é" * 1100}, 422, "weak_password"),
        ({"old_password": PASSWORD, "new_password": PASSWORD}, 422, "same_password"),
        ({"old_password": PASSWORD, "new_password": NEW, "confirm_password": ""}, 422, "password_mismatch"),
        ({"old_password": PASSWORD}, 400, "bad_request"),
        ({"old_password": PASSWORD, "new_password": None}, 400, "bad_request"),
        ({"old_password": PASSWORD, "new_password": NEW, "user": "x"}, 400, "bad_request"),
        ({"old_password": PASSWORD, "new_password": "x" * 9000}, 400, "bad_request"),
        ([], 400, "bad_request"),
    ],
)
async def test_a_failed_password_change_is_named_and_changes_nothing(web, town, body, status, code):
    await town.found()
    token = await web.token("ada@example.com")
    answer = await web.ask("POST", "/v1/me/password", body, token=token)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert PASSWORD not in json.dumps(answer.body)
    assert (await web.ask("GET", "/v1/me", token=token)).status == 200
    assert isinstance(await web.token("ada@example.com"), str)


async def test_sessions_are_listed_and_ended(web, town):
    await town.found()
    here, there, third = [await town.grant("ada@example.com") for _ in range(3)]
    listed = (await web.ask("GET", "/v1/me/sessions", token=here.access_token)).body["sessions"]
    assert {one["id"] for one in listed} == {here.session, there.session, third.session}
    assert [one["id"] for one in listed if one["current"]] == [here.session]
    assert listed[0]["address"] == "192.0.2.1"
    gone = await web.ask("DELETE", f"/v1/me/sessions/{there.session}", token=here.access_token)
    assert gone.status == 204
    assert (await web.ask("GET", "/v1/me", token=there.access_token)).body["reason"] == "session_ended"
    again = await web.ask("DELETE", f"/v1/me/sessions/{there.session}", token=here.access_token)
    assert (again.status, again.body["code"]) == (404, "not_found")
    assert (await web.ask("DELETE", "/v1/me/sessions", token=here.access_token)).status == 204
    assert (await web.ask("DELETE", "/v1/me/sessions", token=here.access_token)).status == 204
    assert (await web.ask("GET", "/v1/me", token=third.access_token)).status == 401
    assert (await web.ask("GET", "/v1/me", token=here.access_token)).status == 200


async def test_nobody_ends_a_session_of_somebody_else(web, town):
    admin = await town.found()
    await town.join(admin, "mia@example.com", "marketer")
    ada, mia = await town.grant("ada@example.com"), await town.grant("mia@example.com")
    answer = await web.ask("DELETE", f"/v1/me/sessions/{ada.session}", token=mia.access_token)
    assert answer.status == 404
    assert (await web.ask("GET", "/v1/me", token=ada.access_token)).status == 200


async def test_the_life_of_a_user(web, town):
    await town.found()
    token = await web.token("ada@example.com")
    roles = (await web.ask("GET", "/v1/roles", token=token)).body["roles"]
    assert {"account-administrator", "accountant", "developer", "marketer"} == {role["id"] for role in roles}
    assert next(role for role in roles if role["id"] == "marketer")["opens"] == ["media-library", "account-settings"]

    invited = await web.ask("POST", "/v1/users", {"email": "Bob@Example.com", "role": "developer"}, token=token)
    assert invited.status == 201
    user = invited.body["user"]
    assert (user["email"], user["status"]) == ("bob@example.com", "invited")
    link = invited.body["invitation"]["url"]
    assert link.startswith("https://sidecar.example/")

    listed = (await web.ask("GET", "/v1/users", token=token)).body
    assert listed["seats"] == {
        "cap": 5, "used": 2, "members": 1, "invited": 1, "available": 3, "contact": "sales@example.com"
    }  # fmt: skip
    row = next(one for one in listed["users"] if one["id"] == user["id"])
    assert set(row) == {
        "id", "email", "name", "role", "status", "created_at", "last_login_at", "invite_expires_at", "review",
        "email_verified", "sessions", "inviter", "factors",
    }  # fmt: skip
    assert row["invite_expires_at"] == invited.body["invitation"]["expires_at"]

    renewed = await web.ask("POST", f"/v1/users/{user['id']}/invitation", token=token)
    assert renewed.status == 200
    new_link = renewed.body["invitation"]["url"]
    body = {"token": link.partition("#")[2], "password": PASSWORD}
    dead = await web.ask("POST", "/v1/invitations/accept", body)
    assert (dead.status, dead.body["code"]) == (410, "invitation_gone")
    body = {"token": new_link.partition("#")[2], "password": "short", "name": "Bob"}
    weak = await web.ask("POST", "/v1/invitations/accept", body)
    assert (weak.status, weak.body["code"]) == (422, "weak_password")
    assert weak.body["weaknesses"][0]["code"] == "too_short"
    joined = await web.ask("POST", "/v1/invitations/accept", {**body, "password": PASSWORD})
    assert joined.status == 201
    assert joined.body["user"]["name"] == "Bob"
    assert "Set-Cookie" not in joined.headers

    bob = joined.body["access_token"]
    assert (await web.ask("GET", "/v1/users", token=bob)).status == 403
    changed = await web.ask("PATCH", f"/v1/users/{user['id']}", {"role": "account-administrator"}, token=token)
    assert (changed.status, changed.body["role"]) == (200, "account-administrator")
    assert (await web.ask("GET", "/v1/users", token=bob)).status == 200  # the same token, at the next decision
    suspended = await web.ask("PATCH", f"/v1/users/{user['id']}", {"status": "suspended"}, token=token)
    assert suspended.body["status"] == "suspended"
    assert (await web.ask("GET", "/v1/me", token=bob)).body["reason"] == "suspended"
    assert (await web.ask("DELETE", f"/v1/users/{user['id']}", token=token)).status == 204
    assert (await web.ask("GET", "/v1/me", token=bob)).body["reason"] == "unknown_user"


async def test_refusals_have_codes_and_say_what_to_do(web, town):
    admin = await town.found(seats=2)
    token = await web.token("ada@example.com")

    async def refused(method, path, body=None):
        answer = await web.ask(method, path, body, token=token)
        return answer.status, answer.body["code"], answer.body

    bob = (await web.ask("POST", "/v1/users", {"email": "bob@example.com", "role": "marketer"}, token=token)).body
    user = bob["user"]["id"]
    status, code, body = await refused("POST", "/v1/users", {"email": "eve@example.com", "role": "marketer"})
    assert (status, code) == (409, "seat_limit")
    assert "sales@example.com" in body["detail"]
    assert (body["seats"]["cap"], body["seats"]["used"]) == (2, 2)
    assert body["seats"]["invitations"][0]["email"] == "bob@example.com"
    rows = [
        ("POST", "/v1/users", {"email": "bob@example.com", "role": "marketer"}, 409, "already_invited"),
        ("POST", "/v1/users", {"email": "ADA@example.com", "role": "marketer"}, 409, "already_member"),
        ("POST", "/v1/users", {"email": "nobody", "role": "marketer"}, 422, "invalid_email"),
        ("POST", "/v1/users", {"email": "eve@example.com", "role": "marketeer"}, 422, "unknown_role"),
        ("POST", "/v1/users", {"email": "eve@example.com"}, 400, "bad_request"),
        ("POST", "/v1/users", {"email": "e@x.de", "role": "marketer", "admin": True}, 400, "bad_request"),
        ("POST", "/v1/users", {"email": "e@x.de", "role": "marketer", "name": "a\nb"}, 400, "bad_request"),
        ("POST", f"/v1/users/{admin.id}/invitation", None, 409, "not_invited"),
        ("PATCH", f"/v1/users/{user}", {}, 400, "bad_request"),
        ("PATCH", f"/v1/users/{user}", {"role": None}, 400, "bad_request"),
        ("PATCH", f"/v1/users/{user}", {"status": "invited"}, 400, "bad_request"),
        ("PATCH", f"/v1/users/{user}", {"status": "suspended"}, 409, "already_invited"),
        ("PATCH", f"/v1/users/{admin.id}", {"role": "developer"}, 409, "last_admin"),
        ("PATCH", f"/v1/users/{admin.id}", {"status": "suspended"}, 409, "last_admin"),
        ("DELETE", f"/v1/users/{admin.id}", None, 409, "last_admin"),
        ("DELETE", "/v1/users/usr_nobody", None, 404, "not_found"),
    ]
    for method, path, sent, status, code in rows:
        answer = await web.ask(method, path, sent, token=token)
        assert (answer.status, answer.body["code"]) == (status, code), (method, path, sent)
        assert answer.body["detail"]
    _, _, body = await refused("POST", "/v1/users", {"email": "eve@example.com", "role": "marketeer"})
    assert body["nearest"] == "marketer"
    assert "marketer" in body["roles"]


@pytest.fixture
async def lapsed(web, town, monkeypatch):
    """``await lapsed(email, role)`` returns the id of a user with an invitation that has just expired."""

    async def invite(email="bob@example.com", role="marketer"):
        token = await web.token("ada@example.com")
        with monkeypatch.context() as short:
            short.setattr(town.people.inviting, "_ttl", 0.001)
            made = await web.ask("POST", "/v1/users", {"email": email, "role": role}, token=token)
        await asyncio.sleep(0.01)
        return made.body["user"]["id"]

    return invite


async def test_an_expired_invitation_has_no_seat_and_is_renewable(web, town, lapsed):
    await town.found(seats=2)
    token = await web.token("ada@example.com")
    user = await lapsed("Bob@example.com")
    listed = (await web.ask("GET", "/v1/users", token=token)).body
    assert [(one["email"], one["status"]) for one in listed["users"]][1:] == [("bob@example.com", "expired")]
    assert listed["users"][1]["invite_expires_at"] is not None
    assert (listed["seats"]["used"], listed["seats"]["invited"]) == (1, 0)

    other = await web.ask("POST", "/v1/users", {"email": "eve@example.com", "role": "marketer"}, token=token)
    full = await web.ask("POST", f"/v1/users/{user}/invitation", token=token)
    assert (full.status, full.body["code"]) == (409, "seat_limit")
    assert full.body["seats"]["invitations"][0]["email"] == "eve@example.com"
    await web.ask("DELETE", f"/v1/users/{other.body['user']['id']}", token=token)

    renewed = await web.ask("POST", f"/v1/users/{user}/invitation", token=token)
    assert (renewed.status, renewed.body["user"]["id"], renewed.body["user"]["status"]) == (200, user, "invited")
    again = await web.ask("POST", "/v1/users", {"email": "bob@example.com", "role": "marketer"}, token=token)
    assert (again.status, again.body["code"], again.body["id"]) == (409, "already_invited", user)
    assert again.body["user"] == {"id": user, "status": "invited"}
    secret = renewed.body["invitation"]["url"].partition("#")[2]
    joined = await web.ask("POST", "/v1/invitations/accept", {"token": secret, "password": PASSWORD})
    assert (joined.status, joined.body["user"]["id"]) == (201, user)
    rows = (await web.ask("GET", "/v1/audit", token=token)).body["entries"]
    (row,) = [row for row in rows if row["action"] == "invitation.expired"]
    assert (row["target"], row["actor"], row["after"]["status"]) == (user, None, "expired")


async def test_an_expired_invitation_is_replaced_or_removed(web, town, lapsed):
    await town.found(seats=2)
    token = await web.token("ada@example.com")
    user = await lapsed()
    made = await web.ask("POST", "/v1/users", {"email": "bob@example.com", "role": "accountant"}, token=token)
    assert (made.status, made.body["user"]["status"]) == (201, "invited")
    assert (await web.ask("POST", f"/v1/users/{user}/invitation", token=token)).status == 404
    await web.ask("DELETE", f"/v1/users/{made.body['user']['id']}", token=token)

    user = await lapsed("kim@example.com")
    changed = await web.ask("PATCH", f"/v1/users/{user}", {"role": "accountant"}, token=token)
    assert (changed.status, changed.body["status"], changed.body["role"]) == (200, "expired", "accountant")
    refused = await web.ask("PATCH", f"/v1/users/{user}", {"status": "active"}, token=token)
    assert (refused.status, refused.body["code"]) == (409, "already_invited")
    assert (await web.ask("DELETE", f"/v1/users/{user}", token=token)).status == 204
    assert len((await web.ask("GET", "/v1/users", token=token)).body["users"]) == 1


async def test_R11_an_expired_invitation_to_a_lost_role_grants_nothing(web, town, lapsed):
    await town.found(seats=3)
    token = await web.token("ada@example.com")
    user = await lapsed()
    await town.people.users.change(Actor.operator(), user, role="retired")
    refused = await web.ask("POST", f"/v1/users/{user}/invitation", token=token)
    assert (refused.status, refused.body["code"]) == (422, "unknown_role")
    assert (await web.ask("PATCH", f"/v1/users/{user}", {"role": "marketer"}, token=token)).status == 200
    assert (await web.ask("POST", f"/v1/users/{user}/invitation", token=token)).status == 200
    other = await lapsed("eve@example.com")
    await town.people.users.change(Actor.operator(), other, role="retired")
    assert (await web.ask("DELETE", f"/v1/users/{other}", token=token)).status == 204


async def test_an_expired_user_may_nothing_and_gets_no_mail(web, town, lapsed):
    await town.found(seats=3)
    user = await lapsed()
    await town.outbox.close()
    town.mailed.clear()
    record = await town.people.users.record(user)
    assert (await town.sign_in("bob@example.com")) == InvalidGrant()
    assert resolve_record(record) is Reason.UNKNOWN_USER
    assert status_denial(record) is not None
    await town.people.forgotten.ask("bob@example.com", "192.0.2.1")
    await town.outbox.close()
    assert town.mailed == []


async def test_every_call_that_names_a_user_is_404_for_another_account(web, town):
    await town.found()
    other = await town.found("Bolt", "eve@example.com")
    pending = (await town.invite(other, "zoe@example.com")).member.record
    token = await web.token("ada@example.com")
    for user in (other.id, pending.id):
        for method, path, body in (
            ("POST", f"/v1/users/{user}/invitation", None),
            ("PATCH", f"/v1/users/{user}", {"role": "developer"}),
            ("DELETE", f"/v1/users/{user}", None),
        ):
            answer = await web.ask(method, path, body, token=token)
            assert (answer.status, answer.body["code"]) == (404, "not_found"), (method, path)
    assert (await town.people.users.record(other.id)).status is Status.ACTIVE
    listed = (await web.ask("GET", "/v1/users", token=token)).body["users"]
    assert [one["email"] for one in listed] == ["ada@example.com"]


@pytest.mark.parametrize("role", ["accountant", "developer", "marketer"])
async def test_callers_without_users_manage_learn_nothing(web, town, role):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com", role)
    token = await web.token("bob@example.com")
    for method, path, body in (
        ("GET", "/v1/users", None),
        ("GET", "/v1/roles", None),
        ("POST", "/v1/users", {"email": "eve@example.com", "role": "marketer"}),
        ("POST", "/v1/users", {"nonsense": 1}),
        ("PATCH", f"/v1/users/{bob.id}", {"role": "account-administrator"}),
        ("DELETE", f"/v1/users/{admin.id}", None),
        ("POST", f"/v1/users/{admin.id}/invitation", None),
    ):
        answer = await web.ask(method, path, body, token=token)
        assert (answer.status, answer.body["reason"]) == (403, "no_rule"), (method, path)
        assert (await web.ask(method, path, body)).status == 401


async def test_R13_a_replayed_response_has_no_secret(web, town):
    admin = await town.found()
    token = await web.token("ada@example.com")
    body = {"email": "bob@example.com", "role": "marketer"}
    key = {"Idempotency-Key": "k-1"}
    first = await web.ask("POST", "/v1/users", body, token=token, headers=key)
    second = await web.ask("POST", "/v1/users", body, token=token, headers=key)
    assert (first.status, second.status) == (201, 201)
    assert second.body["user"]["id"] == first.body["user"]["id"]
    assert first.body["invitation"]["url"]
    assert second.body["invitation"]["url"] is None
    other = await web.ask("POST", "/v1/users", {**body, "role": "developer"}, token=token, headers=key)
    assert (other.status, other.body["code"]) == (422, "idempotency_mismatch")
    bad = await web.ask("POST", "/v1/users", body, token=token, headers={"Idempotency-Key": "x" * 256})
    assert (bad.status, bad.body["code"]) == (400, "bad_request")

    # The record is the actor's own: another actor's request with the same key is a first one.
    await town.join(admin, "eve@example.com", "account-administrator")
    eve = await web.token("eve@example.com")
    fresh = await web.ask("POST", "/v1/users", {**body, "email": "zoe@example.com"}, token=eve, headers=key)
    assert fresh.status == 201
    assert fresh.body["invitation"]["url"]


async def test_R13_what_proves_a_secret_of_its_own_is_never_replayed(web, town):
    """An Idempotency-Key there would store tokens, or give a wrong secret the response of a right one."""
    admin = await town.found(seats=9)
    key = {"Idempotency-Key": "k-1"}
    form = {"grant_type": "password", "username": "ada@example.com", "password": PASSWORD}
    as_json = {"Content-Type": "application/json", **key}
    first, second = [await web.ask("POST", "/token", form, headers=as_json) for _ in range(2)]
    assert first.body["access_token"] != second.body["access_token"]
    wrong = await web.ask("POST", "/token", {**form, "password": NEW}, headers=as_json)
    assert (wrong.status, wrong.body["error"]) == (400, "invalid_grant")

    invited = await web.ask(
        "POST", "/v1/users", {"email": "bob@example.com", "role": "marketer"}, token=first.body["access_token"]
    )
    accept = {"token": invited.body["invitation"]["url"].partition("#")[2], "password": PASSWORD}
    reset = {"token": town.people.password_reset.link(admin).url.partition("#")[2], "password": NEW}
    change = {"old_password": NEW, "new_password": PASSWORD}
    session = {"username": "ada@example.com", "password": NEW}
    bearer = None
    for path, body, done, again in (
        ("/v1/invitations/accept", accept, 201, 410),
        ("/v1/password/reset", reset, 201, 410),
        ("/v1/session", session, 204, 204),
        ("/v1/me/password", change, 200, 401),
    ):
        if path == "/v1/me/password":
            bearer = await web.token("ada@example.com", NEW)
        headers = {**key, "Origin": PUBLIC, "Content-Type": "application/json"}
        answers = [await web.ask("POST", path, body, token=bearer, headers=headers) for _ in range(2)]
        assert [answer.status for answer in answers] == [done, again], path
    held = [name for name in await town.people.users._store.command("KEYS", "*") if ":idem" in name]
    assert held == []


async def test_R13_a_request_id_of_the_caller_makes_no_two_changes_one(web, town):
    """Scripts repeat their result for a repeated request id: therefore it is never the client's."""
    await town.found(seats=9)
    token, same = await web.token("ada@example.com"), {"X-Request-ID": "the-same"}
    users = set()
    for email in ("bob@example.com", "eve@example.com"):
        body = {"email": email, "role": "marketer"}
        users.add((await web.ask("POST", "/v1/users", body, token=token, headers=same)).body["user"]["email"])
    assert users == {"bob@example.com", "eve@example.com"}
    assert not [name for name in await town.people.users._store.command("KEYS", "*") if "the-same" in name]


async def test_R16_refreshes_over_the_limit_are_429_with_retry_after(web, town, monkeypatch):
    monkeypatch.setattr(sessions, "REFRESHES", Rate(units=1, seconds=60))
    await town.found()
    grant = await town.grant("ada@example.com")
    form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
    json_type = {"Content-Type": "application/json"}
    assert (await web.ask("POST", "/token", form, headers=json_type)).status == 200
    limited = await web.ask("POST", "/token", form, headers=json_type)
    assert (limited.status, limited.body["error"]) == (429, "rate_limited")
    assert 0 < int(limited.headers["Retry-After"]) <= 60


async def test_R12_forgot_is_202_whatever_is_asked_for(web, town):
    await town.found()
    answers = [
        await web.ask("POST", "/v1/password/forgot", {"email": email})
        for email in ("ada@example.com", "nobody@example.com", "nonsense", "")
    ]
    assert {answer.status for answer in answers} == {202}
    assert len({answer.raw for answer in answers}) == 1
    assert town.mailed == []
    await town.outbox.close()
    assert [mail.recipient for mail in town.mailed] == ["ada@example.com"]
    for body in ({}, {"email": 1}, {"email": "a@b.de", "account": "x"}, {"email": "x" * 321}):
        assert (await web.ask("POST", "/v1/password/forgot", body)).status == 400


async def test_R12_forgot_responds_before_it_reads_the_store(web, town, monkeypatch):
    asked = []

    async def counted(self, name, *arguments, **options):
        asked.append(name)
        raise AssertionError(name)

    await town.found()
    monkeypatch.setattr(type(town.people.users._store), "run", counted)
    assert (await web.ask("POST", "/v1/password/forgot", {"email": "ada@example.com"})).status == 202
    assert asked == []


async def test_R12_reset_answers_as_accept_does_and_sets_no_cookie(web, town):
    admin = await town.found()
    old = await web.token("ada@example.com")
    token = town.people.password_reset.link(await town.people.users.record(admin.id)).url.partition("#")[2]
    weak = await web.ask("POST", "/v1/password/reset", {"token": token, "password": "short"})
    assert (weak.status, weak.body["code"]) == (422, "weak_password")
    done = await web.ask("POST", "/v1/password/reset", {"token": token, "password": NEW})
    assert done.status == 201
    assert {"access_token", "refresh_token", "expires_in", "token_type", "account", "user"} <= set(done.body)
    assert "Set-Cookie" not in done.headers
    assert (await web.ask("GET", "/v1/me", token=done.body["access_token"])).status == 200
    assert (await web.ask("GET", "/v1/me", token=old)).body["reason"] == "revoked"
    for gone in (token, "garbage", "rst_" + "a" * 58):
        answer = await web.ask("POST", "/v1/password/reset", {"token": gone, "password": NEW})
        assert (answer.status, answer.body["code"]) == (410, "invitation_gone")


async def test_R32_no_door_takes_a_name_of_an_actor_that_is_no_user(web, town):
    """The audit shows "An operator" and "The sidecar" as actors."""
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    token = await web.token("ada@example.com")
    sent = await web.ask("POST", "/v1/users", {"email": "eve@example.com", "role": "marketer"}, token=token)
    link = sent.body["invitation"]["url"].partition("#")[2]
    for method, path, body in (
        ("PATCH", "/v1/me", {}),
        ("PATCH", f"/v1/users/{bob.id}", {}),
        ("POST", "/v1/users", {"email": "mia@example.com", "role": "marketer"}),
        ("POST", "/v1/invitations/accept", {"token": link, "password": PASSWORD}),
    ):
        for name in ("An operator", "sidec\u0430r"):
            answer = await web.ask(method, path, {**body, "name": name}, token=token)
            assert (path, answer.status, answer.body["code"]) == (path, 400, "bad_request")
            assert "operator, sidecar or system" in answer.body["detail"]
    account = NewAccount("Other", "zoe@example.org", PASSWORD, admin_name="The system")
    made = await create_account(
        town.people.accounts, town.hashing, account, actor=Actor.operator(), entropy=town.entropy
    )
    assert isinstance(made, InvalidName)
