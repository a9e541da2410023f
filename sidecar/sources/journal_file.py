"""Journal files in the state directory: one per partition, a header and one line per feed entry (R48).

The process that holds the folder's lock writes, and every process reads at its start. Files have mode 0600, are
appended to, and are replaced when they reach three times their bound. A torn last line is dropped. File access runs in
a thread, never on the event loop.
"""

import fcntl
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.sources.private_files import PrivateFileError, make_private_directory, read_private, replace_private
from sidecar.telemetry.app_log import logger

MAX_LINES: Final = 30_000
MAX_BYTES: Final = 32 * 1024 * 1024
_NAME: Final = re.compile(r"(\d\d)\.jsonl")

_log = logger("store")


class JournalFile:
    """Journal writer. ``append`` and ``rewrite`` queue lines, ``write`` writes them.

    ``stale``: partitions that need a complete rewrite. The journal rewrites them at its next turn.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._appended: dict[int, list[bytes]] = {}
        self._replaced: dict[int, list[bytes]] = {}
        self._lines: dict[int, int] = {}
        self._lock = -1
        self._problem = ""
        self.stale: set[int] = set()

    @property
    def owned(self) -> bool:
        """Return True if this process holds the lock and writes."""
        return self._lock >= 0

    def read(self) -> Mapping[int, list[bytes]]:
        """Return lines by partition, without a torn last line. An unusable file is logged and skipped."""
        found: dict[int, list[bytes]] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            try:
                raw, _ = read_private(path, limit=MAX_BYTES)
            except (OSError, PrivateFileError) as problem:
                _log.error("journal unreadable, store not compared", problem=str(problem))
                continue
            found[int(match[1])] = raw.split(b"\n")[:-1]
        return found

    def append(self, partition: int, line: bytes) -> None:
        """Queue a line, if this process writes."""
        if self.owned:
            with self._guard:
                self._appended.setdefault(partition, []).append(line)

    def rewrite(self, partition: int, lines: Sequence[bytes]) -> None:
        """Queue the complete new content of a partition's file."""
        self.stale.discard(partition)
        with self._guard:
            self._appended.pop(partition, None)
            self._replaced[partition] = list(lines)

    def take(self) -> bool:
        """Acquire the lock. Return False if another process holds it or the folder is unusable."""
        try:
            return self._take()
        except (OSError, PrivateFileError) as problem:
            self._complain(problem)
            return False

    def write(self) -> None:
        """Write the queued lines. A full or broken disk is logged once, and the write is retried.

        One call at a time: a cancelled task leaves its thread running, and ``close`` waits until it has ended.
        """
        if not self.owned:
            return
        with self._writing:
            self._write()

    def _write(self) -> None:
        with self._guard:
            replaced, appended = self._replaced, self._appended
            self._replaced, self._appended = {}, {}
        try:
            for partition, lines in replaced.items():
                replace_private(self._path(partition), *(line + b"\n" for line in lines))
                self._lines[partition] = len(lines)
            for partition, lines in appended.items():
                self._append(partition, lines)
            self._problem = ""
        except (OSError, PrivateFileError) as problem:
            self.stale.update(replaced.keys() | appended.keys())
            self._complain(problem)

    def close(self) -> None:
        """Write the queued lines and release the lock."""
        self.write()
        if self.owned:
            os.close(self._lock)
            self._lock = -1

    def _complain(self, problem: Exception) -> None:
        if str(problem) != self._problem:
            _log.error("journal write failed, entries kept in memory", problem=str(problem))
        self._problem = str(problem)

    def _take(self) -> bool:
        make_private_directory(self._folder)
        words = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self._folder / "lock", words, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _append(self, partition: int, lines: Sequence[bytes]) -> None:
        words = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path(partition), words, 0o600)
        try:
            content = memoryview(b"".join(line + b"\n" for line in lines))
            while content:
                content = content[os.write(descriptor, content) :]
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._lines[partition] = self._lines.get(partition, MAX_LINES) + len(lines)
        if self._lines[partition] > MAX_LINES:
            self.stale.add(partition)

    def _path(self, partition: int) -> Path:
        return self._folder / f"{partition:02d}.jsonl"
