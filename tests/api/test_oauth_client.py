"""A third-party client, Authlib: password grant, refresh, revocation, introspection, and metadata."""

import time
from asyncio import to_thread

import pytest

from sidecar.domain.peps import Scope
from sidecar.domain.users import Actor
from sidecar.identity.pep_keys import NewPep, PepMade, make
from sidecar.store.peps import Peps
from tests.fixtures import PASSWORD, PEPPER

pytest.importorskip("authlib", reason="Authlib is not installed: pip install -e .[test]")
pytest.importorskip("requests", reason="requests is not installed: pip install -e .[test]")

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url


@pytest.fixture
async def base(open_web):
    web = await open_web()
    return str(web.client.make_url("")).rstrip("/")


@pytest.fixture
async def client(base):
    with OAuth2Session(
        client_id="app",
        token_endpoint=base + "/token",
        token_endpoint_auth_method="none",
        revocation_endpoint_auth_method="none",
    ) as client:
        yield client


async def test_password_refresh_revoke_and_introspect(client, base, town, store, entropy):
    ada = await town.found()
    first = await to_thread(client.fetch_token, base + "/token", username="ada@example.com", password=PASSWORD)
    assert first["token_type"] == "Bearer"
    assert first["expires_at"] > time.time()
    assert (await to_thread(client.get, base + "/v1/me")).json()["id"] == ada.id

    second = await to_thread(client.refresh_token, base + "/token", refresh_token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert (await to_thread(client.get, base + "/v1/me")).status_code == 200

    made = await make(
        Peps(store),
        PEPPER,
        ada.account,
        NewPep("api", frozenset({Scope.INTROSPECT}), 3600, 100),
        actor=Actor.operator(),
        entropy=entropy,
    )
    assert isinstance(made, PepMade)
    with OAuth2Session(token={"access_token": made.key, "token_type": "Bearer"}) as pep:

        async def introspected():
            answer = await to_thread(pep.post, base + "/introspect", data={"token": second["access_token"]})
            assert answer.status_code == 200
            return answer.json()

        assert (await introspected())["sub"] == ada.id
        revoked = await to_thread(client.revoke_token, base + "/revoke", token=second["refresh_token"])
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert await introspected() == {"active": False}
    assert (await to_thread(client.get, base + "/v1/me")).status_code == 401


async def test_an_expired_token_is_refreshed_by_the_client_itself(client, base, town):
    await town.found()
    token = await to_thread(client.fetch_token, base + "/token", username="ada@example.com", password=PASSWORD)
    client.token = {**token, "expires_at": int(time.time()) - 1}
    assert (await to_thread(client.get, base + "/v1/me")).status_code == 200
    assert client.token["refresh_token"] != token["refresh_token"]


@pytest.mark.parametrize(
    ("fetch", "error"),
    [
        ({"username": "ada@example.com", "password": "wrong-otter-marble-41"}, "invalid_grant"),
        ({"username": "nobody@example.com", "password": PASSWORD}, "invalid_grant"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "ada@example.com"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "rt_x"}, "invalid_grant"),
    ],
)
async def test_errors_are_read_by_the_client(client, base, town, fetch, error):
    await town.found()
    with pytest.raises(AuthlibBaseError) as caught:
        await to_thread(client.fetch_token, base + "/token", **fetch)
    assert caught.value.error == error
    assert caught.value.description


async def test_the_metadata_passes_the_clients_own_validation(client, base):
    where = base + get_well_known_url("https://sidecar.example", external=False)
    answer = await to_thread(client.get, where, withhold_token=True)
    metadata = AuthorizationServerMetadata(answer.json())
    metadata.validate()
    assert metadata.issuer == "https://sidecar.example"
