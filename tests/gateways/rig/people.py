"""A running sidecar with one account: a user of each role, and valid, expired, revoked and forged tokens."""

import asyncio
import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.domain.users import AccountId, Actor, SessionId, UserId
from sidecar.identity.account_creation import NewAccount, create_account
from sidecar.identity.hashing import Hashing
from sidecar.sources.key_files import load_or_create
from sidecar.store.accounts import Accounts, Created
from sidecar.store.connection import Store
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import KeySet, access_token
from tests.conftest import PATIENT

ROOT = Path(__file__).resolve().parents[3]
PUBLIC_URL = "https://dash.example"
COOKIE = "__Host-sidecar"
PASSWORD = "five green bottles on a wall"
OTHER_PASSWORD = "six yellow bottles on a shelf"
EMAIL = "{}@example.com"
DAY = 86400


@dataclass(frozen=True, slots=True)
class Person:
    """User as the back end should see them. ``email`` is empty if it is not verified."""

    id: str
    role: str
    account: str
    email: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Users by role, tokens by name. The valid tokens have the name of their role."""

    people: Mapping[str, Person]
    tokens: Mapping[str, str]


RUN = """
import os, sys
from sidecar.server.lifecycle import run
from sidecar.config.settings import load
sys.exit(run(load({}, os.environ)))
"""


class SidecarProcess:
    """A sidecar as an operator runs it, with all its files in one folder."""

    def __init__(self, folder: Path, *, listen: int, ops: int, grpc: int, redis_url: str, **settings: str) -> None:
        """``grpc``: a port, or 0 without that listener."""
        self.folder = folder
        self.port = listen
        self.grpc_port = grpc
        self.settings = {
            "LISTEN": f"127.0.0.1:{listen}",
            "OPS_LISTEN": f"127.0.0.1:{ops}",
            "PUBLIC_URL": PUBLIC_URL,
            "REDIS_URL": redis_url,
            "STATE_DIR": str(folder / "state"),
            "KEYS_DIR": str(folder / "keys"),
            "POLICY_DIR": str(ROOT / "policy"),
            "MODEL": str(ROOT / "model.conf"),
            "ACCESS_TTL": "1h",
            "DRAIN": "0s",
            "DECISION_LOG": str(folder / "decisions.log"),
            "LOG_FORMAT": "json",
            **({"GRPC_LISTEN": f"127.0.0.1:{grpc}"} if grpc else {}),
            **settings,
        }
        self._ops = ops
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> None:
        """``ready``: wait until it can respond to checks, not only until it listens."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
        env = {**kept, "PYTHONPATH": str(ROOT), **{f"SIDECAR_{name}": text for name, text in self.settings.items()}}
        with (self.folder / "sidecar.log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-c", RUN], stdout=log, stderr=log, env=env, cwd=ROOT)
        self.wait_ready({200} if ready else {200, 503})

    def wait_ready(self, statuses: Container[int] = (200,)) -> None:
        deadline = time.monotonic() + 20
        while self._readyz() not in statuses:
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the sidecar does not start:\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)

    def terminate(self) -> None:
        """Send SIGTERM without waiting for the drain."""
        self._signal(signal.SIGTERM)

    def reload(self) -> None:
        self._signal(signal.SIGHUP)

    def pause(self) -> None:
        """Stop the process at an arbitrary point. ``go_on`` may be called more than once."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def log(self) -> str:
        return (self.folder / "sidecar.log").read_text()

    def _readyz(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._ops, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None, *, token: str = "") -> dict[str, Any]:
        """Send one API request that must succeed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {raw!r}")
        answer: dict[str, Any] = json.loads(raw) if raw else {}
        return answer


async def found_account(keys_dir: Path, redis_url: str) -> None:
    """Create the account and its first administrator before the sidecar runs, as an operator does."""
    keys = load_or_create(keys_dir)
    store = await Store.open(redis_url, **PATIENT)
    hashing = Hashing(keys.pepper)
    try:
        await store.check_meta(issuer=PUBLIC_URL, audience="dashboard", demo=False, pepper=keys.pepper.identity)
        founding = NewAccount("Acme", EMAIL.format("account-administrator"), PASSWORD, seats=20)
        outcome = await create_account(Accounts(store), hashing, founding, actor=Actor.operator(), entropy=os.urandom)
    finally:
        hashing.close()
        await store.close()
    if not isinstance(outcome, Created):
        raise TypeError(f"no account: {outcome}")


def gather(sidecar: SidecarProcess, keys_dir: Path) -> Cast:
    """Invite every user, accept, and bring each into their state."""
    admin = sign_in(sidecar, EMAIL.format("account-administrator"))
    token = admin["access_token"]
    grants = {"account-administrator": admin}
    for role in ("accountant", "developer", "marketer"):
        grants[role] = _join(sidecar, token, role, role)
    people = {role: _person(grant) for role, grant in grants.items()}
    people["account-administrator"] = replace(
        people["account-administrator"], email=EMAIL.format("account-administrator")
    )
    tokens = {role: str(grant["access_token"]) for role, grant in grants.items()}
    tokens |= _dead(sidecar, token) | _forged(load_or_create(keys_dir).keys, tokens["account-administrator"])
    tokens["nine-kilobytes"] = _long(load_or_create(keys_dir).keys, tokens["marketer"])
    return Cast(people, tokens)


@dataclass(frozen=True, slots=True)
class Newcomer:
    id: str
    token: str


def join(sidecar: SidecarProcess, admin: str, name: str, role: str) -> Newcomer:
    """Add a user outside the cast, for a test that changes them."""
    grant = _join(sidecar, admin, name, role)
    return Newcomer(grant["user"]["id"], grant["access_token"])


def sign_in(sidecar: SidecarProcess, email: str) -> dict[str, Any]:
    """Open a session of its own, with the password."""
    return sidecar.call("POST", "/token", {"grant_type": "password", "username": email, "password": PASSWORD})


def _join(sidecar: SidecarProcess, admin: str, name: str, role: str) -> dict[str, Any]:
    invited = sidecar.call("POST", "/v1/users", {"email": EMAIL.format(name), "role": role}, token=admin)
    secret = invited["invitation"]["url"].rpartition("#")[2]
    return sidecar.call("POST", "/v1/invitations/accept", {"token": secret, "password": PASSWORD})


def _person(grant: Mapping[str, Any]) -> Person:
    return Person(grant["user"]["id"], grant["user"]["role"], grant["account"], "")


def _dead(sidecar: SidecarProcess, admin: str) -> dict[str, str]:
    """Revoked tokens of administrators, so that the revocation is their only fault."""
    fates = {
        name: _join(sidecar, admin, name, "account-administrator")
        for name in ("suspended", "removed", "revoked", "ended")
    }
    tokens = {name: str(grant["access_token"]) for name, grant in fates.items()}
    sidecar.call("PATCH", f"/v1/users/{fates['suspended']['user']['id']}", {"status": "suspended"}, token=admin)
    sidecar.call("DELETE", f"/v1/users/{fates['removed']['user']['id']}", token=admin)
    change = {"old_password": PASSWORD, "new_password": OTHER_PASSWORD}
    sidecar.call("POST", "/v1/me/password", change, token=tokens["revoked"])
    sidecar.call("POST", "/revoke", {"token": fates["ended"]["refresh_token"]})
    return tokens


def _forged(keys: KeySet, good: str) -> dict[str, str]:
    """An administrator's claims, each token with one fault."""
    claims, now = _claims(good), int(time.time())
    stranger = KeySet.of(Ed25519PrivateKey.generate())
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    return {
        "expired": access_token(keys, replace(claims, issued_at=now - 7200, expires_at=now - 3600)),
        "not-yet": access_token(keys, replace(claims, issued_at=now + 600, expires_at=now + 1200)),
        "wrong-issuer": access_token(keys, replace(claims, issuer="https://elsewhere.example")),
        "wrong-audience": access_token(keys, replace(claims, audience="elsewhere")),
        "unknown-key": access_token(stranger, claims),
        "flipped": f"{head}.{body}.{flipped}",
        "unsigned": f"{none}.{body}.",
        "garbage": "not-a-token",
        "nine-kilobytes-of-garbage": "x" * 9216,
    }


def from_the_future(keys_dir: Path, good: str) -> str:
    """As after a loss of the store's last writes: the token's epoch is higher than the live one."""
    claims = _claims(good)
    return access_token(load_or_create(keys_dir).keys, replace(claims, epoch=claims.epoch + 7))


def _claims(token: str) -> Claims:
    payload = jwt.decode(token, options={"verify_signature": False})
    return Claims(
        payload["iss"],
        payload["aud"],
        UserId(payload["sub"]),
        AccountId(payload["acct"]),
        SessionId(payload["sid"]),
        payload["jti"],
        payload["iat"],
        payload["exp"],
        payload["tv"],
    )


def _long(keys: KeySet, good: str) -> str:
    """A valid token of 9 KB: the claims and an extra one."""
    payload = jwt.decode(good, options={"verify_signature": False})
    payload["padding"] = "x" * 6600
    return jwt.encode(payload, keys.private_key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": keys.kid})


def found_and_gather(sidecar: SidecarProcess, keys_dir: Path, redis_url: str) -> Cast:
    """Both steps, for a caller without a loop."""
    asyncio.run(found_account(keys_dir, redis_url))
    sidecar.start()
    return gather(sidecar, keys_dir)
