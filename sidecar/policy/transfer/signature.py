"""Signature of policy files, ``policy.sig``: Ed25519 over names, lengths and SHA-256 of all files, counter and time.

Two lines: the signed text as JSON, and the signature in base64. Signed are the bytes of the first line, so no form of
JSON has to be canonical. The signature is no part of the generation. It is verified over the bytes that are compiled
(R43).
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME: Final = "policy.sig"
MAX_TEXT: Final = 16 * 1024
_CONTEXT: Final = b"sidecar-policy-signature/1\n"


class SignatureError(Exception):
    """Raised for a signature that does not hold for the files. One sentence."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Signed text. ``time``: ISO 8601, for people. ``counter`` may never go back (R44)."""

    counter: int
    time: str


def sign(files: Mapping[str, bytes], key: Ed25519PrivateKey, *, counter: int, time: str) -> str:
    """Return the text of policy.sig."""
    document = {"counter": counter, "files": _entries(files), "time": time}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    signature = key.sign(_CONTEXT + text.encode("ascii"))
    return f"{text}\n{b64encode(signature).decode('ascii')}\n"


def verify(text: str, files: Mapping[str, bytes], keys: Iterable[Ed25519PublicKey]) -> Manifest:
    """Return what was signed, if one of the keys signed exactly these files. Raises SignatureError."""
    line, _, rest = text.partition("\n")
    try:
        signature = b64decode(rest.strip(), validate=True)
        signed = line.encode("ascii")
    except ValueError:
        raise SignatureError(f"{NAME} is no signature: sign the files again") from None
    if not any(_is_by(key, signature, signed) for key in keys):
        raise SignatureError(f"{NAME} is not signed by a key of SIDECAR_POLICY_KEYS")
    return manifest_of(text, files)


def manifest_of(text: str, files: Mapping[str, bytes]) -> Manifest:
    """Return the signed text without a verification of the signature. Raises SignatureError for other files."""
    try:
        document = json.loads(text.partition("\n")[0])
        counter, time, entries = document["counter"], document["time"], document["files"]
    except (ValueError, TypeError, KeyError):
        raise SignatureError(f"{NAME} is no signature: sign the files again") from None
    if type(counter) is not int or not isinstance(time, str) or not 0 < counter < 2**53:
        raise SignatureError(f"{NAME} is no signature: sign the files again")
    if entries != _entries(files):
        raise SignatureError(f"{NAME} is a signature of other files: sign these again")
    return Manifest(counter, time)


def _entries(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    return [
        {"length": len(files[name]), "name": name, "sha256": hashlib.sha256(files[name]).hexdigest()}
        for name in sorted(files)
    ]


def _is_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, _CONTEXT + signed)
    except InvalidSignature:
        return False
    return True
