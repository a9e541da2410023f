"""Forged tokens at a real sidecar: 401 with the documented reason, and no part of them in any log (R18)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.live.conftest import Start
from tests.live.support import Http, Process, found_account

BILLING = "/dashboard/billing"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


class Forger:
    """An attacker with the sidecar's key: inadmissible claims must be rejected all the same."""

    def __init__(self, keys: Path, good: str) -> None:
        (pem,) = keys.glob("*.pem")
        key = serialization.load_pem_private_key(pem.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key
        self.header = unb64(good.split(".", maxsplit=1)[0])
        self.claims = unb64(good.split(".")[1])

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        payload = {name: value for name, value in {**self.claims, **claims}.items() if value is not ...}
        return self.signed(json.dumps({**self.header, **(header or {})}), json.dumps(payload))

    def signed(self, header: str, payload: str, key: Ed25519PrivateKey | None = None) -> str:
        text = f"{b64(header.encode())}.{b64(payload.encode())}"
        return f"{text}.{b64((key or self._key).sign(text.encode()))}"

    def hs256(self) -> str:
        """The classic attack: the public key as the secret of an HMAC."""
        public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        text = f"{b64(json.dumps({**self.header, 'alg': 'HS256'}).encode())}.{b64(json.dumps(self.claims).encode())}"
        return f"{text}.{b64(hmac.digest(public, text.encode(), hashlib.sha256))}"

    def unsigned(self) -> str:
        text = f"{b64(json.dumps({**self.header, 'alg': 'none'}).encode())}.{b64(json.dumps(self.claims).encode())}"
        return f"{text}."

    def duplicated(self) -> str:
        body = json.dumps(self.claims)
        return self.signed(json.dumps(self.header), body[:-1] + ', "sub": "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"}')

    def rows(self) -> Iterator[tuple[str, str, str]]:
        now = int(time.time())
        yield "alg none", self.unsigned(), "malformed_token"
        yield "HS256 with the public key", self.hs256(), "malformed_token"
        yield "other iss", self.token(iss="http://evil.test"), "wrong_issuer"
        yield "other aud", self.token(aud="other"), "wrong_audience"
        yield "aud as a list", self.token(aud=["dashboard"]), "malformed_token"
        yield "expired", self.token(iat=now - 1000, exp=now - 100), "expired"
        yield "future nbf", self.token(nbf=now + 600), "not_yet_valid"
        yield "future iat", self.token(iat=now + 600, exp=now + 700), "not_yet_valid"
        yield "unknown kid", self.token({"kid": "nobody"}), "unknown_key"
        yield "crit", self.token({"crit": ["x"], "x": 1}), "malformed_token"
        yield "another typ", self.token({"typ": "JWT"}), "malformed_token"
        yield "jwk brought along", self.token({"jwk": {"kty": "OKP"}}), "malformed_token"
        yield (
            "another key",
            self.signed(json.dumps(self.header), json.dumps(self.claims), Ed25519PrivateKey.generate()),
            "invalid_signature",
        )
        yield "changed payload", self._changed(), "invalid_signature"
        yield "20 KiB", self.token(pad="x" * 20 * 1024), "malformed_token"
        yield "duplicate member", self.duplicated(), "malformed_token"
        yield "exp as text", self.token(exp=str(now + 100)), "malformed_token"
        yield "tv true", self.token(tv=True), "malformed_token"
        yield "no tv", self.token(tv=...), "malformed_token"
        yield "a year long", self.token(exp=now + 365 * 86400), "malformed_token"
        yield "acct of another", self.token(acct="acc_aaaaaaaaaaaa"), "malformed_token"
        nobody = self.claims["sub"][:-12] + "a" * 12
        yield "no such user", self.token(sub=nobody, client_id=nobody), "unknown_user"
        yield "client_id of another", self.token(client_id=nobody), "malformed_token"
        yield "epoch too low", self.token(tv=self.claims["tv"] - 1), "revoked"
        yield "no such session", self.token(sid="ses_" + "a" * 26), "session_ended"
        yield "not a token", "nonsense", "malformed_token"

    def _changed(self) -> str:
        header, _, signature = self.token().split(".")
        return f"{header}.{b64(json.dumps({**self.claims, 'tv': 99}).encode())}.{signature}"


async def test_R18_forged_tokens_are_rejected_and_never_logged(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    process = start(REDIS_URL=real_redis_url, LOG_LEVEL="debug")
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    assert (await api.check(BILLING, token=ada.access)).status == 200
    forger = Forger(tmp_path / "keys", ada.access)
    assert (await api.check(BILLING, token=forger.token())).status == 200, "the forger has the sidecar's key"

    sent = []
    for name, token, reason in forger.rows():
        for _ in range(2):  # the second time from the cache, if it was cached
            answer = await api.check(BILLING, token=token)
            assert (answer.status, answer.body["reason"]) == (401, reason), name
            assert answer.headers["X-Auth-Reason"] == reason
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="sidecar", error="invalid_token"')
            assert "X-Auth-User" not in answer.headers
        service = await api.ask("POST", "/v1/check", token=token, json={"section": "billing", "action": "view"})
        assert (service.status, service.body["reason"]) == (401, reason), name
        sent.append(token)

    future = await api.check(BILLING, token=forger.token(tv=forger.claims["tv"] + 1))
    assert (future.status, future.body["reason"]) == (403, "store_unavailable"), "the store went back in time"

    process.stop()
    logged = process.output() + Path(process.settings["DECISION_LOG"]).read_text()
    assert "malformed_token" in logged
    for token in [*sent, ada.access, ada.refresh]:
        parts = [part for part in token.split(".") if len(part) > 16]
        assert not any(part in logged for part in parts)
