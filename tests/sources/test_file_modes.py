"""User private groups: umask 002 must work for ordinary users, and a shared group is no private one."""

import grp
import os
import pwd

import pytest

from sidecar.sources import file_modes
from sidecar.sources.file_modes import Writers, writers
from sidecar.sources.owner_writable_files import OwnerWritableFileError, read_guarded

USERS = [
    ("root", 0, 0),
    ("dev", 1000, 1000),
    ("ann", 1001, 100),
    ("kim", 1002, 2002),
    ("joe", 1003, 1003),
    ("bot", 1004, 1003),
    ("max", 1005, 5000),
]
GROUPS = [
    ("root", 0, []),
    ("dev", 1000, ["dev"]),
    ("users", 100, []),
    ("kim", 2002, ["kim", "eve"]),
    ("joe", 1003, []),
    ("domain users", 5000, []),
    ("staff", 50, ["dev"]),
]


@pytest.fixture(autouse=True)
def directory(monkeypatch):
    users = [pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh")) for name, uid, gid in USERS]
    groups = [grp.struct_group((name, "x", gid, members)) for name, gid, members in GROUPS]
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(pwd, "getpwuid", {user.pw_uid: user for user in users}.__getitem__)
    monkeypatch.setattr(grp, "getgrgid", {group.gr_gid: group for group in groups}.__getitem__)
    file_modes._is_private.cache_clear()
    yield
    file_modes._is_private.cache_clear()


def status(mode, uid=1000, gid=1000):
    return os.stat_result((0o100000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("uid", "gid", "own"),
    [
        (1000, 1000, True),
        (0, 0, True),
        (4242, 4242, True),  # a container's user without an entry
        (1000, 50, False),  # a group that the user is in
        (0, 1000, False),  # fsGroup: root's file, another's group
        (1001, 100, False),  # a primary group shared by all, with an empty member list
        (1005, 5000, False),  # a directory service's group: its members are not listed
        (1002, 2002, False),  # another user is a member
        (1003, 1003, False),  # another user has it as the primary one
        (4242, 4243, False),
        (65534, 1000, False),
    ],
)
def test_R25_a_group_is_its_owners_own_when_nobody_else_is_in_it(uid, gid, own):
    assert writers(status(0o664, uid, gid)) is (Writers.OWNER if own else Writers.GROUP)
    assert writers(status(0o620, uid, gid)) is (Writers.OWNER if own else Writers.GROUP)
    assert writers(status(0o644, uid, gid)) is Writers.OWNER
    assert writers(status(0o646, uid, gid)) is Writers.WORLD
    assert writers(status(0o666, uid, gid)) is Writers.WORLD


def test_a_member_that_is_added_is_noticed_within_a_minute(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert writers(status(0o664)) is Writers.OWNER
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("dev", "x", gid, ["dev", "eve"])))
    now = 60.0
    assert writers(status(0o664)) is Writers.GROUP


@pytest.mark.parametrize(("mode", "gid", "taken"), [(0o664, 1000, True), (0o664, 50, False), (0o646, 1000, False)])
def test_R10_an_issuers_file_of_a_user_private_group_is_accepted(tmp_path, monkeypatch, mode, gid, taken):
    path = tmp_path / "issuers.toml"
    path.write_bytes(b"content")
    monkeypatch.setattr(os, "fstat", lambda _: status(mode, 1000, gid))
    if taken:
        assert read_guarded(path, limit=100) == b"content"
    else:
        with pytest.raises(OwnerWritableFileError, match="users other than its owner can write it"):
            read_guarded(path, limit=100)
