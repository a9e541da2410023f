"""Public keys of an external issuer, parsed from its JWK Set (RFC 7517). Performs no I/O.

PyJWT builds the keys, this module selects them. Only the listed kinds and algorithms are accepted: no symmetric key, no
private key, no RSA key below 2,048 bits. Keys of other kinds and uses are ignored (RFC 7517 section 5). A key that
looks usable but is invalid is reported in ``left_out``, for the operator.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import InvalidKeyError

from sidecar.tokens.strict_json import any_object

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
    "Ed25519": ("OKP", "Ed25519"),
}
"""Accepted signature algorithms of external issuers, with their kind of key and curve."""

_EDWARDS: Final = frozenset({"EdDSA", "Ed25519"})
"""Two names of one operation for an Ed25519 key (RFC 9864). The key's ``alg`` may be either."""

MAX_KEYS: Final = 100
MAX_KID: Final = 256
_RSA_BITS: Final = range(2048, 8192 + 1)
_MAX_RSA_TEXT: Final = 1400
"""Characters of a modulus of 8,192 bits, plus a margin. A longer modulus is rejected before decoding."""

_SECRET: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_DEFAULTS: Final = get_default_algorithms()
_ALGORITHMS: Final = {name: _DEFAULTS["EdDSA" if name in _EDWARDS else name] for name in KINDS}


class InvalidKeySetError(ValueError):
    """Raised for a document that is not a JWK Set. The message is one phrase, without the document's content."""


class WantedKey(NamedTuple):
    """Header members of a token that select its key. ``thumbprint`` (x5t) is a name here, never a certificate."""

    kid: str | None
    algorithm: str
    thumbprint: str = ""

    @property
    def name(self) -> str:
        """Return the kid, or the thumbprint if there is no kid."""
        return self.kid or self.thumbprint


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """Public key and the algorithms that its issuer may use. ``kid`` is empty if the set has none."""

    kid: str
    algorithms: frozenset[str]
    key: Any = field(repr=False)
    material: bytes = field(repr=False)
    """Encoded key (DER). Two entries with the same material are one key."""

    def signed(self, message: bytes, signature: bytes, algorithm: str) -> bool:
        """Return True if ``signature`` is valid. ``algorithm`` must be in ``algorithms``."""
        return bool(_ALGORITHMS[algorithm].verify(message, self.key, signature))


@dataclass(frozen=True, slots=True)
class IssuerKeySet:
    """Usable keys of one issuer.

    ``left_out`` has one phrase per entry that looks usable but is invalid. ``listed`` is the number of entries in the
    document.
    """

    keys: tuple[IssuerKey, ...] = ()
    left_out: tuple[str, ...] = ()
    listed: int = 0

    def find(self, wanted: WantedKey) -> IssuerKey | None:
        """Return the key of this ``kid``, or None.

        If the token or the set has no ``kid``, return the only key that fits.
        """
        if wanted.kid is not None:
            named = [key for key in self.keys if key.kid == wanted.kid]
            if named:  # if none fits, return any: the caller rejects its algorithms
                return next((key for key in named if wanted.algorithm in key.algorithms), named[0])
            candidates = [key for key in self.keys if not key.kid]
        else:
            candidates = [key for key in self.keys if key.kid == wanted.thumbprint != ""] or list(self.keys)
        fitting = {key.material: key for key in candidates if wanted.algorithm in key.algorithms}
        return next(iter(fitting.values())) if len(fitting) == 1 else None


def read_key_set(raw: bytes, allowed: frozenset[str]) -> IssuerKeySet:
    """Return all keys of the JWK Set that an allowed algorithm can use. Raises InvalidKeySetError."""
    try:
        listed = any_object(raw.removeprefix(b"\xef\xbb\xbf")).get("keys")
    except (ValueError, RecursionError):
        raise InvalidKeySetError("it is not a JSON object") from None
    if not isinstance(listed, list):
        raise InvalidKeySetError('it has no list "keys"')
    if len(listed) > MAX_KEYS:
        raise InvalidKeySetError(f"it has {len(listed)} keys, more than {MAX_KEYS}")
    outcomes = [_entry(jwk, f"entry {place}", allowed) for place, jwk in enumerate(listed, 1)]
    left_out = [outcome for outcome in outcomes if isinstance(outcome, str)]
    public = {material for jwk in listed if (material := _published_secret(jwk))}
    found = [key for key in outcomes if isinstance(key, IssuerKey) and key.material not in public]
    keys, contested = _without_contradictions(_merged(found))
    return IssuerKeySet(tuple(keys), tuple(left_out + contested), len(listed))


def _entry(jwk: object, place: str, allowed: frozenset[str]) -> IssuerKey | str | None:
    """Return the key, a phrase if it looks usable but is invalid, or None if it has another use."""
    if not isinstance(jwk, dict):
        return f"{place} is not an object"
    if not _SECRET.isdisjoint(jwk):
        return f"{place} contains a private key: its public half is not used either"
    if not _is_for_verifying(jwk):
        return None
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID or ("kid" in jwk and not kid):
        return f"{place} has a kid that is not a text of 1 to {MAX_KID} characters"
    place = f"{place} (kid {kid!r})" if kid else place
    algorithms = frozenset(name for name in allowed if _fits(jwk, name))
    if not algorithms:
        return None
    key = _built(jwk, min(algorithms))
    if key is None:
        return f"{place} cannot be read"
    if isinstance(key, RSAPublicKey) and (key.key_size not in _RSA_BITS or key.public_numbers().e >= 2**32):
        return f"{place} is an RSA key of {key.key_size} bits: {_RSA_BITS[0]} to {_RSA_BITS[-1]} are accepted"
    return IssuerKey(kid, algorithms, key, _material(key))


def _built(jwk: Mapping[str, Any], algorithm: str) -> Any:
    """Return the public key, or None if it is too long or PyJWT rejects it."""
    if len(str(jwk.get("n", ""))) > _MAX_RSA_TEXT:
        return None
    try:
        return _ALGORITHMS[algorithm].from_jwk({name: jwk[name] for name in jwk.keys() - _SECRET})
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError, AttributeError, KeyError):
        return None


def _material(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _published_secret(jwk: object) -> bytes | None:
    """Return the public half of a private key in the set, or None.

    Every reader of the set can sign with such a key, so it is invalid under every kid.
    """
    if not isinstance(jwk, dict) or _SECRET.isdisjoint(jwk):
        return None
    algorithm = next((name for name in KINDS if _is_of_kind(jwk, name)), None)
    key = None if algorithm is None else _built(jwk, algorithm)
    return None if key is None else _material(key)


def _merged(found: list[IssuerKey]) -> list[IssuerKey]:
    """Return one key per kid and material. An entry may occur twice, or once per algorithm."""
    merged: dict[tuple[str, bytes], IssuerKey] = {}
    for key in found:
        known = merged.setdefault((key.kid, key.material), key)
        merged[key.kid, key.material] = replace(known, algorithms=known.algorithms | key.algorithms)
    return list(merged.values())


def _without_contradictions(found: list[IssuerKey]) -> tuple[list[IssuerKey], list[str]]:
    """Remove algorithms for which one kid names several keys. Return the keys and one phrase per removal."""
    owners: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
    for key in found:
        for algorithm in key.algorithms if key.kid else ():
            owners[key.kid, algorithm].add(key.material)
    contested = {name for name, materials in owners.items() if len(materials) > 1}
    return list(_uncontested(found, contested)), [
        f"kid {kid!r} names several keys for {algorithm}" for kid, algorithm in sorted(contested)
    ]


def _uncontested(found: list[IssuerKey], contested: set[tuple[str, str]]) -> Iterator[IssuerKey]:
    for key in found:
        algorithms = frozenset(name for name in key.algorithms if (key.kid, name) not in contested)
        if algorithms:
            yield replace(key, algorithms=algorithms)


def _fits(jwk: Mapping[str, object], algorithm: str) -> bool:
    named = jwk.get("alg", algorithm)
    return _is_of_kind(jwk, algorithm) and (
        named == algorithm or (isinstance(named, str) and {named, algorithm} == _EDWARDS)
    )


def _is_of_kind(jwk: Mapping[str, object], algorithm: str) -> bool:
    kind, curve = KINDS[algorithm]
    return jwk.get("kty") == kind and (curve is None or jwk.get("crv") == curve)


def _is_for_verifying(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
