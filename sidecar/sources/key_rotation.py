"""What a rotation does to the key directory, step by step (R21). Each step is whole or not done at all.

``next`` holds the kid of a key that is published and about to sign, so that a rotation that was interrupted is taken up
again instead of leaving a key behind. ``retired`` holds a line for each key that has stopped signing: kid and Unix
second. When to take which step is not decided here: only the fleet knows who has read what.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sidecar.sources.key_files import SIGNING, Entropy, Key, KeyFileProblem, key_problems, line, new_key, read_keys
from sidecar.sources.private_files import (
    create_private,
    on_read_only_mount,
    read_private,
    replace_private,
    sync_directory,
)

NEXT: Final = "next"
RETIRED: Final = "retired"


class KeyState(StrEnum):
    """SPARE: it verifies, and neither signs nor has signed, as far as the directory remembers."""

    SIGNS = "signs"
    NEXT = "next"
    RETIRED = "retired"
    SPARE = "spare"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One key as ``keys list`` shows it. Unix seconds; ``retired_at`` when it is known."""

    kid: str
    path: Path
    state: KeyState
    made_at: int
    retired_at: int | None = None


@contextmanager
def rotating(directory: Path) -> Iterator[None]:
    """One rotation at a time. Raises KeyFileProblem while another is at work there, and on a read-only mount."""
    with key_problems(directory):
        if on_read_only_mount(directory):
            raise KeyFileProblem(
                f"{directory}: is on a read-only mount: rotate and revoke keys where it can be written"
            )
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with key_problems(directory):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KeyFileProblem(f"{directory}: another rotation is at work there: wait for it") from None
        yield
    finally:
        os.close(descriptor)


def list_keys(directory: Path, *, group_read: bool = False) -> tuple[KeyFile, ...]:
    """Every key of ``directory``, the oldest first. ``group_read``: see private_files.py."""
    keys, signing = read_keys(directory, group_read=group_read)
    coming, retired = _next(directory, group_read=group_read), _retired(directory, group_read=group_read)

    def shown(key: Key) -> KeyFile:
        if key.kid == signing.kid:
            state = KeyState.SIGNS
        elif key.kid == coming:
            state = KeyState.NEXT
        else:
            state = KeyState.RETIRED if key.kid in retired else KeyState.SPARE
        since = retired.get(key.kid) if state is KeyState.RETIRED else None
        return KeyFile(key.kid, key.path, state, key.made_at, since)

    return tuple(sorted(map(shown, keys), key=lambda file: (file.made_at, file.kid)))


def publish_next(directory: Path, *, entropy: Entropy = os.urandom) -> str:
    """Publish a key that verifies and does not sign yet; an interrupted rotation's, if there is one. Its kid."""
    keys, signing = read_keys(directory)
    begun = _next(directory)
    if begun != signing.kid and any(key.kid == begun for key in keys):
        return str(begun)
    with key_problems(directory):
        # With a second key beside it the only key is no longer the evident one.
        create_private(directory / SIGNING, line(signing.kid))
        kid, pem = new_key(entropy)
        replace_private(directory / NEXT, line(kid))
        create_private(directory / f"{kid}.pem", pem)
    return kid


def choose_signing(directory: Path, kid: str, *, now: int) -> None:
    """Sign with ``kid`` from now on; the key that signed so far is retired."""
    keys, signing = read_keys(directory)
    _having(directory, keys, kid)
    retired = {**_retired(directory), signing.kid: now}
    retired.pop(kid, None)
    with key_problems(directory):
        _keep_retired(directory, retired)
        replace_private(directory / SIGNING, line(kid))
        (directory / NEXT).unlink(missing_ok=True)


def remove_key(directory: Path, kid: str) -> None:
    """Take ``kid`` away: its tokens are dead wherever this directory is read. Never the key that signs."""
    keys, signing = read_keys(directory)
    doomed = _having(directory, keys, kid)
    if kid == signing.kid:
        raise KeyFileProblem(f"{signing.path}: is the key that signs: rotate to another one first")
    with key_problems(directory):
        for key in doomed:
            key.path.unlink(missing_ok=True)
        sync_directory(directory)
        retired = _retired(directory)
        if retired.pop(kid, None) is not None:
            _keep_retired(directory, retired)


def remove_retired(directory: Path, *, before: int) -> tuple[str, ...]:
    """Take away the keys that stopped signing before that second. Their kids."""
    gone = [file.kid for file in list_keys(directory) if file.retired_at is not None and file.retired_at < before]
    for kid in gone:
        remove_key(directory, kid)
    return tuple(gone)


def _having(directory: Path, keys: list[Key], kid: str) -> list[Key]:
    found = [key for key in keys if key.kid == kid]
    if not found:
        raise KeyFileProblem(f"{directory}: has no key {kid}: `sidecar keys list` names those that it has")
    return found


def _next(directory: Path, *, group_read: bool = False) -> str | None:
    return _text(directory, NEXT, group_read=group_read).strip() or None


def _retired(directory: Path, *, group_read: bool = False) -> dict[str, int]:
    found = {}
    for entry in _text(directory, RETIRED, group_read=group_read).splitlines():
        kid, _, second = entry.partition(" ")
        if second.isdecimal():  # a line that is not ours retires nothing: its key stays, and can be revoked by name
            found[kid] = int(second)
    return found


def _keep_retired(directory: Path, retired: Mapping[str, int]) -> None:
    replace_private(directory / RETIRED, "".join(f"{kid} {at}\n" for kid, at in retired.items()).encode("ascii"))


def _text(directory: Path, name: str, *, group_read: bool) -> str:
    with key_problems(directory):
        try:
            return read_private(directory / name, group_read=group_read)[0].decode("ascii", "replace")
        except FileNotFoundError:
            return ""
