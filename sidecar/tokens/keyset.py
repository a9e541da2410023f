"""The signing key and the keys that verify, as one immutable value. Reads no file: sources/key_files.py does.

A key's id is its RFC 7638 thumbprint, so that a key cannot stand under two names and nobody chooses a ``kid``.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM: Final = "EdDSA"


def public_part(key: Ed25519PublicKey) -> str:
    """The JWK member ``x`` (RFC 8037)."""
    return base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode("ascii")


def thumbprint(key: Ed25519PublicKey) -> str:
    """The RFC 7638 thumbprint: SHA-256 over the required members, in this order, without a space."""
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{public_part(key)}"}}'
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class FormerKey:
    """The public half of a key that is gone: verifies the access cookie of a session's renewal alone (R5).

    ``until``: Unix seconds, 90 days after the key signed last.
    """

    public: Ed25519PublicKey = field(repr=False)
    until: int


NO_FORMER: Final[Mapping[str, FormerKey]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KeySet:
    """One signing key, and every key whose tokens are still believed (the signing key among them).

    ``former``: keys that renew a browser's session and verify nothing else; not in the JWK Set.
    ``version`` names the content: two sidecars with the same version sign and believe the same. Caches carry it.
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
        """A key set that signs with ``signing`` and also believes ``others``."""
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
        """RFC 7517: the public keys, the signing one first. Built from public keys alone: nothing private can leak."""
        kids = sorted(self.verifying, key=lambda kid: (kid != self.kid, kid))
        return {"keys": [_jwk(kid, self.verifying[kid]) for kid in kids]}


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": public_part(key), "kid": kid, "use": "sig", "alg": ALGORITHM}
