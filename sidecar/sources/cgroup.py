"""The memory that this process may use: the limit of its control group, or of the machine.

A child that takes more ends the whole container (Kubernetes kills all processes of a group at once), so a child gets a
share of this limit.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNLIMITED = 1 << 60
"""What version 1 writes for "no limit" lies above."""


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes: the least limit of this process's group and the groups above it, at most the machine's memory."""
    limits = [limit for limit in _limits(root) if limit < UNLIMITED]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _limits(root: Path) -> Iterator[int]:
    for mount, name, group in _groups(root):
        path = PurePosixPath(group)
        for at in (path, *path.parents):
            try:
                text = (root / mount / str(at).lstrip("/") / name).read_text(encoding="ascii").strip()
            except (OSError, ValueError):  # no such group under this mount: its parents may be there
                continue
            if text.isdecimal():
                yield int(text)


def _groups(root: Path) -> Iterator[tuple[str, str, str]]:
    """Where limits stand: mount, file and this process's group, of versions 2 and 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            yield "sys/fs/cgroup", "memory.max", group
        elif "memory" in controllers.split(","):
            yield "sys/fs/cgroup/memory", "memory.limit_in_bytes", group
