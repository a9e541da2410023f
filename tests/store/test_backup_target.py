"""Names for a backup: a free one, or that of a plain file of this user. All in a folder of its own."""

import os
import socket
import stat
from pathlib import Path

import pytest

from sidecar.store.maintenance.backup import Backup
from sidecar.store.maintenance.backup_target import BackupTargetError, check_target

PLACES = ["link to a file", "link to nothing", "link to standard output", "pipe", "socket", "folder"]


def put(place: str, path: Path) -> None:
    match place:
        case "link to a file":
            (path.parent / "real").write_bytes(b"somebody's")
            path.symlink_to("real")
        case "link to nothing":
            path.symlink_to("nowhere")
        case "link to standard output":
            path.symlink_to("/proc/self/fd/1")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "folder":
            path.mkdir()
        case _:
            raise AssertionError(place)


@pytest.mark.parametrize("place", PLACES)
async def test_a_backup_never_takes_the_place_of_what_is_no_plain_file(town, tmp_path_factory, place):
    await town.account()
    folder = tmp_path_factory.mktemp("t")  # short: a socket's path has a limit
    path = folder / "b"
    put(place, path)
    before = path.lstat()
    with pytest.raises(BackupTargetError, match=r"`-` for standard output") as refused:
        await Backup(town.store).save(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    after = path.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    if place == "link to a file":
        assert (folder / "real").read_bytes() == b"somebody's"
    assert {left.name for left in folder.iterdir()} <= {"b", "real"}, "no draft is left"


async def test_a_name_that_becomes_a_pipe_meanwhile_is_kept(town, tmp_path, monkeypatch):
    await town.account()
    path = tmp_path / "b"
    lines = Backup._lines

    async def slow(self, chosen):
        async for line in lines(self, chosen):
            yield line
        os.mkfifo(path)

    monkeypatch.setattr(Backup, "_lines", slow)
    with pytest.raises(BackupTargetError):
        await Backup(town.store).save(path)
    assert stat.S_ISFIFO(path.lstat().st_mode)
    assert [left.name for left in tmp_path.iterdir()] == ["b"]


def test_a_device_is_no_plain_file():
    with pytest.raises(BackupTargetError, match="is a device"):
        check_target(Path("/dev/null"))


def test_a_file_of_another_user_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "b").write_bytes(b"theirs")
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(BackupTargetError, match="belongs to uid"):
        check_target(tmp_path / "b")


async def test_a_plain_file_of_ones_own_is_replaced_whole(town, tmp_path):
    await town.account()
    path = tmp_path / "b"
    path.write_bytes(b"an older one")
    path.chmod(0o644)
    await Backup(town.store).save(path)
    assert path.read_bytes().startswith(b'{"backup":')
    assert path.stat().st_mode & 0o777 == 0o600
    assert [left.name for left in tmp_path.iterdir()] == ["b"]
