"""Needs over HTTP: guarded calls, ``/v1/check`` and the caller's permissions; the address of a browser."""

import time
from ipaddress import ip_network

import pytest

from sidecar.api import policy
from tests.api.test_second_factor import LOGIN, OURS, Ada, clock
from tests.api.test_session import cookies_of, jar
from tests.fixtures import PASSWORD
from tests.needs_world import policy_with

__all__ = ["clock"]

CONDITIONS = """
[second_factor]
wait = "0s"
[conditions.second-factor]
second_factor = true
[conditions.recent-sign-in]
signed_in_within = "15m"
[conditions.loopback]
networks = ["127.0.0.0/8"]
[conditions.office]
networks = ["192.0.2.0/24"]
[conditions.paid-plan]
account = { plan = ["pro"] }
"""
SERVED = "account-administrator"


@pytest.fixture
async def ask_with(open_web, town, clock, store):
    """Return ``ask_with(lines)``: Ada under a policy with these needs of the role, by section and action."""

    async def made(*lines, conditions=CONDITIONS, **changed):
        record = await town.found()
        town.generation = policy_with("".join(f"needs, {SERVED}, {line}\n" for line in lines), conditions)
        user = Ada(await open_web(**changed), town, clock, store)
        user.id = record.id
        user.token = await user.web.token("ada@example.com")
        return user

    return made


async def test_a_guarded_call_names_what_a_step_up_mends(ask_with):
    ada = await ask_with("users, view, second-factor")
    refused = await ada.call("GET", "/v1/users")
    assert (refused.status, refused.body["code"], refused.body["reason"]) == (401, *["step_up_required"] * 2)
    assert (refused.body["unmet"], refused.body["acr_values"]) == (["second-factor"], "second-factor")
    assert refused.body["enrol"] == ["totp", "passkey"]
    assert "max_age" not in refused.body
    assert refused.headers["X-Auth-Reason"] == "step_up_required"
    (challenge,) = refused.headers.getall("WWW-Authenticate")
    assert 'error="insufficient_user_authentication"' in challenge
    assert 'acr_values="second-factor"' in challenge
    phone = await ada.phone()
    assert (await ada.call("GET", "/v1/users")).status == 200, "confirming a factor is a proof of the session"
    assert (await ada.call("DELETE", f"/v1/me/factors/{phone.id}")).status in (200, 204)
    assert (await ada.call("GET", "/v1/users")).status == 401, "a removed factor is felt at the next call"


async def test_R37_the_first_factor_waits_as_the_policy_has_it(ask_with):
    ada = await ask_with("users, view, second-factor", conditions=CONDITIONS.replace('"0s"', '"1h"'))
    await ada.phone()
    refused = await ada.call("GET", "/v1/users")
    assert (refused.status, refused.body["code"], refused.body["unmet"]) == (403, "condition_unmet", ["second-factor"])
    assert "enrol" not in refused.body
    (counts_at,) = (await ada.record()).factors.values()
    assert 3500 < counts_at - time.time() <= 3600


async def test_an_old_sign_in_is_asked_again_and_the_token_passes(ask_with):
    ada = await ask_with("users, view, recent-sign-in")
    assert (await ada.call("GET", "/v1/users")).status == 200
    await ada.age(901)
    refused = await ada.call("GET", "/v1/users")
    assert (refused.status, refused.body["max_age"], refused.body["unmet"]) == (401, 900, ["recent-sign-in"])
    assert (await ada.call("POST", "/v1/session/step-up", {"password": PASSWORD})).status == 200
    assert (await ada.call("GET", "/v1/users")).status == 200


async def test_what_only_the_operator_mends_is_a_403(ask_with):
    ada = await ask_with("users, view, paid-plan")
    refused = await ada.call("GET", "/v1/users")
    assert (refused.status, refused.body["code"], refused.body["unmet"]) == (403, "condition_unmet", ["paid-plan"])
    assert "WWW-Authenticate" not in refused.headers


async def cookie(ada):
    return [*OURS, ("Cookie", jar(await ada.browser("/v1/session", LOGIN)))]


async def test_the_peer_is_the_user_in_a_browsers_call_alone(ask_with):
    ada = await ask_with("users, view, loopback")
    assert cookies_of(await ada.browser("/v1/session", LOGIN)), "a session in cookies"
    headers, check = await cookie(ada), {"section": "users", "action": "view"}
    assert (await ada.web.ask("GET", "/v1/users", headers=headers)).status == 200
    assert (await ada.call("GET", "/v1/users")).status == 403, "a bearer token is a service's"
    checked = await ada.web.ask("POST", "/v1/check", check, headers=headers)
    assert (checked.status, checked.body["decision"]) == (200, False)
    assert (checked.body["reason"], checked.body["unmet"]) == ("condition_unmet", ["loopback"])
    forged = [*headers, ("X-Forwarded-For", "203.0.113.9")]
    assert (await ada.web.ask("GET", "/v1/users", headers=forged)).status == 200, "the peer is no proxy"


async def test_R40_behind_a_trusted_proxy_its_header_counts(ask_with):
    ada = await ask_with("users, view, loopback", "audit, view, office", trusted_proxies=(ip_network("127.0.0.0/8"),))
    headers = await cookie(ada)
    for sent, expected in (
        ([], 403),
        ([("X-Forwarded-For", "192.0.2.7")], 200),
        ([("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "203.0.113.9")], 403),
        ([("X-Real-IP", "192.0.2.7"), ("Forwarded", "for=192.0.2.7")], 403),
    ):
        assert (await ada.web.ask("GET", "/v1/audit", headers=[*headers, *sent])).status == expected
        assert (await ada.call("GET", "/v1/audit", headers=sent)).status == expected
        assert (await ada.web.ask("GET", "/v1/users", headers=[*headers, *sent])).status == 403, "the proxy's own"


async def test_permissions_and_checks_show_what_is_locked(ask_with):
    ada = await ask_with("users, manage, second-factor", "audit, view, office | paid-plan")
    found = (await ada.call("GET", "/v1/me/permissions")).body
    cells = {(one["section"], one["action"]): one for one in found["permissions"]}
    assert found["conditions"] == [
        {"name": "second-factor", "title": "Second factor"},
        {"name": "office", "title": "Office"},
    ]
    manage, audit, view = cells["users", "manage"], cells["audit", "view"], cells["users", "view"]
    assert (manage["decision"], manage["reason"], manage["unmet"]) == (False, "step_up_required", ["second-factor"])
    assert (audit["decision"], audit["reason"], audit["unmet"]) == (False, "condition_unmet", ["office"])
    assert (manage["enrol"], view["decision"]) == (["totp", "passkey"], True)
    assert {"unmet", "enrol"}.isdisjoint(view)
    assert "enrol" not in audit
    asked = {"checks": [{"section": section, "action": action} for section, action in cells]}
    checked = (await ada.call("POST", "/v1/check", asked)).body["decisions"]
    names = ("decision", "reason", "unmet")
    assert [[one.get(name) for name in names] for one in checked] == [
        [one.get(name) for name in names] for one in cells.values()
    ]


async def test_R11_a_role_is_no_more_than_what_one_may_do_now(ask_with):
    ada = await ask_with("billing, *, second-factor", conditions=CONDITIONS)
    invitation = {"email": "eve@example.com", "role": "accountant", "name": "Eve"}

    def assignable(body):
        return {one["id"] for one in body["roles"]}

    before = assignable((await ada.call("GET", "/v1/roles")).body)
    refused = await ada.call("POST", "/v1/users", invitation)
    assert (refused.status, refused.body["code"]) == (403, "role_above_yours")
    assert "/v1/me/permissions" in refused.body["detail"]
    await ada.phone()
    after = assignable((await ada.call("GET", "/v1/roles")).body)
    assert "accountant" in after - before
    assert (await ada.call("POST", "/v1/users", invitation)).status == 201


async def test_the_matrix_shows_what_allowed_cells_need(ask_with, monkeypatch):
    ada = await ask_with("billing, change-plan, second-factor | paid-plan", "billing, *, recent-sign-in")
    whole = await ada.call("GET", "/v1/policy/matrix")
    needs = {(one["role"], one["section"], one["action"]): one.get("needs") for one in whole.body["cells"]}
    assert needs[SERVED, "billing", "change-plan"] == [["second-factor", "paid-plan"], ["recent-sign-in"]]
    assert needs[SERVED, "billing", "view"] == [["recent-sign-in"]]
    assert [cell for cell, found in needs.items() if found and cell[:2] != (SERVED, "billing")] == []
    monkeypatch.setattr(policy, "CELLS_WITH_NEEDS_AT_ONCE", 3)
    assert (await ada.call("GET", "/v1/policy/matrix")).body == whole.body
