"""The public keys of an outside issuer, from its JWK Set (RFC 7517). Bytes in, keys by ``kid`` out; fetches nothing.

Keys are PyJWT's to build, ours to choose: only kinds and algorithms on a short list, only with a ``kid`` that stands
once, never a symmetric or a private one, no RSA key below 2,048 bits. What does not fit is left out, as RFC 7517
section 5 asks; a document that is not a key set at all is a ``BadKeySet``.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import InvalidKeyError

from sidecar.tokens.strict import any_object

KINDS: Final = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The algorithms that an outside issuer may sign with: to each its kind of key and its curve."""

MAX_KEYS: Final = 100
MAX_KID: Final = 256
_RSA_BITS: Final = range(2048, 8192 + 1)
_MAX_RSA_TEXT: Final = 1400
"""Characters of a modulus of 8,192 bits, and a few: a larger one is not even decoded."""

_SECRET: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_ALGORITHMS: Final = get_default_algorithms()


class BadKeySet(ValueError):
    """The document is not a JWK Set. One phrase, without its content."""


@dataclass(frozen=True, slots=True)
class OutsideKey:
    """A public key, and the algorithms that its issuer may use it with."""

    algorithms: frozenset[str]
    key: Any = field(repr=False)

    def signed(self, message: bytes, signature: bytes, algorithm: str) -> bool:
        """``algorithm`` is one of ``algorithms``."""
        return bool(_ALGORITHMS[algorithm].verify(message, self.key, signature))


def read_key_set(raw: bytes, allowed: frozenset[str]) -> Mapping[str, OutsideKey]:
    """Every key of the set that can be used with an allowed algorithm. Raises BadKeySet."""
    try:
        listed = any_object(raw).get("keys")
    except (ValueError, RecursionError):
        raise BadKeySet("it is not a JSON object") from None
    if not isinstance(listed, list):
        raise BadKeySet('it has no list "keys"')
    if len(listed) > MAX_KEYS:
        raise BadKeySet(f"it has {len(listed)} keys, more than {MAX_KEYS}")
    found = [(_kid(jwk), jwk) for jwk in listed if isinstance(jwk, dict)]
    times = Counter(kid for kid, _ in found)
    keys = {kid: _key(jwk, allowed) for kid, jwk in found if kid and times[kid] == 1}
    return MappingProxyType({kid: key for kid, key in keys.items() if key is not None})


def _kid(jwk: Mapping[str, object]) -> str:
    kid = jwk.get("kid")
    return kid if isinstance(kid, str) and len(kid) <= MAX_KID else ""


def _key(jwk: dict[str, Any], allowed: frozenset[str]) -> OutsideKey | None:
    algorithms = frozenset(name for name in allowed if _fits(jwk, name))
    if not algorithms or not _is_for_verifying(jwk) or not _SECRET.isdisjoint(jwk):
        return None
    if len(str(jwk.get("n", ""))) > _MAX_RSA_TEXT:
        return None
    try:
        key: Any = _ALGORITHMS[min(algorithms)].from_jwk(jwk)
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError, AttributeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and (key.key_size not in _RSA_BITS or key.public_numbers().e >= 2**32):
        return None
    return OutsideKey(algorithms, key)


def _fits(jwk: Mapping[str, object], algorithm: str) -> bool:
    kind, curve = KINDS[algorithm]
    named = jwk.get("alg", algorithm)
    return jwk.get("kty") == kind and named == algorithm and (curve is None or jwk.get("crv") == curve)


def _is_for_verifying(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
