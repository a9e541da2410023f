"""Revocation and introspection: effects, access rules, and the exact responses of RFC 7009, 7662 and 6750."""

import base64
import json

import pytest

from sidecar.domain.peps import Scope
from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import Actor, Status
from sidecar.identity.pep_keys import NewPep, PepMade, make
from sidecar.identity.sessions import Grant
from sidecar.store.peps import Peps
from sidecar.tokens.opaque import SecretKind, new_pep_secret, new_secret
from tests.fixtures import PEPPER, PUBLIC

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVERY = frozenset(Scope)


@pytest.fixture
async def web(open_web):
    return await open_web()


@pytest.fixture
def pep(store, entropy):
    async def made(account, scopes=EVERY, name="billing"):
        outcome = await make(
            Peps(store), PEPPER, account, NewPep(name, scopes, 3600, 100), actor=Actor.operator(), entropy=entropy
        )
        assert isinstance(outcome, PepMade)
        return outcome.key

    return made


async def revoked(web, token, **more):
    answer = await web.ask("POST", "/revoke", raw=f"token={token}".encode(), headers=FORM, **more)
    assert (answer.status, answer.raw) == (200, b"")
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


async def introspected(web, token, key):
    answer = await web.ask("POST", "/introspect", raw=f"token={token}".encode(), headers=FORM, token=key)
    assert answer.status == 200, answer.body
    assert (answer.headers["Cache-Control"], answer.headers["Content-Type"]) == ("no-store", "application/json")
    return answer.body


async def signed_in(web, token):
    return (await web.ask("GET", "/v1/me", token=token)).status == 200


# Revocation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["refresh_token", "access_token"])
async def test_a_revoked_token_takes_its_session_and_no_other(web, town, what):
    await town.found()
    here, elsewhere = await town.grant("ada@example.com"), await town.grant("ada@example.com")
    await revoked(web, getattr(here, what))
    assert not await signed_in(web, here.access_token)
    assert await signed_in(web, elsewhere.access_token)
    again = await web.ask(
        "POST", "/token", raw=f"grant_type=refresh_token&refresh_token={here.refresh_token}".encode(), headers=FORM
    )
    assert (again.status, again.body["error"]) == (400, "invalid_grant")
    assert len(town.fleet.waited) == 1, "the response waits until every sidecar has applied it"


async def test_revoking_needs_no_client_and_no_hint(web, town):
    await town.found()
    for hint in ("refresh_token", "access_token", "nonsense"):
        grant = await town.grant("ada@example.com")
        await revoked(web, f"{grant.access_token}&token_type_hint={hint}&client_id=app")
        assert not await signed_in(web, grant.access_token)


async def test_a_token_that_is_not_good_is_gone_already(web, town, clock):
    await town.found()
    grant = await town.grant("ada@example.com")
    for token in ("garbage", "a.b.c", grant.access_token[:-4] + "AAAA", grant.refresh_token[:-4] + "aaaa"):
        await revoked(web, token)
    assert await signed_in(web, grant.access_token), "an unverified token ends no session"
    await revoked(web, grant.access_token)
    await revoked(web, grant.access_token)


async def test_an_expired_access_token_ends_nothing(web, town, clock):
    """An old token found in a log must not sign its user out."""
    await town.found()
    grant = await town.grant("ada@example.com")
    clock.advance(1000)
    await revoked(web, grant.access_token)
    fresh = await web.ask(
        "POST", "/token", raw=f"grant_type=refresh_token&refresh_token={grant.refresh_token}".encode(), headers=FORM
    )
    assert fresh.status == 200


async def test_the_end_of_a_session_is_audited_under_its_user(web, town, store):
    ada = await town.found()
    await revoked(web, (await town.grant("ada@example.com")).access_token)
    rows = await store.command("XREVRANGE", f"sc:{{p00}}:a:{ada.account}:log", "+", "-", "COUNT", 1)
    flat = rows[0][1]
    row = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    assert (row["action"], row["actor"], row["target"], row["addr"]) == ("session.ended", ada.id, ada.id, "127.0.0.1")
    assert row["req"]


async def test_other_secrets_are_not_revoked_here(web, town, entropy):
    ada = await town.found()
    for secret in (
        new_secret(SecretKind.INVITATION, ada.id, entropy(20)),
        new_secret(SecretKind.RESET, ada.id, entropy(20)),
        new_pep_secret(ada.account, entropy(28)),
    ):
        answer = await web.ask("POST", "/revoke", raw=f"token={secret.text}".encode(), headers=FORM)
        assert (answer.status, answer.body["error"]) == (400, "unsupported_token_type")
        assert secret.text not in answer.raw.decode()


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"", FORM),
        (b"token=", FORM),
        (b"token=a&token=b", FORM),
        (b"token=a", {}),
        (b'{"token": ["a"]}', {"Content-Type": "application/json"}),
        (b"token=%FF", FORM),
    ],
)
@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
async def test_requests_without_one_token_are_invalid(web, town, pep, raw, headers, path):
    ada = await town.found()
    key = await pep(ada.account) if path == "/introspect" else None
    answer = await web.ask("POST", path, raw=raw, headers=headers, token=key)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert set(answer.body) == {"error", "error_description"}
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


# Introspection -------------------------------------------------------------------------------------------------------


async def test_a_live_access_token_is_told_as_RFC_7662_has_it(web, town, pep, clock):
    ada = await town.found()
    grant = await town.grant("ada@example.com")
    told = await introspected(web, grant.access_token, await pep(ada.account))
    claims = json.loads(base64.urlsafe_b64decode(grant.access_token.split(".")[1] + "=="))
    assert told == {
        "active": True,
        "token_type": "Bearer",
        "iss": PUBLIC,
        "sub": ada.id,
        "client_id": ada.id,
        "aud": "dashboard",
        "exp": claims["exp"],
        "iat": claims["iat"],
        "jti": claims["jti"],
        "username": "ada@example.com",
        "acct": ada.account,
        "user": ada.id,
        "sid": grant.session,
        "auth_time": grant.record.sessions[grant.session].signed_in_at,
        "amr": ["pwd"],
    }
    assert (claims["auth_time"], claims["amr"]) == (told["auth_time"], told["amr"])


async def test_the_proofs_of_the_live_session_are_introspected(web, town, pep):
    """The token says how it was signed in when it was issued; its session has shown a factor since."""
    ada = await town.found()
    grant = await town.grant("ada@example.com")
    actor = Actor(ada.id, ada.role, ada.epoch, grant.session)
    done = await town.people.sessions.step_up(actor, NewProof(Method.TOTP, "fac_1"))
    told = await introspected(web, grant.access_token, await pep(ada.account))
    assert told["amr"] == ["mfa", "otp", "pwd"]
    assert told["auth_time"] == done.record.sessions[grant.session].signed_in_at
    claims = json.loads(base64.urlsafe_b64decode(grant.access_token.split(".")[1] + "=="))
    assert claims["amr"] == ["pwd"]
    form = f"grant_type=refresh_token&refresh_token={grant.refresh_token}".encode()
    renewed = await web.ask("POST", "/token", raw=form, headers=FORM)
    claims = json.loads(base64.urlsafe_b64decode(renewed.body["access_token"].split(".")[1] + "=="))
    assert (claims["auth_time"], claims["amr"]) == (told["auth_time"], told["amr"])


async def test_R9_an_unverified_email_is_nobodys_name(web, town, pep):
    ada = await town.found()
    await town.join(ada, "bob@example.com")
    told = await introspected(web, (await town.grant("bob@example.com")).access_token, await pep(ada.account))
    assert told["active"] is True
    assert "username" not in told


async def test_R20_tokens_of_another_account_are_inactive(web, town, pep):
    ada = await town.found()
    eve = await town.found("Evil", "eve@example.net")
    grant = await town.grant("ada@example.com")
    assert await introspected(web, grant.access_token, await pep(eve.account)) == {"active": False}
    assert (await introspected(web, grant.access_token, await pep(ada.account)))["active"] is True


async def test_whatever_is_no_live_access_token_is_inactive(web, town, pep, clock):
    ada = await town.found()
    key = await pep(ada.account)
    bob = await town.join(ada, "bob@example.com")
    ended, suspended = await town.grant("ada@example.com"), await town.grant("bob@example.com")
    await revoked(web, ended.refresh_token)
    await town.people.users.change(town.actor(ada), bob.id, status=Status.SUSPENDED)
    live = await town.grant("ada@example.com")
    for token in (ended.access_token, suspended.access_token, live.refresh_token, "garbage", key):
        assert await introspected(web, token, key) == {"active": False}
    clock.advance(906)
    assert await introspected(web, live.access_token, key) == {"active": False}


async def test_R20_only_a_key_with_the_scope_may_ask(web, town, pep):
    ada = await town.found()
    grant = await town.grant("ada@example.com")
    raw = f"token={grant.access_token}".encode()

    nobody = await web.ask("POST", "/introspect", raw=raw, headers=FORM)
    assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, 'Bearer realm="sidecar"')

    user = await web.ask("POST", "/introspect", raw=raw, headers=FORM, token=grant.access_token)
    assert user.status == 401
    assert user.headers["WWW-Authenticate"].startswith('Bearer realm="sidecar", error="invalid_token", error_descript')
    assert user.body["error"] == "invalid_token"

    cookie = {**FORM, "Cookie": f"__Host-sidecar={await pep(ada.account, name='c')}"}
    assert (await web.ask("POST", "/introspect", raw=raw, headers=cookie)).status == 401

    narrow = await pep(ada.account, EVERY - {Scope.INTROSPECT}, "narrow")
    scope = await web.ask("POST", "/introspect", raw=raw, headers=FORM, token=narrow)
    assert (scope.status, scope.body["error"]) == (403, "insufficient_scope")
    assert scope.headers["WWW-Authenticate"] == 'Bearer realm="sidecar", error="insufficient_scope"'


async def test_R24_no_answer_repeats_a_token(web, town, pep):
    ada = await town.found()
    grant: Grant = await town.grant("ada@example.com")
    key = await pep(ada.account)
    for path in ("/revoke", "/introspect", "/token"):
        for secret in (grant.access_token, grant.refresh_token, key):
            for raw in (f"token={secret}&token={secret}", f"{secret}", f"grant_type={secret}&token="):
                answer = await web.ask("POST", path, raw=raw.encode(), headers=FORM, token=key)
                assert secret.encode() not in answer.raw


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
async def test_problems_of_the_door_are_oauth_errors_too(web, town, pep, path):
    ada = await town.found()
    key = await pep(ada.account)
    too_large = await web.ask("POST", path, raw=b"token=" + b"a" * 70_000, headers=FORM, token=key)
    assert (too_large.status, too_large.body["error"]) == (413, "invalid_request")
    assert set(too_large.body) == {"error", "error_description"}
    wrong_method = await web.ask("GET", path, token=key)
    assert (wrong_method.status, wrong_method.headers["Allow"]) == (405, "POST")


async def test_descriptions_hold_only_what_RFC_6749_lets_them_hold(web, town):
    await town.found()
    answers = [
        await web.ask("POST", "/introspect", raw=b"token=a", headers=FORM),
        await web.ask("POST", "/token", raw=b'{"a": 1, "a": 2}', headers={"Content-Type": "application/json"}),
        await web.ask("POST", "/token", raw="grant_type=é".encode(), headers=FORM),
    ]
    allowed = set(map(chr, [0x20, 0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F)]))
    for answer in answers:
        assert set(answer.body["error_description"]) <= allowed


async def test_a_store_that_is_out_is_503_and_never_a_yes_or_a_no(web, town, pep, monkeypatch):
    """RFC 7009 section 2.2.1: the client must assume that the token still exists."""
    from sidecar.store.errors import StoreUnavailableError

    ada = await town.found()
    grant, key = await town.grant("ada@example.com"), await pep(ada.account)

    async def out(*_, **__):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(type(town.people.users), "record", out)
    for path in ("/revoke", "/introspect"):
        answer = await web.ask("POST", path, raw=f"token={grant.access_token}".encode(), headers=FORM, token=key)
        assert (answer.status, answer.body["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Cache-Control"] == "no-store"


# Metadata ------------------------------------------------------------------------------------------------------------


async def test_metadata_is_RFC_8414s(web):
    answer = await web.ask("GET", "/.well-known/oauth-authorization-server")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    told = answer.body
    assert told["issuer"] == PUBLIC
    assert [] not in told.values(), "section 3.2: empty members are omitted"
    assert told["introspection_endpoint_auth_methods_supported"] == ["Bearer"]
    assert told["revocation_endpoint_auth_methods_supported"] == ["none"]
    for name in ("token", "revocation", "introspection"):
        path = told[f"{name}_endpoint"].removeprefix(PUBLIC)
        assert (await web.ask("GET", path)).status == 405, "the endpoint has the path of the metadata"
    assert (await web.ask("GET", told["jwks_uri"].removeprefix(PUBLIC))).status == 200


async def test_metadata_names_the_check_listener_for_introspection(open_web):
    web = await open_web(pdp_url="http://127.0.0.1:9000/")
    answer = await web.ask("GET", "/.well-known/oauth-authorization-server")
    assert answer.body["introspection_endpoint"] == "http://127.0.0.1:9000/introspect"


async def test_metadata_of_an_issuer_with_a_path_is_at_RFC_8414s_path(web, issuer):
    issuer.issuer = PUBLIC + "/tenant"
    there = await web.ask("GET", "/.well-known/oauth-authorization-server/tenant")
    assert (there.status, there.body["issuer"]) == (200, PUBLIC + "/tenant")
    assert (await web.ask("GET", "/.well-known/oauth-authorization-server/other")).status == 404


async def test_the_key_set_is_public_keys_alone(web):
    answer = await web.ask("GET", "/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    for key in answer.body["keys"]:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
