"""Steps of a key rotation in the key directory (R21). Each step is complete or has no effect.

``next`` has the kid of a key that is published and will sign. It lets an interrupted rotation resume instead of leaving
an unused key. ``retired`` and ``<kid>.pub``: former_keys.py. Callers choose the time of each step, because only the
fleet knows which replicas have read the keys.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sidecar.sources.former_keys import (
    KEEP_SECONDS,
    SUFFIX,
    drop_public,
    keep_public,
    read_former,
    read_retired,
    write_retired,
)
from sidecar.sources.key_files import SIGNING, Entropy, KeyFileError, SigningKey, key_problems, line, new_key, read_keys
from sidecar.sources.private_files import (
    create_private,
    on_read_only_mount,
    read_private,
    replace_private,
    sync_directory,
)

NEXT: Final = "next"


class KeyState(StrEnum):
    """State of a key.

    ACTIVE: new tokens are signed with it. PENDING: published, and will sign. RETIRED: verifies, and does not sign any
    more. UNMANAGED: verifies, and the directory has no record that it signed. FORMER: the private key was removed. Its
    public half renews browser sessions until 90 days after its last signature, and verifies nothing else.
    """

    ACTIVE = "active"
    PENDING = "pending"
    RETIRED = "retired"
    UNMANAGED = "unmanaged"
    FORMER = "former"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Key as shown by ``keys list``. Times are Unix seconds; ``retired_at`` is None if unknown."""

    kid: str
    path: Path
    state: KeyState
    made_at: int
    retired_at: int | None = None


@contextmanager
def rotating(directory: Path) -> Iterator[None]:
    """Lock the directory for one rotation.

    Raises KeyFileError while another rotation holds the lock, and on a read-only mount.
    """
    with key_problems(directory):
        if on_read_only_mount(directory):
            raise KeyFileError(f"{directory}: is on a read-only mount: rotate and revoke keys on a writable mount")
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with key_problems(directory):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KeyFileError(
                    f"{directory}: another rotation is in progress: retry when it has finished"
                ) from None
        yield
    finally:
        os.close(descriptor)


def list_keys(directory: Path, *, group_read: bool = False) -> tuple[KeyFile, ...]:
    """Return every key of ``directory``, oldest first. ``group_read``: see private_files.py."""
    keys, signing = read_keys(directory, group_read=group_read)
    coming, retired = _next(directory, group_read=group_read), _retired(directory, group_read=group_read)
    with key_problems(directory):
        former = read_former(directory, retired, private=[key.kid for key in keys], group_read=group_read)

    def shown(key: SigningKey) -> KeyFile:
        if key.kid == signing.kid:
            state = KeyState.ACTIVE
        elif key.kid == coming:
            state = KeyState.PENDING
        else:
            state = KeyState.RETIRED if key.kid in retired else KeyState.UNMANAGED
        since = retired.get(key.kid) if state is KeyState.RETIRED else None
        return KeyFile(key.kid, key.path, state, key.made_at, since)

    gone = [_former(directory / f"{kid}{SUFFIX}", kid, retired[kid]) for kid in former]
    return tuple(sorted([*map(shown, keys), *gone], key=lambda file: (file.made_at, file.kid)))


def _former(path: Path, kid: str, retired_at: int) -> KeyFile:
    with key_problems(path.parent):
        return KeyFile(kid, path, KeyState.FORMER, read_private(path)[1], retired_at)


def publish_next(directory: Path, *, entropy: Entropy = os.urandom) -> str:
    """Publish a key that verifies and does not sign yet, and return its kid.

    An interrupted rotation's key is reused.
    """
    _, signing = read_keys(directory)
    if (begun := published_key(directory)) is not None:
        return begun
    with key_problems(directory):
        # Name the signing key explicitly before a second key exists.
        create_private(directory / SIGNING, line(signing.kid))
        kid, pem = new_key(entropy)
        replace_private(directory / NEXT, line(kid))
        create_private(directory / f"{kid}.pem", pem)
    return kid


def published_key(directory: Path) -> str | None:
    """Return the kid of the key that is published and does not sign yet, or None."""
    keys, signing = read_keys(directory)
    begun = _next(directory)
    return begun if begun != signing.kid and any(key.kid == begun for key in keys) else None


def choose_signing(directory: Path, kid: str, *, now: int) -> None:
    """Sign with ``kid`` from now on and retire the previous signing key. ``now``: Unix seconds."""
    keys, signing = read_keys(directory)
    _having(directory, keys, kid)
    retired = {**_retired(directory), signing.kid: now}
    retired.pop(kid, None)
    with key_problems(directory):
        write_retired(directory, retired)
        replace_private(directory / SIGNING, line(kid))
        (directory / NEXT).unlink(missing_ok=True)


def remove_key(directory: Path, kid: str) -> None:
    """Remove ``kid`` and its public half. Raises KeyFileError for the signing key.

    The key's tokens become invalid wherever this directory is read, and renew no session.
    """
    keys, signing = read_keys(directory)
    retired = _retired(directory)
    doomed = [key for key in keys if key.kid == kid] if kid in retired else _having(directory, keys, kid)
    if kid == signing.kid:
        raise KeyFileError(f"{signing.path}: is the signing key: rotate to another key first")
    with key_problems(directory):
        for key in doomed:
            key.path.unlink(missing_ok=True)
        drop_public(directory, kid)
        sync_directory(directory)
        if retired.pop(kid, None) is not None:
            write_retired(directory, retired)


def remove_retired(directory: Path, *, before: int, now: int) -> tuple[str, ...]:
    """Remove private keys that stopped signing before ``before``, and public halves after their 90 days.

    Return the kids of the private keys. ``before`` and ``now`` are Unix seconds.
    """
    found = [file for file in list_keys(directory) if file.retired_at is not None and file.retired_at < before]
    private = {key.kid: key for key in read_keys(directory)[0]}
    for file in found:
        if int(file.retired_at or 0) + KEEP_SECONDS <= now:
            remove_key(directory, file.kid)
        elif file.kid in private:
            with key_problems(directory):
                keep_public(directory, file.kid, private[file.kid].private)
                file.path.unlink(missing_ok=True)
                sync_directory(directory)
    return tuple(file.kid for file in found if file.kid in private)


def _having(directory: Path, keys: list[SigningKey], kid: str) -> list[SigningKey]:
    found = [key for key in keys if key.kid == kid]
    if not found:
        raise KeyFileError(f"{directory}: has no key {kid}: `sidecar keys list` lists its keys")
    return found


def _next(directory: Path, *, group_read: bool = False) -> str | None:
    return _text(directory, NEXT, group_read=group_read).strip() or None


def _retired(directory: Path, *, group_read: bool = False) -> dict[str, int]:
    with key_problems(directory):
        return read_retired(directory, group_read=group_read)


def _text(directory: Path, name: str, *, group_read: bool) -> str:
    with key_problems(directory):
        try:
            return read_private(directory / name, group_read=group_read)[0].decode("ascii", "replace")
        except FileNotFoundError:
            return ""
