"""Write access to a file that others may read: its owner alone, its group, or everybody (R25).

A user-private group counts as its owner: with umask 002, the default of Ubuntu and Red Hat for ordinary users, that
group may write every new file. Decides nothing: callers choose between a warning and an error.
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
"""A directory service may take its time to list all users, and a reading has seven files."""


class Writers(Enum):
    OWNER = auto()
    GROUP = auto()
    EVERYBODY = auto()


def writers(status: os.stat_result) -> Writers:
    """The largest circle that may write what has this status."""
    if status.st_mode & stat.S_IWOTH:
        return Writers.EVERYBODY
    if not status.st_mode & stat.S_IWGRP:
        return Writers.OWNER
    minute = int(time.monotonic() // REMEMBERED_SECONDS)
    return Writers.OWNER if _is_private(status.st_uid, status.st_gid, minute) else Writers.GROUP


def is_open_as_code(status: os.stat_result) -> bool:
    """Whether whoever may write this may write this package's code as well: then its mode protects nothing."""
    folder = Path(__file__).resolve().parent.parent
    code = (folder if stat.S_ISDIR(status.st_mode) else folder / "__init__.py").stat()
    same = (status.st_uid, status.st_gid) == (code.st_uid, code.st_gid)
    return same and not status.st_mode & ~code.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@lru_cache(maxsize=64)
def _is_private(uid: int, gid: int, _minute: int) -> bool:
    """Whether the group is the user's own: its primary one, of the user's name or number, without another member.

    The name or number is asked for as well: a directory service need not list the members of `domain users`.
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
