"""A trusted external issuer with real sidecars: its users sign in and are revoked; users of others are rejected."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.live.conftest import Start
from tests.live.support import Http, Process, cli, found_account

pytestmark = pytest.mark.slow

BILLING = "/dashboard/billing/invoices"
KEY = rsa.generate_private_key(65537, 2048)


class Provider:
    """Serves its key set in its own thread (it responds while a test waits), and signs any token."""

    def __init__(self) -> None:
        self.url = ""
        self.readings = 0

    def keys(self) -> bytes:
        self.readings += 1
        return json.dumps({"keys": [{**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}]}).encode()

    def token(self, kid: str = "k", **claims: object) -> str:
        now = int(time.time())
        payload = {"iss": self.url, "aud": "app", "sub": "s-1", "iat": now, "exp": now + 300, **claims}
        return jwt.encode(payload, KEY, "RS256", {"kid": kid})


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(provider.keys())

        def log_message(self, *_: object) -> None:
            """Drop the line."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield provider
        server.shutdown()
        thread.join()


def entry(provider: Provider, **changed: object) -> str:
    members = {
        "issuer": provider.url,
        "audience": "app",
        "jwks_url": provider.url + "/keys",
        "algorithms": ["RS256"],
        "accounts": ["Acme"],
        "loopback_http": True,
        **changed,
    }
    return "[[issuer]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in members.items())


async def test_R10_users_of_a_trusted_issuer_are_allowed_and_revoked(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(entry(provider))
    process = start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers))
    found_account(process)
    api = http(process)
    email = {"email": "Ada@example.com", "email_verified": True}

    denied = await api.check(BILLING, token=provider.token(**{**email, "email_verified": "true"}))
    assert (denied.status, denied.body["reason"]) == (401, "unknown_user")
    allowed = await api.check(BILLING, token=provider.token(**email))
    assert (allowed.status, allowed.headers["X-Auth-Email"]) == (200, "ada@example.com")
    outside = provider.token()
    assert (await api.check(BILLING, token=outside)).headers["X-Auth-User"] == allowed.headers["X-Auth-User"]
    me = await api.ask("GET", "/v1/me", token=outside)
    assert (me.status, me.body["email"]) == (200, "ada@example.com")

    before = provider.readings
    for number in range(100):
        assert (await api.check(BILLING, token=provider.token(f"random-{number}"))).body["reason"] == "unknown_key"
    assert provider.readings <= before + 1
    assert (await api.ask("POST", "/revoke", data={"token": outside})).body["error"] == "unsupported_token_type"

    own = await api.sign_in("ada@example.com")
    changed = await api.ask(
        "POST",
        "/v1/me/password",
        token=own.access,
        json={"old_password": "five green bottles on a wall", "new_password": "six green bottles on a shelf"},
    )
    assert changed.status == 200
    assert (await api.check(BILLING, token=outside)).body["reason"] == "revoked"
    later = provider.token(iat=int(time.time()) + 2)
    assert (await api.check(BILLING, token=later)).status == 200


async def test_R10_unlink_revokes_everywhere_when_the_command_ends(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(entry(provider))
    pair = [start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers)) for _ in range(2)]
    found_account(pair[0])
    api = http(pair[0])
    email = {"email": "ada@example.com", "email_verified": True}
    old, later = provider.token(**email), provider.token(**email, iat=int(time.time()) + 3)
    own = await api.sign_in("ada@example.com")
    for process in pair:
        assert (await api.check(BILLING, token=old, url=process.url)).status == 200

    done = await asyncio.to_thread(cli, pair[0].settings, "user", "unlink", "ada@example.com", "--json")
    assert (done.returncode, json.loads(done.stdout)["complete"]) == (0, True), done.stderr

    for process in pair:
        assert (await api.check(BILLING, token=own.access, url=process.url)).body["reason"] == "revoked"
        for token in (old, later):
            answer = await api.check(BILLING, token=token, url=process.url)
            assert (answer.status, answer.body["reason"]) == (401, "unknown_user")
    new = provider.token(**email, sub="s-2", iat=int(time.time()) + 3)
    for process in pair:
        assert (await api.check(BILLING, token=new, url=process.url)).status == 200


async def test_R10_SIGHUP_reloads_issuers_and_a_bad_file_is_ignored(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(entry(provider, issuer="https://other.example"))
    process = start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers))
    found_account(process)
    api = http(process)
    token = provider.token(email="ada@example.com", email_verified=True)

    async def reload(refused: int) -> None:
        process.popen.send_signal(signal.SIGHUP)
        await until(lambda: metric(api, process), f"sidecar_trusted_issuers_rejected {refused}.0")

    stranger = (await api.check(BILLING, token=token)).body["reason"]
    assert stranger == "malformed_token", "not a linked subject, and cached as such"
    issuers.write_text(entry(provider))
    process.popen.send_signal(signal.SIGHUP)
    await until(lambda: status(api, token), 200)

    issuers.write_text(entry(provider, algorithms=["HS256"]))
    await reload(refused=1)
    assert await status(api, token) == 200, "the last known good list is active"
    assert "HS256 does not identify the signer" in process.output()
    issuers.write_text(entry(provider, accounts=["Nowhere"]))
    await reload(refused=0)
    await until(lambda: status(api, token), 401)


async def test_an_unknown_subject_is_allowed_once_an_operator_links_it(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(entry(provider))
    process = start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers))
    found_account(process)
    api = http(process)
    own = await api.sign_in("ada@example.com")
    token = provider.token(email="stranger@example.com", email_verified=True)
    await until(lambda: looked_up(api, process, token), 0)  # the feed is followed by now
    before = await look_ups(api, process)
    for _ in range(20):
        assert (await api.check(BILLING, token=token)).body["reason"] == "unknown_user"
    assert await look_ups(api, process) == before
    logged = process.output()
    assert logged.count("no user for a subject of an outside issuer") == 1
    assert "no active user has its e-mail" in logged
    assert "stranger@" not in logged

    argv = ("user", "link", "ada@example.com", "--issuer", provider.url, "--subject", "s-1", "--json")
    done = await asyncio.to_thread(cli, process.settings, *argv)
    assert (done.returncode, json.loads(done.stdout)["complete"]) == (0, True), done.stderr
    assert await status(api, token) == 200, "no sidecar caches the missing link"
    assert await status(api, own.access) == 200, "the e-mail was verified: no credential was removed"


async def looked_up(api: Http, process: Process, token: str) -> int:
    """Return the number of look-ups per check."""
    before = await look_ups(api, process)
    await api.check(BILLING, token=token)
    return await look_ups(api, process) - before


async def look_ups(api: Http, process: Process) -> int:
    return int(
        float(
            (await metrics(api, process)).get(
                'sidecar_store_request_duration_seconds_count{operation="link_seek"}', "0"
            )
        )
    )


async def test_R9_R10_the_owners_link_revokes_a_foreign_acceptance(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(entry(provider))
    pair = [start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers)) for _ in range(2)]
    found_account(pair[0])
    api = http(pair[0])
    ada = await api.sign_in("ada@example.com")
    body = {"email": "bob@example.com", "role": "account-administrator"}
    invited = await api.ask("POST", "/v1/users", token=ada.access, json=body)
    secret = invited.body["invitation"]["url"].partition("#")[2]
    accept = {"token": secret, "password": "seven green bottles in a cellar"}
    stranger = (await api.ask("POST", "/v1/invitations/accept", json=accept)).body
    old = stranger["access_token"]
    assert await status(api, old) == 200

    owner = provider.token(email="bob@example.com", email_verified=True)
    allowed = await api.check(BILLING, token=owner)
    assert (allowed.status, allowed.headers["X-Auth-Email"]) == (200, "bob@example.com")
    for process in pair:
        assert (await api.check(BILLING, token=old, url=process.url)).body["reason"] == "revoked"
        assert (await api.check(BILLING, token=owner, url=process.url)).status == 200
    form = {"grant_type": "refresh_token", "refresh_token": stranger["refresh_token"]}
    assert (await api.ask("POST", "/token", data=form)).body["error"] == "invalid_grant"
    form = {"grant_type": "password", "username": "bob@example.com", "password": accept["password"]}
    assert (await api.ask("POST", "/token", data=form)).body["error"] == "invalid_grant"


async def test_unusable_parts_of_an_issuer_are_logged_and_counted(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    (tmp_path / "none.json").write_text('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "sig"}]}')
    none = entry(provider, issuer="https://none.example", jwks_file="none.json", accounts=["Acme", "Nowhere"])
    issuers.write_text(entry(provider) + none.replace(f'jwks_url = "{provider.url}/keys"\n', ""))
    process = start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers))
    found_account(process)
    process.popen.send_signal(signal.SIGHUP)  # looks for the accounts now: Acme was made after the start
    api = http(process)

    async def seen() -> dict[str, str]:
        found = await metrics(api, process)
        wanted = ("sidecar_issuer_keys_failing", "sidecar_issuer_accounts_missing")
        return {name: value for name, value in found.items() if name.startswith(wanted)}

    await until(
        seen,
        {
            f'sidecar_issuer_keys_failing{{issuer="{provider.url}"}}': "0.0",
            'sidecar_issuer_keys_failing{issuer="https://none.example"}': "1.0",
            f'sidecar_issuer_accounts_missing{{issuer="{provider.url}"}}': "0.0",
            'sidecar_issuer_accounts_missing{issuer="https://none.example"}': "1.0",
        },
    )
    logged = process.output()
    assert "none of its 1 keys can be used with RS256: entry 1 cannot be read" in logged
    assert logged.count("there is no account 'Nowhere': create it, or remove it from the entry's accounts") == 1


async def metrics(api: Http, process: Process) -> dict[str, str]:
    text = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


async def status(api: Http, token: str) -> int:
    return (await api.check(BILLING, token=token)).status


async def metric(api: Http, process: Process) -> str:
    text = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
    return next(line for line in text.splitlines() if line.startswith("sidecar_trusted_issuers_rejected"))


async def until(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Within two seconds."""
    async with asyncio.timeout(2):
        while await ask() != wanted:
            await asyncio.sleep(0.02)


async def test_R10_a_file_that_would_let_strangers_in_is_no_start(
    start: Start, real_redis_url: str, provider: Provider, tmp_path: Path
) -> None:
    issuers = tmp_path / "issuers.toml"
    issuers.write_text(entry(provider, algorithms=["HS256"]) + entry(provider, issuer="http://sidecar.test"))
    process = start(REDIS_URL=real_redis_url, TRUSTED_ISSUERS=str(issuers), wait=False)
    assert process.popen.wait(20) == 2
    lines = process.output().splitlines()
    assert len(lines) == 2, lines
    assert "issuer 1: algorithms: HS256 does not identify the signer" in lines[0]
    assert "issuer 2: issuer: is this sidecar's own" in lines[1]
