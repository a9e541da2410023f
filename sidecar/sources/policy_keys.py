"""Public keys that may sign the policy (SIDECAR_POLICY_KEYS): PEM blocks, and the floor of the counter.

The file holds Ed25519 public keys (SPKI, PEM), comments after ``#``, and one line ``min-counter: NUMBER``. That number
is the floor of a sidecar without kept state (R44).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sidecar.sources.owner_writable_files import OwnerWritableFileError, read_guarded

MAX_FILE: Final = 64 * 1024
MAX_KEYS: Final = 50
_BLOCK: Final = re.compile(r"-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----")
_FLOOR: Final = re.compile(r"min-counter:\s*([0-9]{1,15})")


class PolicyKeysError(Exception):
    """Raised for an unusable file of keys. The message is one sentence with file, problem and remedy."""


@dataclass(frozen=True, slots=True)
class PolicyKeys:
    """Keys that may sign. ``min_counter``: smallest accepted counter, 0 if the file names none."""

    keys: tuple[Ed25519PublicKey, ...]
    min_counter: int = 0


def read_policy_keys(path: Path) -> PolicyKeys:
    """Return the keys of the file. Raises PolicyKeysError."""
    try:
        text = read_guarded(path, limit=MAX_FILE).decode("ascii")
    except OwnerWritableFileError as problem:
        raise PolicyKeysError(str(problem)) from None
    except UnicodeDecodeError:
        raise PolicyKeysError(f"{path}: is not PEM: put public keys of `sidecar policy keygen` there") from None
    blocks = _BLOCK.findall(text)
    if not 0 < len(blocks) <= MAX_KEYS:
        raise PolicyKeysError(f"{path}: has {len(blocks)} public keys: allowed are 1 to {MAX_KEYS}")
    keys = tuple(_key(path, number, block) for number, block in enumerate(blocks, 1))
    return PolicyKeys(keys, _floor(path, _BLOCK.sub("", text)))


def _floor(path: Path, rest: str) -> int:
    """Return the floor in the lines outside the keys."""
    lines = [line.partition("#")[0].strip() for line in rest.splitlines()]
    lines = [line for line in lines if line]
    found = [_FLOOR.fullmatch(line) for line in lines]
    if len(lines) > 1 or None in found:
        raise PolicyKeysError(f"{path}: has other text than public keys and one line `min-counter: NUMBER`: remove it")
    return int(found[0][1]) if found and found[0] else 0


def _key(path: Path, number: int, block: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(block.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise PolicyKeysError(f"{path}: key {number} is no public key: copy it again from its .pub file") from None
    if not isinstance(key, Ed25519PublicKey):
        raise PolicyKeysError(f"{path}: key {number} is not an Ed25519 key: make one with `sidecar policy keygen`")
    return key
