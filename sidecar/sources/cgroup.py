"""Memory limit of this process: the limit of its control group, or the memory of the machine.

A child process that exceeds it ends the whole container, because Kubernetes kills all processes of a group at once. A
child therefore receives a share of this limit.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNLIMITED = 1 << 60
"""Upper bound of a real limit. cgroup version 1 writes a larger value for "no limit"."""


def memory_limit(root: Path = Path("/")) -> int:
    """Return bytes: the lowest limit of this process's group and its parents, at most the machine's memory."""
    limits = [limit for limit in _limits(root) if limit < UNLIMITED]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _limits(root: Path) -> Iterator[int]:
    for mount, name, group in _groups(root):
        path = PurePosixPath(group)
        for at in (path, *path.parents):
            try:
                text = (root / mount / str(at).lstrip("/") / name).read_text(encoding="ascii").strip()
            except (OSError, ValueError):  # the group is not under this mount: its parents may be
                continue
            if text.isdecimal():
                yield int(text)


def _groups(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield mount, limit file and group of this process, for cgroup versions 2 and 1."""
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
