"""Key directory: signing keys, the pepper, and the kid that signs (R19, R21). Created at the first start.

``*.pem``: one Ed25519 private key each, PKCS#8. Generated keys are named ``<kid>.pem``. ``pepper``: 32 bytes.
``signing``: the ``kid`` that signs; without that file the only key signs. A rotation writes ``next`` (key_rotation.py),
``retired`` and ``<kid>.pub`` (former_keys.py). Other names are ignored.

Any number of first starts may run on one directory at once. All of them publish the key in the file ``.first``. The
next start completes an interrupted one.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.sources.former_keys import RETIRED, SUFFIX, read_former, read_retired
from sidecar.sources.private_files import (
    PrivateFileError,
    check_private_directory,
    create_private,
    make_private_directory,
    read_private,
)
from sidecar.tokens.keyset import KeySet, thumbprint
from sidecar.tokens.opaque import PEPPER_BYTES, Pepper

PEPPER: Final = "pepper"
SIGNING: Final = "signing"
_FIRST: Final = ".first"
_ATTEMPTS: Final = 10

Entropy = Callable[[int], bytes]
Fingerprint = tuple[tuple[str, int, int, int], ...]


class KeyFileError(Exception):
    """Raised for unusable keys. The message is one sentence with file, problem and remedy."""


class _ChangedError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class LoadedKeys:
    """Key set and pepper of a directory. ``made_at``: last write of the signing key's file, Unix seconds."""

    keys: KeySet
    pepper: Pepper
    made_at: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Key file. ``made_at``: time of the last write, Unix seconds."""

    kid: str
    path: Path
    private: Ed25519PrivateKey = field(repr=False)
    made_at: int


def load_or_create(directory: Path, *, entropy: Entropy = os.urandom, group_read: bool = False) -> LoadedKeys:
    """Return the keys of ``directory``; create missing ones. ``group_read``: see private_files.py.

    Raises KeyFileError.
    """
    with key_problems(directory):
        make_private_directory(directory)
        check_private_directory(directory, group_read=group_read)
        if not (directory / PEPPER).exists():
            create_private(directory / PEPPER, entropy(PEPPER_BYTES))
        if not _pem_files(directory) or (directory / _FIRST).exists():
            _make_first_key(directory, entropy)
    return load(directory, group_read=group_read)


def load(directory: Path, *, group_read: bool = False) -> LoadedKeys:
    """Return the keys of ``directory``; create nothing. Raises KeyFileError."""
    keys, signing = read_keys(directory, group_read=group_read)
    path = directory / PEPPER
    with key_problems(directory):
        pepper, _ = read_private(path, group_read=group_read)
        retired = read_retired(directory, group_read=group_read)
        former = read_former(directory, retired, private=[key.kid for key in keys], group_read=group_read)
    if len(pepper) != PEPPER_BYTES:
        raise KeyFileError(
            f"{path}: has {len(pepper)} bytes instead of {PEPPER_BYTES}: restore it from its backup "
            "(no stored password can be checked without it)"
        )
    others = [key.private.public_key() for key in keys if key.kid != signing.kid]
    return LoadedKeys(KeySet.of(signing.private, others, former), Pepper(pepper), signing.made_at)


def fingerprint(directory: Path) -> Fingerprint:
    """Return a value that changes with every relevant file, its mode included. Cheap to poll.

    Empty if the directory is unreadable.
    """
    found = []
    with suppress(OSError):
        for entry in os.scandir(directory):
            if _counts(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.name, status.st_ino, status.st_ctime_ns, status.st_size))
    return tuple(sorted(found))


@contextmanager
def key_problems(directory: Path) -> Iterator[None]:
    """Convert errors of file operations inside the block to KeyFileError."""
    try:
        yield
    except PrivateFileError as problem:
        raise KeyFileError(str(problem)) from problem
    except OSError as error:
        path = error.filename or directory
        raise KeyFileError(f"{path}: cannot be used ({error.strerror}): check SIDECAR_KEYS_DIR") from error


def _counts(name: str) -> bool:
    return not name.startswith(".") and (name in (PEPPER, SIGNING, RETIRED) or name.endswith((".pem", SUFFIX)))


def _pem_files(directory: Path) -> list[Path]:
    names = sorted(entry.name for entry in os.scandir(directory))
    return [directory / name for name in names if _counts(name) and name.endswith(".pem")]


def line(kid: str) -> bytes:
    """Return the content of the file ``signing`` for this kid."""
    return kid.encode("ascii") + b"\n"


def _make_first_key(directory: Path, entropy: Entropy) -> None:
    """Create and publish the first key. Concurrent starts publish the same key, the one in ``.first``.

    ``signing`` is written last. Once it exists, a ``.first`` that was created later is discarded.
    """
    first = directory / _FIRST
    if not _pem_files(directory):
        create_private(first, new_key(entropy)[1])
    with suppress(_ChangedError):  # already removed: another start has finished
        key = _read_key(first)
        if not (directory / SIGNING).exists():
            create_private(directory / f"{key.kid}.pem", _pem(key.private))
            create_private(directory / SIGNING, line(key.kid))
    first.unlink(missing_ok=True)


def new_key(entropy: Entropy) -> tuple[str, bytes]:
    """Return the kid and the file content of a new key."""
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    return thumbprint(key.public_key()), _pem(key)


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_keys(directory: Path, *, group_read: bool = False) -> tuple[list[SigningKey], SigningKey]:
    """Return all keys and the signing key. Raises KeyFileError.

    Reads again if the directory changed meanwhile (a concurrent rotation).
    """
    with key_problems(directory):
        check_private_directory(directory, group_read=group_read)
        for _ in range(_ATTEMPTS):
            before = fingerprint(directory)
            with suppress(_ChangedError):
                keys = [_read_key(path, group_read=group_read) for path in _pem_files(directory)]
                try:
                    return keys, _signing(directory, keys, group_read=group_read)
                except KeyFileError:
                    if fingerprint(directory) == before:
                        raise
    raise KeyFileError(f"{directory}: changes repeatedly while it is read: retry when the other process has finished")


def _signing(directory: Path, keys: list[SigningKey], *, group_read: bool) -> SigningKey:
    path = directory / SIGNING
    kids = {key.kid: key for key in keys}
    if not keys:
        raise KeyFileError(f"{directory}: contains no key (*.pem): add one, or let `sidecar serve` create one")
    try:
        kid = read_private(path, group_read=group_read)[0].decode("ascii", "replace").strip()
    except FileNotFoundError:
        if len(kids) == 1:
            return keys[0]
        raise KeyFileError(
            f"{path}: is missing, and there are {len(kids)} keys: write the kid of one into it: {', '.join(kids)}"
        ) from None
    if kid not in kids:
        raise KeyFileError(f"{path}: names an unknown key: write one of these kids into it: {', '.join(kids)}")
    return kids[kid]


def _read_key(path: Path, *, group_read: bool = False) -> SigningKey:
    try:
        raw, made_at = read_private(path, group_read=group_read)
    except FileNotFoundError as error:
        raise _ChangedError from error
    fix = "put one unencrypted Ed25519 private key (PKCS#8, PEM) there, or remove the file"
    if raw.count(b"-----BEGIN ") != 1:
        raise KeyFileError(f"{path}: does not contain exactly one key: {fix}")
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise KeyFileError(f"{path}: is not a readable private key: {fix}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: is not an Ed25519 key: {fix}")
    return SigningKey(thumbprint(key.public_key()), path, key, made_at)
