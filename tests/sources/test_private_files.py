"""Files that a mount opened to a group: closed at the start, or on a read-only mount accepted by a setting (R21)."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.sources import private_files
from sidecar.sources.key_files import KeyFileError, load, load_or_create
from sidecar.sources.key_rotation import list_keys, rotating
from sidecar.sources.private_files import GROUP_WRITE, close_to_group

ROOT = Path(__file__).resolve().parents[2]


def kubelet(volume: Path) -> None:
    """Set the modes as at each mount of a volume with fsGroup: files get ug+rw, directories ug+rwx and setgid."""
    for path in (volume, *volume.rglob("*")):
        if not path.is_symlink():
            path.chmod(mode(path) | (0o2770 if path.is_dir() else 0o660))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    load_or_create(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.mark.parametrize(("folder", "files"), [(0o2770, 0o660), (0o750, 0o640), (0o700, 0o640), (0o770, 0o600)])
def test_R21_files_opened_by_a_mount_are_closed_with_a_warning(keys: Path, folder: int, files: int) -> None:
    made = load(keys).keys.version
    for path in keys.iterdir():
        path.chmod(files)
    keys.chmod(folder)
    with pytest.raises(KeyFileError, match="so others can use it: chmod"):
        load(keys)
    warnings = list(close_to_group(keys))
    opened = [keys] * (folder != 0o700) + sorted(keys.iterdir()) * (files != 0o600)
    assert [warning.partition(": ")[0] for warning in warnings] == [str(path) for path in opened]
    assert mode(keys) == 0o700
    assert {mode(path) for path in keys.iterdir()} == {0o600}
    assert load(keys).keys.version == made
    assert list(close_to_group(keys)) == []


@pytest.mark.parametrize("files", [0o664, 0o644, 0o604, 0o606])
def test_R21_what_is_open_to_all_is_left_and_no_start(keys: Path, files: int) -> None:
    (keys / "pepper").chmod(files)
    assert list(close_to_group(keys)) == []
    assert mode(keys / "pepper") == files
    with pytest.raises(KeyFileError, match=rf"pepper: has mode {files:04o}"):
        load(keys)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_R21_what_is_another_users_is_left_and_no_start(keys: Path) -> None:
    (keys / "pepper").chmod(0o660)
    os.chown(keys / "pepper", 12345, -1)
    assert list(close_to_group(keys)) == []
    assert mode(keys / "pepper") == 0o660
    with pytest.raises(KeyFileError, match="belongs to uid 12345"):
        load(keys)


def test_R21_closing_follows_no_link_and_waits_for_no_pipe(keys: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o660)
    (keys / "link.pem").symlink_to(outside)
    os.mkfifo(keys / "pipe.pem")
    (keys / "pipe.pem").chmod(0o660)
    assert list(close_to_group(keys)) == []
    assert mode(outside) == 0o660


def test_R21_a_file_system_that_keeps_no_modes_is_said(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (keys / "pepper").chmod(0o660)
    monkeypatch.setattr(private_files.os, "fchmod", lambda *_: None)
    (warning,) = close_to_group(keys)
    assert "pepper: has mode 0660, and this file system keeps no other: mount it with" in warning
    with pytest.raises(KeyFileError, match="pepper: has mode 0660"):
        load(keys)


def test_state_that_the_group_may_only_read_stays_so(tmp_path: Path) -> None:
    for name, bits in (("shipped", 0o640), ("opened", 0o660)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(bits)
    tmp_path.chmod(0o750)
    warnings = list(close_to_group(tmp_path, ["opened", "shipped", "missing"], bits=GROUP_WRITE))
    assert [warning.partition(":")[0] for warning in warnings] == [str(tmp_path / "opened")]
    assert (mode(tmp_path), mode(tmp_path / "shipped"), mode(tmp_path / "opened")) == (0o750, 0o640, 0o600)


# -- read-only mounts --------------------------------------------------------------------------------------------------

READ = """
import os, sys
from pathlib import Path
from sidecar.sources.key_files import KeyFileError, load_or_create
from sidecar.sources.key_rotation import list_keys
from sidecar.sources.private_files import close_to_group
keys = Path(sys.argv[1])
if uid := int(sys.argv[3]):  # only now: this user may not be able to read the environment that has the imports
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
try:
    assert not list(close_to_group(keys))
    loaded = load_or_create(keys, group_read=sys.argv[2] == "true")
    assert list_keys(keys, group_read=True)[0].kid == loaded.keys.kid
except KeyFileError as problem:
    sys.exit(str(problem))
"""


@pytest.fixture
def read_only_mount() -> None:
    unshare = shutil.which("unshare")
    probe = [unshare or "", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    if os.geteuid() != 0 or unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace of its own wants root with CAP_SYS_ADMIN, and unshare (Linux)")


def start_on_read_only_mount(keys: Path, allowed: str, uid: int) -> subprocess.CompletedProcess[str]:
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
    return subprocess.run(
        [
            *("unshare", "--mount", "sh", "-ec", f'{mount} && exec "$2" -c "$3" "$1" "$4" "$5"', "sh"),
            *(str(keys), sys.executable, READ, allowed, str(uid)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.root
@pytest.mark.usefixtures("read_only_mount")
@pytest.mark.parametrize("owner", [0, 65532])
def test_R21_a_setting_accepts_group_readable_files_if_read_only(owner: int) -> None:
    base = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    base.chmod(0o755)  # another user needs access
    try:
        keys = base / "keys"
        load_or_create(keys)
        for path in (keys, *keys.iterdir()):
            os.chown(path, owner, 65532)
            path.chmod(0o2750 if path.is_dir() else 0o440)
        assert start_on_read_only_mount(keys, "true", 65532).stderr == ""
        refused = start_on_read_only_mount(keys, "false", 65532)
        assert refused.returncode == 1
        if owner:
            assert "or set SIDECAR_KEYS_GROUP_READ=true" in refused.stderr
        for path, bits in ((keys / "pepper", 0o460), (keys / "signing", 0o444), (keys, 0o770), (keys, 0o755)):
            before = mode(path)
            path.chmod(bits)
            assert start_on_read_only_mount(keys, "true", 65532).returncode == 1, (path, oct(bits))
            path.chmod(before)
        assert start_on_read_only_mount(keys, "true", 65532).returncode == 0
    finally:
        shutil.rmtree(base)


def test_R21_where_it_can_be_written_the_setting_changes_nothing(keys: Path) -> None:
    (keys / "pepper").chmod(0o640)
    with pytest.raises(KeyFileError, match="pepper: has mode 0640, so others can use it: chmod 600"):
        load(keys, group_read=True)
    with pytest.raises(KeyFileError):
        load_or_create(keys, group_read=True)


def test_R21_no_rotation_begins_on_a_read_only_mount(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(keys)
    fields = [os.ST_RDONLY if name == "f_flag" else getattr(real, name) for name in os.statvfs_result.__match_args__]
    monkeypatch.setattr(private_files.os, "statvfs", lambda _: os.statvfs_result(fields))
    with (
        pytest.raises(KeyFileError, match="is on a read-only mount: rotate and revoke keys on a writable mount"),
        rotating(keys),
    ):
        pass
    assert len(list_keys(keys)) == 1
