"""Write access to a file: its owner only, its group, or all users (R25).

A user-private group counts as its owner. With umask 002, the default of Ubuntu and Red Hat for ordinary users, that
group may write every new file. Callers choose between a warning and an error.
"""

import grp
import os
import pwd
import stat
import time
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from typing import Final

REMEMBERED_SECONDS: Final = 60
"""Cache time of a group's members.

A directory service may be slow to list all users, and one reading of the policy checks seven files.
"""


class Writers(Enum):
    """Users with write access to a file."""

    OWNER = auto()
    GROUP = auto()
    WORLD = auto()


def writers(status: os.stat_result) -> Writers:
    """Return the largest set of users that may write a file with this status."""
    if status.st_mode & stat.S_IWOTH:
        return Writers.WORLD
    if not status.st_mode & stat.S_IWGRP:
        return Writers.OWNER
    minute = int(time.monotonic() // REMEMBERED_SECONDS)
    return Writers.OWNER if _is_private(status.st_uid, status.st_gid, minute) else Writers.GROUP


def is_open_as_code(status: os.stat_result) -> bool:
    """Return True if the file is at most as writable as this package's code.

    Its mode then adds no protection: its writers can also change the code.
    """
    folder = Path(__file__).resolve().parent.parent
    code = (folder if stat.S_ISDIR(status.st_mode) else folder / "__init__.py").stat()
    same = (status.st_uid, status.st_gid) == (code.st_uid, code.st_gid)
    return same and not status.st_mode & ~code.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@lru_cache(maxsize=64)
def _is_private(uid: int, gid: int, _minute: int) -> bool:
    """Return True if the group is the user's own: primary, with the user's name or number, without another member.

    The name or number is also required, because a directory service need not list the members of `domain users`.
    """
    owner = _user(uid)
    group = _group(gid)
    primary = gid == uid if owner is None else owner.pw_gid == gid
    named = gid == uid or (owner is not None and group is not None and owner.pw_name == group.gr_name)
    if not (primary and named):
        return False
    members = set() if group is None else set(group.gr_mem)
    if members - ({owner.pw_name} if owner is not None else set()):
        return False
    return all(other.pw_uid == uid for other in pwd.getpwall() if other.pw_gid == gid)


def _user(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _group(gid: int) -> grp.struct_group | None:
    try:
        return grp.getgrgid(gid)
    except KeyError:
        return None
