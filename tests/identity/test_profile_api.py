"""The caller's own profile over HTTP: name, role and permissions with titles, and the limits of a change."""

import json

import pytest

from sidecar.identity.hash_limits import Limited
from sidecar.identity.login_rate_limits import PROFILE, LoginRateLimits
from sidecar.store import keys
from sidecar.store.rate_limiter import Buckets
from tests.fixtures import PEPPER, PUBLIC
from tests.identity.test_review import hold


@pytest.fixture
async def web(open_web):
    return await open_web()


async def rows(town, record):
    """Return the audit rows about the user, oldest first."""
    town_store = town.people.users._store
    log = await town_store.client.xrange(keys.account(record.account, town_store.partitions) + ":log")
    texts = [{as_text(name): as_text(value) for name, value in fields.items()} for _, fields in log]
    return [row for row in texts if row["target"] == record.id]


def as_text(value):
    return value.decode() if isinstance(value, bytes) else value


async def test_me_has_the_role_title_and_if_the_email_is_proven(web, town):
    admin = await town.found()
    mia = await town.join(admin, "mia@example.com", "marketer")
    shown = (await web.ask("GET", "/v1/me", token=await web.token("mia@example.com"))).body
    assert shown == {
        "id": mia.id,
        "email": "mia@example.com",
        "name": "",
        "role": "marketer",
        "status": "active",
        "account": admin.account,
        "role_title": "Marketer",
        "email_verified": False,
    }
    assert (await web.ask("GET", "/v1/me", token=await web.token("ada@example.com"))).body["email_verified"] is True


@pytest.mark.parametrize("role", ["marketer", "accountant", "developer", "account-administrator"])
async def test_every_role_changes_its_own_name_and_nothing_else(web, town, role):
    admin = await town.found()
    mia = await town.join(admin, "mia@example.com", role)
    token = await web.token("mia@example.com")
    before = (await web.ask("GET", "/v1/me", token=token)).body
    changed = await web.ask("PATCH", "/v1/me", {"name": "  Mía   O’Neill "}, token=token)
    assert (changed.status, changed.body) == (200, {**before, "name": "Mía O’Neill"})
    assert changed.headers["X-Sidecar-Revocation"] == "complete"
    assert (await web.ask("GET", "/v1/me", token=token)).body == changed.body
    row = (await rows(town, mia))[-1]
    assert (row["action"], row["actor"]) == ("user.changed", mia.id)
    assert json.loads(row["before"])["name"] == ""
    assert json.loads(row["after"])["name"] == "Mía O’Neill"
    again = await web.ask("PATCH", "/v1/me", {"name": "Mía O’Neill"}, token=token)
    assert (again.status, again.body) == (200, changed.body)
    assert "X-Sidecar-Revision" not in again.headers, "nothing changed"
    assert (await rows(town, mia))[-1] == row


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "Mia",
        {},
        {"name": None},
        {"name": 1},
        {"name": ["Mia"]},
        {"name": "a\nb"},
        {"name": "a\u202eb"},
        {"name": "\x00"},
        {"name": "x" * 101},
        {"name": "x" * 9000},
        {"name": "Mia", "role": "account-administrator"},
        {"name": "Mia", "email": "eve@example.com"},
        {"name": "Mia", "status": "active"},
        {"name": "Mia", "id": "usr_somebody"},
    ],
)
async def test_a_bad_profile_is_refused_and_changes_nothing(web, town, body):
    admin = await town.found()
    token = await web.token("ada@example.com")
    before = await town.people.users.record(admin.id)
    answer = await web.ask("PATCH", "/v1/me", body, token=token)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert "$.name" in answer.body["detail"] or not isinstance(body, dict) or len(body) != 1
    assert await town.people.users.record(admin.id) == before


async def test_a_duplicate_name_is_refused(web, town):
    await town.found()
    raw = b'{"name": "Mia", "name": "Eve"}'
    answer = await web.ask("PATCH", "/v1/me", token=await web.token("ada@example.com"), raw=raw)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.sidecar.example"},
    ],
)
async def test_R5_another_site_changes_no_name(web, town, headers):
    admin = await town.found()
    cookie = {"Cookie": f"__Host-sidecar={await web.token('ada@example.com')}"}
    before = await town.people.users.record(admin.id)
    denied = await web.ask("PATCH", "/v1/me", {"name": "Eve"}, headers={**cookie, **headers})
    assert (denied.status, denied.body["code"]) == (403, "cross_site")
    assert await town.people.users.record(admin.id) == before
    own = await web.ask("PATCH", "/v1/me", {"name": "Eve"}, headers={**cookie, "Origin": PUBLIC})
    assert own.status == 200


async def test_R48_callers_without_access_change_no_name(web, town):
    admin = await town.found()
    bob, eve = await town.join(admin, "bob@example.com"), await town.join(admin, "eve@example.com")
    bobs, eves = await web.token("bob@example.com"), await web.token("eve@example.com")
    ada = await web.token("ada@example.com")
    assert (await web.ask("PATCH", f"/v1/users/{bob.id}", {"status": "suspended"}, token=ada)).status == 200
    await hold(town, eve)
    for token, reason in ((None, "missing_token"), (bobs, "suspended"), (eves, "needs_review")):
        answer = await web.ask("PATCH", "/v1/me", {"name": "X"}, token=token)
        assert (answer.status, answer.body["reason"]) == (401, reason)
    for user in (bob, eve):
        assert (await town.people.users.record(user.id)).name == ""


async def test_R11_a_caller_that_has_changed_meanwhile_is_409(web, town, monkeypatch):
    admin = await town.found()
    bob = await town.join(admin, "bob@example.com", "developer")
    token = await web.token("bob@example.com")
    stale = await town.people.users.record(bob.id)
    assert stale is not None
    await town.people.users.change(town.actor(admin), bob.id, role="marketer")

    async def read(uid, *, fresh=False):
        return stale

    monkeypatch.setattr(town.people.users, "record", read)  # the copy of a sidecar that has not applied the change
    answer = await web.ask("PATCH", "/v1/me", {"name": "Bob"}, token=token)
    assert (answer.status, answer.body["code"]) == (409, "actor_changed")


async def test_profile_changes_are_limited_per_user(web, town, store, monkeypatch):
    admin = await town.found()
    limits = LoginRateLimits(Buckets(store), PEPPER, address_of=str, memory_low=lambda: False)
    monkeypatch.setattr(town.people.profile, "_limits", limits)
    bob = await town.join(admin, "bob@example.com")
    bobs, adas = await web.token("bob@example.com"), await web.token("ada@example.com")
    answers = [await web.ask("PATCH", "/v1/me", {"name": f"Bob {n}"}, token=bobs) for n in range(PROFILE.units + 1)]
    assert [answer.status for answer in answers] == [200] * PROFILE.units + [429]
    assert answers[-1].body["code"] == "rate_limited"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= PROFILE.seconds
    assert (await town.people.users.record(bob.id)).name == f"Bob {PROFILE.units - 1}"
    assert (await web.ask("PATCH", "/v1/me", {"name": "Ada L"}, token=adas)).status == 200, "a limit of one user"


async def test_a_limited_change_says_when_to_try_again(web, town):
    await town.found()
    token = await web.token("ada@example.com")
    town.limits.refuse = Limited(17)
    answer = await web.ask("PATCH", "/v1/me", {"name": "Eve"}, token=token)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "17")


async def test_permissions_have_titles_and_never_a_rule(web, town, generation):
    admin = await town.found()
    await town.join(admin, "mia@example.com", "accountant")
    menu = (await web.ask("GET", "/v1/me/permissions", token=await web.token("mia@example.com"))).body
    assert set(menu) == {"role", "role_title", "generation", "permissions"}
    assert (menu["role"], menu["role_title"]) == ("accountant", "Accountant")
    cells = {(cell["section"], cell["action"]): cell for cell in menu["permissions"]}
    assert cells["billing", "change-plan"] == {
        "section": "billing",
        "section_title": "Billing",
        "action": "change-plan",
        "action_title": "Change plan",
        "decision": True,
        "reason": "allowed",
    }
    assert (cells["policy", "preview"]["action_title"], cells["policy", "preview"]["reason"]) == (
        "Try an edit",
        "no_rule",
    )
    assert list(cells) == [(one.id, action) for one in generation.sections.values() for action in one.actions]


async def test_roles_list_their_allowed_cells(web, town, generation):
    await town.found()
    answer = await web.ask("GET", "/v1/roles", token=await web.token("ada@example.com"))
    assert answer.headers["Content-Type"] == "application/json"
    roles = {role["id"]: role for role in answer.body["roles"]}
    assert {name: role["everything"] for name, role in roles.items()} == {
        "account-administrator": True,
        "accountant": False,
        "developer": False,
        "marketer": False,
    }
    media = {"section": "media-library", "section_title": "Media Library"}
    own = {"section": "account-settings", "section_title": "Account Settings"}
    assert roles["marketer"]["permissions"] == [
        {**media, "action": "view", "action_title": "View"},
        {**media, "action": "upload", "action_title": "Upload"},
        {**media, "action": "manage", "action_title": "Manage"},
        {**own, "action": "view", "action_title": "View"},
        {**own, "action": "change-password", "action_title": "Change password"},
    ]
    for name, role in roles.items():
        cells = {(cell["section"], cell["action"]) for cell in role["permissions"]}
        assert cells == generation.allowed[name]
        assert role["opens"] == list(dict.fromkeys(cell["section"] for cell in role["permissions"]))
