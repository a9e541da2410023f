"""Keys, claims and a forge: tests sign tokens that no sidecar would."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.domain.users import AccountId, SessionId, UserId
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.opaque import Pepper
from sidecar.tokens.verify import Verifier

NOW = 1_800_000_000


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


@dataclass(frozen=True)
class Forge:
    """Signs any header and payload, as objects or as raw bytes, with the right key or another."""

    keys: KeySet
    claims: Claims

    @property
    def header(self) -> dict[str, object]:
        return {"alg": "EdDSA", "typ": "at+jwt", "kid": self.keys.kid}

    @property
    def payload(self) -> dict[str, object]:
        c = self.claims
        return {
            "iss": c.issuer,
            "aud": c.audience,
            "sub": c.user,
            "client_id": c.user,
            "acct": c.account,
            "sid": c.session,
            "jti": c.jti,
            "iat": c.issued_at,
            "exp": c.expires_at,
            "tv": c.epoch,
        }

    def sign(self, header: object = None, payload: object = None, key: Ed25519PrivateKey | None = None) -> str:
        parts = [self.header if header is None else header, self.payload if payload is None else payload]
        raw = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
        signed = f"{b64(raw[0])}.{b64(raw[1])}"
        return f"{signed}.{b64((key or self.keys.private_key).sign(signed.encode()))}"

    def with_header(self, **changes: object) -> str:
        return self.sign(header=_changed(self.header, changes))

    def with_claims(self, **changes: object) -> str:
        return self.sign(payload=_changed(self.payload, changes))


def _changed(members: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in (members | changes).items() if value is not ...}


@pytest.fixture(scope="session")
def now() -> int:
    return NOW


@pytest.fixture(scope="session")
def private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b"k" * 32)


@pytest.fixture(scope="session")
def keys(private_key: Ed25519PrivateKey) -> KeySet:
    return KeySet.of(private_key)


@pytest.fixture(scope="session")
def claims() -> Claims:
    return Claims(
        issuer="https://sidecar.example",
        audience="dashboard",
        user=UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"),
        account=AccountId("acc_aaaaaaaaaaaa"),
        session=SessionId("ses_cccccccccccccccccccccccccc"),
        jti="j-1",
        issued_at=NOW,
        expires_at=NOW + 900,
        epoch=1,
    )


@pytest.fixture(scope="session")
def forge(keys: KeySet, claims: Claims) -> Forge:
    return Forge(keys, claims)


@pytest.fixture(scope="session")
def verifier(keys: KeySet, claims: Claims) -> Verifier:
    return Verifier(keys, claims.issuer, claims.audience, access_ttl=900)


@pytest.fixture(scope="session")
def pepper() -> Pepper:
    return Pepper(bytes(range(32)))


@pytest.fixture
def entropy() -> Callable[[int], bytes]:
    """A source of entropy without repetitions, with the same sequence in every run."""
    count = iter(range(1, 256))
    return lambda size: next(count).to_bytes(1, "big") * size
