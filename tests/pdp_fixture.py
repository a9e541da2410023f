"""Parts of a check in memory: the shipped policy, one key, a few users; no store and no clock except NOW."""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.domain.sessions import LiveSession, Method, Proof
from sidecar.domain.users import AccountId, SessionId, Status, UserId, UserRecord
from sidecar.http.context import AppContext, PublicConfig
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store.connection import StoreUnavailableError
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import KeySet, access_token
from sidecar.tokens.verify import Verifier

NOW = 1_764_000_000
KEYS = KeySet.of(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
ISSUER = "http://127.0.0.1:9181"
ACCOUNT = AccountId("acc_" + "a" * 12)
SESSION = SessionId("ses_" + "a" * 26)


def at_once(work: Callable[[], None]) -> None:
    """Run the callback at once, in place of a loop's ``call_soon``."""
    work()


def live(ends_at: int) -> LiveSession:
    """Return a session that began now, by a password."""
    return LiveSession(ends_at, NOW, (Proof(Method.PASSWORD, "", NOW),))


def user(letter: str, role: str, **changed: Any) -> UserRecord:
    given = {"status": Status.ACTIVE, "epoch": 1, "revision": 1, "sessions": {SESSION: live(NOW + 3600)}, **changed}
    name = UserId(f"usr_{'a' * 12}_{letter * 12}")
    return UserRecord(name, ACCOUNT, f"{letter}@example.com", letter, role, email_verified=True, **given)


USERS = {
    record.id: record
    for record in (
        user("b", "accountant"),
        user("c", "marketer"),
        user("d", "developer", status=Status.SUSPENDED),
        user("e", "developer", epoch=2),
        user("f", "account-administrator"),
    )
}
SLOW = user("f", "account-administrator").id
OUT = user("g", "developer").id


class Memory:
    """Live records: most are cached, one must be fetched, one is unavailable."""

    def peek(self, uid: UserId) -> UserRecord | None:
        return None if uid == SLOW else USERS.get(uid)

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        await asyncio.sleep(0)
        if uid == OUT:
            raise StoreUnavailableError("out")
        return USERS.get(uid)


def token(letter: str, **changed: Any) -> str:
    uid = UserId(f"usr_{'a' * 12}_{letter * 12}")
    claims = {"session": SESSION, "jti": "j", "issued_at": NOW, "expires_at": NOW + 900, "epoch": 1, **changed}
    return access_token(KEYS, Claims(issuer=ISSUER, audience="dashboard", user=uid, account=ACCOUNT, **claims))


def app() -> AppContext:
    generation = compile_policy(read_policy_files(*packaged()).files, proof=ProofScope.NONE).generation
    policy = SimpleNamespace(generation=generation)
    tokens = TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900))
    public_config = PublicConfig(
        public_url=ISSUER,
        origins=frozenset({ISSUER}),
        cookie="sidecar",
        unavailable_status=403,
        trusted_proxies=(),
        max_body=65536,
        seat_contact="",
        login_page=None,
    )
    metrics = Metrics("0")
    needed = {
        "public_config": public_config,
        "policy": policy,
        "pdp": DecisionPoint(policy, tokens, Memory(), clock=lambda: float(NOW)),
        "health": SimpleNamespace(proven=True, draining=False),
        "metrics": metrics,
        "recorder": CheckRecorder(metrics, call_soon=at_once),
    }
    # Attributes that no check uses are missing: a path that used one would fail.
    return AppContext(**{field.name: needed.get(field.name) for field in fields(AppContext)})
