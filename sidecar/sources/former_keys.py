"""Public halves of keys that signed in the last 90 days and were removed since (R5).

``retired`` has one line per key that stopped signing: kid and Unix second. ``<kid>.pub`` has the public half of a key
after its private key file was removed. A former key verifies an access cookie that it signed, to renew the browser's
session, and nothing else. A ``.pub`` file without a line in ``retired`` is ignored.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sidecar.sources.private_files import PrivateFileError, create_private, read_private, replace_private
from sidecar.tokens.keyset import FormerKey, thumbprint

RETIRED: Final = "retired"
SUFFIX: Final = ".pub"
KEEP_SECONDS: Final = 90 * 86_400
"""Maximum life of a session. An access cookie of an older key belongs to an ended session."""


def read_retired(directory: Path, *, group_read: bool = False) -> dict[str, int]:
    """Return, per kid, the Unix second at which the key stopped signing. ``group_read``: see private_files.py.

    Raises PrivateFileError, OSError.
    """
    try:
        text = read_private(directory / RETIRED, group_read=group_read)[0].decode("ascii", "replace")
    except FileNotFoundError:
        return {}
    found = {}
    for entry in text.splitlines():
        kid, _, second = entry.partition(" ")
        if second.isdecimal():  # ignore malformed lines: the key remains and can be revoked by its kid
            found[kid] = int(second)
    return found


def write_retired(directory: Path, retired: Mapping[str, int]) -> None:
    """Replace the file ``retired``. Raises OSError."""
    replace_private(directory / RETIRED, "".join(f"{kid} {at}\n" for kid, at in retired.items()).encode("ascii"))


def read_former(
    directory: Path, retired: Mapping[str, int], *, private: Iterable[str], group_read: bool = False
) -> dict[str, FormerKey]:
    """Return the former keys by kid. ``private``: kids with a private key file.

    Raises PrivateFileError, OSError.
    """
    found = {}
    for kid in set(retired).difference(private):
        if (public := _public(directory / f"{kid}{SUFFIX}", kid, group_read=group_read)) is not None:
            found[kid] = FormerKey(public, retired[kid] + KEEP_SECONDS)
    return found


def keep_public(directory: Path, kid: str, private: Ed25519PrivateKey) -> None:
    """Write the public half of a key before its private key file is removed."""
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    create_private(directory / f"{kid}{SUFFIX}", pem)


def drop_public(directory: Path, kid: str) -> None:
    """Remove the public half of a key, if present."""
    (directory / f"{kid}{SUFFIX}").unlink(missing_ok=True)


def _public(path: Path, kid: str, *, group_read: bool) -> Ed25519PublicKey | None:
    try:
        raw, _ = read_private(path, group_read=group_read)
    except FileNotFoundError:
        return None
    try:
        key = serialization.load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey) or thumbprint(key) != kid:
        raise PrivateFileError(f"{path}: is not the public half of {kid}: remove the file")
    return key
