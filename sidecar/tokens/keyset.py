"""Signing key and verification keys as one immutable value, and access tokens signed with it (RFC 9068).

sources/key_files.py reads the files. The id of a key is its RFC 7638 thumbprint: a key has exactly one ``kid``, and no
``kid`` can be chosen.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sidecar.tokens.claims import Claims

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"


def public_part(key: Ed25519PublicKey) -> str:
    """Return the JWK member ``x`` (RFC 8037)."""
    return base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode("ascii")


def thumbprint(key: Ed25519PublicKey) -> str:
    """Return the RFC 7638 thumbprint: SHA-256 over the required members, in this order, without spaces."""
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{public_part(key)}"}}'
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class FormerKey:
    """Public half of a removed key. It verifies the access cookie of a session renewal and nothing else (R5).

    ``until``: Unix seconds, 90 days after the last signature of the key.
    """

    public: Ed25519PublicKey = field(repr=False)
    until: int


NO_FORMER: Final[Mapping[str, FormerKey]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KeySet:
    """Signing key and all verification keys, the signing key included.

    ``former``: keys that renew browser sessions and verify nothing else; they are absent from the JWK Set. ``version``
    identifies the content: two sidecars with the same version sign and verify alike. Cache entries carry it.
    """

    kid: str
    private_key: Ed25519PrivateKey = field(repr=False, hash=False, compare=False)
    verifying: Mapping[str, Ed25519PublicKey] = field(repr=False, hash=False, compare=False)
    version: str
    former: Mapping[str, FormerKey] = field(default_factory=lambda: NO_FORMER, repr=False, hash=False, compare=False)

    @classmethod
    def of(
        cls,
        signing: Ed25519PrivateKey,
        others: Iterable[Ed25519PublicKey] = (),
        former: Mapping[str, FormerKey] = NO_FORMER,
    ) -> "KeySet":
        """Return a key set that signs with ``signing`` and also verifies with ``others``."""
        kid = thumbprint(signing.public_key())
        verifying = {thumbprint(key): key for key in (*others, signing.public_key())}
        only_former = {name: key for name, key in former.items() if name not in verifying}
        content = [
            kid,
            *sorted(verifying),
            *(f"former {name} {only_former[name].until}" for name in sorted(only_former)),
        ]
        version = hashlib.sha256("\n".join(content).encode("ascii")).hexdigest()[:32]
        return cls(kid, signing, MappingProxyType(verifying), version, MappingProxyType(only_former))

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set (RFC 7517), signing key first. Built from public keys only: nothing private can leak."""
        kids = sorted(self.verifying, key=lambda kid: (kid != self.kid, kid))
        return {"keys": [_jwk(kid, self.verifying[kid]) for kid in kids]}


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": public_part(key), "kid": kid, "use": "sig", "alg": ALGORITHM}


def access_token(keys: KeySet, claims: Claims) -> str:
    """Return a signed JWT with exactly ``claims``. The caller is responsible for their validity.

    ``client_id``, required by RFC 9068 section 2.2, is the user's id, because no clients are registered.
    """
    payload: dict[str, str | int | list[str]] = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.user,
        "client_id": claims.user,
        "acct": claims.account,
        "sid": claims.session,
        "jti": claims.jti,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "tv": claims.epoch,
    }
    if claims.not_before is not None:
        payload["nbf"] = claims.not_before
    if claims.auth_time is not None:
        payload["auth_time"] = claims.auth_time
    if claims.amr:
        payload["amr"] = list(claims.amr)
    return jwt.encode(payload, keys.private_key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": keys.kid})
