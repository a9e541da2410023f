"""Links over HTTP: what an invitation shows before it is accepted, and acceptance and reset without tokens."""

import asyncio

import pytest

from sidecar.api.invitations import AcceptBody, ShowBody
from sidecar.api.password_reset import ResetBody
from sidecar.domain.users import Actor, Status
from sidecar.identity.invitations import Invitee
from sidecar.identity.login_rate_limits import LINK, LoginRateLimits
from sidecar.store.rate_limiter import Buckets
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PEPPER, PUBLIC
from tests.identity.test_profile_api import rows
from tests.identity.test_review import hold

SHOW, ACCEPT, RESET = "/v1/invitations/show", "/v1/invitations/accept", "/v1/password/reset"


@pytest.fixture
async def web(open_web):
    return await open_web()


def secret_of(sent):
    return sent.url.partition("#")[2]


async def shown(web, token, **headers):
    return await web.ask("POST", SHOW, {"token": token}, **headers)


async def invite(town, actor, account, email="bob@example.com", name="Bob B", role="accountant"):
    return await town.people.inviting.invite(actor, town.generation, account, Invitee(email, name, role))


async def test_a_live_link_shows_who_invites_to_what(web, town):
    admin = await town.found()
    sent = await invite(town, town.actor(admin), admin.account, "Bob@Example.com")
    answer = await shown(web, secret_of(sent))
    assert answer.status == 200
    expires_at = answer.body.pop("expires_at")
    listed = await web.ask("GET", "/v1/users", token=await web.token("ada@example.com"))
    assert expires_at in [user["invite_expires_at"] for user in listed.body["users"]]
    assert answer.body == {
        "account": "Acme",
        "inviter": "Ada",
        "role": {
            "id": "accountant",
            "title": "Accountant",
            "opens": ["Analytics", "Billing", "Account Settings"],
        },
        "email": "bob@example.com",
        "name": "Bob B",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


async def test_the_mailed_link_shows_the_same(web, town):
    admin = await town.found()
    sent = await invite(town, town.actor(admin), admin.account)
    await town.outbox.close()
    (mail,) = town.mailed
    (link,) = [line for line in mail.text.splitlines() if line.startswith(PUBLIC)]
    assert link != sent.url
    assert (await shown(web, link.partition("#")[2])).body == (await shown(web, secret_of(sent))).body


async def test_an_inviter_is_a_name_else_an_email_else_null(web, town):
    admin = await town.found()
    mia = await town.join(admin, "mia@example.com", "account-administrator")  # without a name
    sent = {
        "mia@example.com": await invite(town, town.actor(mia), admin.account, "a@example.com"),
        None: await invite(town, Actor.operator(), admin.account, "b@example.com"),
    }
    for inviter, one in sent.items():
        assert (await shown(web, secret_of(one))).body["inviter"] == inviter
    await town.people.users.change(town.actor(admin), mia.id, name="Mia")
    assert (await shown(web, secret_of(sent["mia@example.com"]))).body["inviter"] == "Mia"
    await town.people.users.remove(town.actor(admin), mia.id)
    assert (await shown(web, secret_of(sent["mia@example.com"]))).body["inviter"] is None


@pytest.fixture
async def dead(town, monkeypatch):
    """Tokens that no longer open anything, or never did, by the cause."""
    admin = await town.found(seats=20)
    actor, account = town.actor(admin), admin.account
    sent = {
        name: await invite(town, actor, account, f"{name}@example.com")
        for name in ("used", "replaced", "revoked", "held", "good")
    }
    await town.people.inviting.accept(secret_of(sent["used"]), PASSWORD, None, town.client)
    await town.people.inviting.resend(actor, town.generation, account, sent["replaced"].member.record.id)
    await town.people.membership.remove(actor, town.generation, account, sent["revoked"].member.record.id)
    await hold(town, sent["held"].member.record)
    with monkeypatch.context() as short:
        short.setattr(town.people.inviting, "_ttl", 0.001)
        sent["expired"] = await invite(town, actor, account, "expired@example.com")
    await asyncio.sleep(0.01)
    good = secret_of(sent.pop("good"))
    reset = town.people.password_reset.link(await town.people.users.record(admin.id))
    prefix, _, letters = good.rpartition("_")
    return {name: secret_of(one) for name, one in sent.items()} | {
        "wrong secret": f"{prefix}_{'a' * len(letters)}",
        "forged mail": f"{good}_{'a' * 26}",
        "of nobody": f"inv_{'c' * 12}_{'b' * 12}_{'a' * len(letters)}",
        "reset link": secret_of(reset),
        "upper case": good.upper(),
        "line end": good + "\n",
        "empty": "",
        "garbage": "garbage",
        "long": "x" * 8000,
        "no ASCII": "ınv_" + "é" * 40,
    }


async def test_R12_a_dead_link_shows_nothing_whatever_its_cause(web, town, dead, monkeypatch):
    store, asked = town.people.users._store, []
    run = type(store).run

    async def counted(self, script, *arguments, **more):
        asked.append(script)
        return await run(self, script, *arguments, **more)

    monkeypatch.setattr(type(store), "run", counted)
    answers = {}
    for name, token in dead.items():
        asked.clear()
        answer = await shown(web, token)
        assert (answer.status, answer.body["code"]) == (410, "invitation_gone"), name
        assert not token or token not in answer.raw.decode()
        answers[name] = (answer.raw, tuple(asked))
    assert len(set(answers.values())) == 1, "the same response for the same work"
    assert set(asked) == {"invitation_peek"}


async def test_a_suspended_account_shows_no_invitation(web, town):
    admin = await town.found()
    sent = await invite(town, town.actor(admin), admin.account)
    await town.people.accounts.set_status(admin.account, Status.SUSPENDED, Actor.operator())
    assert (await shown(web, secret_of(sent))).status == 410
    await town.people.accounts.set_status(admin.account, Status.ACTIVE, Actor.operator())
    assert (await shown(web, secret_of(sent))).status == 200


async def test_showing_leaves_no_row_and_the_link_unspent(web, town, dead):
    bolt = await town.found("Bolt", "eve@example.com")
    sent = await invite(town, town.actor(bolt), bolt.account)
    before = await rows(town, sent.member.record)
    for _ in range(3):
        assert (await shown(web, secret_of(sent))).status == 200
    for token in dead.values():
        await shown(web, token)
    assert await rows(town, sent.member.record) == before
    accepted = await web.ask("POST", ACCEPT, {"token": secret_of(sent), "password": PASSWORD})
    assert accepted.status == 201
    assert (await shown(web, secret_of(sent))).status == 410


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ([], 400),
        ({}, 400),
        ({"token": None}, 400),
        ({"token": 1}, 400),
        ({"token": ["inv_"]}, 400),
        ({"token": "inv_", "password": PASSWORD}, 400),
        ({"token": "x" * 8193}, 400),
        ({"token": "x" * 70_000}, 413),
    ],
)
async def test_a_bad_request_to_show_is_refused_unread(web, town, monkeypatch, body, status):
    monkeypatch.setattr(town.people.inviting, "show", None)
    assert (await web.ask("POST", SHOW, body)).status == status


async def test_show_ignores_who_is_signed_in_and_sets_nothing(web, town):
    admin = await town.found()
    sent = await invite(town, town.actor(admin), admin.account)
    cookie = {"Cookie": f"__Host-sidecar={await web.token('ada@example.com')}", "Origin": "https://evil.example"}
    plain, as_ada = await shown(web, secret_of(sent)), await shown(web, secret_of(sent), headers=cookie)
    assert (as_ada.status, as_ada.body) == (200, plain.body)
    for name in ("Set-Cookie", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"):
        assert name not in as_ada.headers, "another site's page cannot read it"


async def test_R16_shown_links_are_limited_per_address(web, town, store, monkeypatch):
    admin = await town.found()
    token = secret_of(await invite(town, town.actor(admin), admin.account))
    limits = LoginRateLimits(Buckets(store), PEPPER, address_of=str, memory_low=lambda: False)
    monkeypatch.setattr(town.people.inviting, "_limits", limits)
    answers = [await shown(web, token if n % 2 else "garbage") for n in range(LINK.units + 1)]
    assert {answer.status for answer in answers[:-1]} == {200, 410}
    assert (answers[-1].status, answers[-1].body["code"]) == (429, "rate_limited")
    assert 0 < int(answers[-1].headers["Retry-After"]) <= LINK.seconds
    other = await town.people.inviting.show(token, "198.51.100.9")
    assert other.member.record.email == "bob@example.com", "another address is not limited"


async def test_show_without_a_policy_is_503(open_web, town, generation):
    admin = await town.found()
    token = secret_of(await invite(town, town.actor(admin), admin.account))
    town.generation = None
    web = await open_web()
    answer = await shown(web, token)
    assert (answer.status, answer.body["code"]) == (503, "policy_unavailable")


# -- without tokens ----------------------------------------------------------------------------------------------------


async def test_accepting_without_tokens_leaves_no_session(web, town):
    admin = await town.found()
    sent = await invite(town, town.actor(admin), admin.account)
    uid = sent.member.record.id
    body = {"token": secret_of(sent), "password": OTHER_PASSWORD, "name": "Robert", "tokens": False}
    done = await web.ask("POST", ACCEPT, body, headers={"X-Request-ID": "r-77"})
    assert done.status == 200
    assert done.body == {
        "user": {
            "id": uid,
            "email": "bob@example.com",
            "name": "Robert",
            "role": "accountant",
            "status": "active",
            "account": admin.account,
        },
        "account": admin.account,
    }
    assert "Set-Cookie" not in done.headers
    record = await town.people.users.record(uid)
    assert record.sessions == {}
    assert await town.people.sessions.listing(uid) == []
    row = (await rows(town, record))[-1]
    assert (row["action"], row["addr"], row["req"]) == ("invitation.accepted", "127.0.0.1", "r-77")
    listed = (await web.ask("GET", "/v1/users", token=await web.token("ada@example.com"))).body["users"]
    assert next(user for user in listed if user["id"] == uid)["last_login_at"] is None
    again = await web.ask("POST", ACCEPT, body)
    assert (again.status, again.body["code"]) == (410, "invitation_gone")

    credentials = {"username": "bob@example.com", "password": OTHER_PASSWORD, "account": admin.account}
    headers = {"Origin": PUBLIC, "Content-Type": "application/json"}
    signed_in = await web.ask("POST", "/v1/session", credentials, headers=headers)
    assert signed_in.status == 204
    assert len(await town.people.sessions.listing(uid)) == 1


async def test_a_reset_without_tokens_ends_all_sessions(web, town):
    admin = await town.found()
    old = await web.token("ada@example.com")
    token = secret_of(town.people.password_reset.link(await town.people.users.record(admin.id)))
    body = {"token": token, "password": OTHER_PASSWORD, "tokens": False}
    weak = await web.ask("POST", RESET, {**body, "password": "short"})
    assert (weak.status, weak.body["code"]) == (422, "weak_password")
    done = await web.ask("POST", RESET, body)
    assert (done.status, set(done.body)) == (200, {"user", "account"})
    assert (done.body["user"]["id"], done.body["account"]) == (admin.id, admin.account)
    assert "Set-Cookie" not in done.headers
    assert await town.people.sessions.listing(admin.id) == []
    assert (await web.ask("GET", "/v1/me", token=old)).body["reason"] == "revoked"
    assert (await web.ask("POST", RESET, body)).status == 410
    assert await web.token("ada@example.com", OTHER_PASSWORD)


@pytest.mark.parametrize("tokens", ["false", 0, None, [], {}])
async def test_tokens_is_a_boolean_and_else_spends_no_link(web, town, tokens):
    admin = await town.found()
    sent = await invite(town, town.actor(admin), admin.account)
    reset = secret_of(town.people.password_reset.link(await town.people.users.record(admin.id)))
    for path, token in ((ACCEPT, secret_of(sent)), (RESET, reset)):
        body = {"token": token, "password": OTHER_PASSWORD}
        bad = await web.ask("POST", path, {**body, "tokens": tokens})
        assert (bad.status, bad.body["code"]) == (400, "bad_request")
        assert "$.tokens" in bad.body["detail"]
        done = await web.ask("POST", path, {**body, "tokens": True})
        assert done.status == 201
        assert {"access_token", "refresh_token"} <= set(done.body)


def test_no_representation_has_a_secret():
    token, password = "inv_of-bob", "pw-of-bob"
    bodies = [ShowBody(token), AcceptBody(token, password, tokens=False), ResetBody(token, password, tokens=False)]
    assert "of-bob" not in str(bodies)
