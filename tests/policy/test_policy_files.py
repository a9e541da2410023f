"""R25: each file is opened once and checked through the open descriptor, links included."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.policy.compiler import compile_policy
from sidecar.policy.diagnostics import FILES
from sidecar.sources import file_modes, policy_files
from sidecar.sources.policy_files import MAX_FILE, FileStamp, packaged, read_policy_files, stamp_of

Write = Callable[[Mapping[str, bytes]], tuple[Path, Path]]


def told(folder: Path, model: Path) -> list[str]:
    return [f"{d.file}: {d.code}" for d in read_policy_files(folder, model).diagnostics]


def test_all_files_are_read_and_nothing_else(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    (folder / "notes.txt").write_bytes(b"\xff")
    (folder / ".policy.csv.swp").write_bytes(b"\xff")
    (folder / "..data").mkdir()
    files = read_policy_files(folder, model)
    assert dict(files.files) == dict(seed)
    assert files.diagnostics == ()


def test_R25_an_earlier_reading_does_not_change_the_fingerprint(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    first = read_policy_files(folder, model)
    (folder / "policy.csv").write_bytes(seed["policy.csv"] + b"# more\n")
    second = read_policy_files(folder, model, first)
    assert second.fingerprint == read_policy_files(folder, model).fingerprint != first.fingerprint
    third = read_policy_files(folder, model, second)
    assert (third.fingerprint, dict(third.files)) == (second.fingerprint, dict(second.files))
    (folder / "roles.toml").unlink()
    assert read_policy_files(folder, model, third).fingerprint != third.fingerprint


def test_a_file_that_is_not_there_is_a_finding_and_is_told_once(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    (folder / "roles.toml").unlink()
    files = read_policy_files(folder, model)
    assert "roles.toml" not in files.files
    assert told(folder, model) == ["policy/roles.toml: missing-file"]
    compiled = compile_policy(files.files, problems=files.diagnostics)
    assert [d.code.value for d in compiled.diagnostics] == ["missing-file"]


def test_a_folder_that_is_not_there_is_five_findings(seed: Mapping[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "model.conf").write_bytes(seed["model.conf"])
    assert len(told(tmp_path / "nowhere", tmp_path / "model.conf")) == 5


def test_R25_a_folder_a_pipe_and_a_device_are_no_files(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    (folder / "policy.csv").unlink()
    (folder / "policy.csv").mkdir()
    (folder / "roles.toml").unlink()
    os.mkfifo(folder / "roles.toml")  # there is no writer: a waiting reader would block forever
    (folder / "routes.csv").unlink()
    (folder / "routes.csv").symlink_to("/dev/zero")
    assert all(d.hint for d in read_policy_files(folder, model).diagnostics)
    assert told(folder, model) == [
        "policy/policy.csv: unreadable-file",
        "policy/roles.toml: unreadable-file",
        "policy/routes.csv: unreadable-file",
    ]


def test_R25_a_file_of_more_than_eight_mib_is_refused(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    with (folder / "policy.csv").open("ab") as file:
        file.truncate(MAX_FILE)
    assert told(folder, model) == []
    with (folder / "policy.csv").open("ab") as file:
        file.truncate(MAX_FILE + 1)
    assert told(folder, model) == ["policy/policy.csv: file-too-large"]
    assert all(d.hint for d in read_policy_files(folder, model).diagnostics)


def test_R25_a_file_that_grows_while_it_is_read_is_refused(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = write_policy(seed)
    monkeypatch.setattr(policy_files, "MAX_FILE", len(seed["policy.csv"]) - 1)
    pretend(monkeypatch, stat.ST_SIZE, 1)
    assert "policy/policy.csv: file-too-large" in told(folder, model)


def pretend(monkeypatch: pytest.MonkeyPatch, field: int, value: int) -> None:
    """Make every open file report this metadata."""
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        times = {"st_mtime_ns": status.st_mtime_ns, "st_ctime_ns": status.st_ctime_ns}
        return os.stat_result((*status[:field], value, *status[field + 1 :]), times)

    monkeypatch.setattr(os, "fstat", fstat)


def owned_by(monkeypatch: pytest.MonkeyPatch, uid: int, gid: int) -> None:
    """Make every open file theirs. Group membership is in tests/sources/test_file_modes.py."""
    pretend(monkeypatch, stat.ST_UID, uid)
    pretend(monkeypatch, stat.ST_GID, gid)


@pytest.mark.parametrize("uid", [0, 61_001])
@pytest.mark.parametrize("mode", [0o646, 0o666, 0o602])
def test_R25_a_world_writable_file_is_rejected_even_of_root(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch, mode: int, uid: int
) -> None:
    folder, model = write_policy(seed)
    (folder / "policy.csv").chmod(mode)
    owned_by(monkeypatch, uid, uid)
    files = read_policy_files(folder, model)
    assert [(d.code.value, d.severity.value) for d in files.diagnostics] == [("file-permissions", "error")]
    assert "policy.csv" not in files.files
    assert files.diagnostics[0].hint == f"chmod go-w {folder / 'policy.csv'}"
    assert files.diagnostics[0].file == "policy/policy.csv"


@pytest.mark.parametrize("uid", [0, 61_001])
@pytest.mark.parametrize("mode", [0o664, 0o620])
def test_R25_a_file_writable_by_a_shared_group_is_a_warning(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch, mode: int, uid: int
) -> None:
    folder, model = write_policy(seed)
    (folder / "policy.csv").chmod(mode)
    owned_by(monkeypatch, uid, 61_002)
    files = read_policy_files(folder, model)
    assert [(d.code.value, d.severity.value) for d in files.diagnostics] == [("file-permissions", "warning")]
    assert files.diagnostics[0].hint == f"chmod g-w {folder / 'policy.csv'}"
    assert compile_policy(files.files, problems=files.diagnostics).generation is not None


def test_R25_all_of_a_policy_made_with_umask_002_is_fine(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ubuntu's and Red Hat's default for ordinary users, each of whom has a group of their own."""
    folder, model = write_policy(seed)
    folder.chmod(0o775)
    for path in (*folder.iterdir(), model):
        path.chmod(0o664)
    if os.getuid() == 0:
        os.chown(folder, 61_001, 61_001)
    owned_by(monkeypatch, 61_001, 61_001)
    assert read_policy_files(folder, model).diagnostics == ()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("mode", "severity"), [(0o775, "warning"), (0o757, "error"), (0o777, "error"), (0o1777, ""), (0o755, "")]
)
@pytest.mark.parametrize("uid", [0, 61_001])
def test_R25_a_world_writable_folder_is_rejected_even_of_root(
    seed: Mapping[str, bytes],
    write_policy: Write,
    mode: int,
    severity: str,
    uid: int,
    read_only: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a read-only file system, such as a ConfigMap of mode 0777, it is a warning."""
    folder, model = write_policy(seed)
    folder.chmod(mode)
    real = Path.stat

    def owned(path: Path, **how: bool) -> os.stat_result:
        status = real(path, **how)
        return os.stat_result((*status[: stat.ST_UID], uid, 61_002, *status[stat.ST_GID + 1 :]))

    monkeypatch.setattr(Path, "stat", owned)
    if read_only:
        mounted = os.statvfs(folder)
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*mounted[:8], os.ST_RDONLY, mounted[9])))
    files = read_policy_files(folder, model)
    severity = "warning" if severity and read_only else severity
    assert [(d.file, d.code.value, d.severity.value) for d in files.diagnostics] == (
        [("policy", "file-permissions", severity)] if severity else []
    )
    assert all(d.hint.endswith(f"-w {folder}") for d in files.diagnostics)
    compiled = compile_policy(files.files, problems=files.diagnostics)
    assert (compiled.generation is None) is (severity == "error")


@pytest.fixture
def installed(tmp_path: Path, seed: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with its policy beside the code, all of it with one mode; the package's folder."""
    package = tmp_path / "site" / "sidecar"
    (package / "sources").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "templates" / "policy").mkdir(parents=True)
    for name, content in seed.items():
        (package / "templates" / ("" if name == "model.conf" else "policy") / name).write_bytes(content)
    for module in (file_modes, policy_files):
        monkeypatch.setattr(module, "__file__", str(package / "sources" / "one.py"))
    return package


@pytest.mark.parametrize("opened", [0o002, 0o020, 0o022])
def test_R25_packaged_files_are_as_trusted_as_the_code(
    installed: Path, opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (installed, *installed.rglob("*")):
        path.chmod((0o755 if path.is_dir() else 0o644) | opened)
    monkeypatch.setattr(file_modes, "_is_private", lambda *_: False)
    assert read_policy_files(*policy_files.packaged()).diagnostics == ()

    (installed / "__init__.py").chmod(0o644)  # the code is closed, and the policy beside it is open
    found = read_policy_files(*policy_files.packaged()).diagnostics
    assert len(found) == len(FILES)
    assert {d.severity.value for d in found} == {"error" if opened & 0o002 else "warning"}


def test_R25_each_file_is_opened_once(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = write_policy(seed)
    opened: list[str] = []
    real = os.open

    def counting(path: Path, flags: int) -> int:
        opened.append(Path(path).name)
        return real(path, flags)

    monkeypatch.setattr(os, "open", counting)
    read_policy_files(folder, model)
    assert sorted(opened) == sorted(FILES)


def test_links_are_followed_as_a_configmap_needs(
    seed: Mapping[str, bytes], write_policy: Write, tmp_path: Path
) -> None:
    folder, model = write_policy(seed)
    first = read_policy_files(folder, model)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    folder.rename(mounted / "..2026_a")
    (mounted / "..data").symlink_to("..2026_a")
    for name in seed:
        if name != "model.conf":
            (mounted / name).symlink_to(Path("..data") / name)
    assert read_policy_files(mounted, model).fingerprint == first.fingerprint
    # the swap: one rename of one link
    (mounted / "..2026_b").mkdir()
    for path in (mounted / "..2026_a").iterdir():
        (mounted / "..2026_b" / path.name).write_bytes(path.read_bytes() + b"# changed\n")
    before = stamp_of(mounted, model)
    (mounted / "..tmp").symlink_to("..2026_b")
    (mounted / "..tmp").rename(mounted / "..data")
    assert stamp_of(mounted, model) != before
    assert read_policy_files(mounted, model).fingerprint != first.fingerprint


def test_R25_the_fingerprint_covers_content_and_rejections(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    first = read_policy_files(folder, model).fingerprint
    assert read_policy_files(folder, model).fingerprint == first
    os.utime(folder / "policy.csv", (1, 1))
    assert read_policy_files(folder, model).fingerprint == first
    model.write_bytes(seed["model.conf"] + b"\n")
    second = read_policy_files(folder, model).fingerprint
    (folder / "routes.csv").unlink()
    assert len({first, second, read_policy_files(folder, model).fingerprint}) == 3


def test_the_stamp_of_a_reading_is_that_of_the_files(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    assert read_policy_files(folder, model).stamp == stamp_of(folder, model)
    (folder / "routes.csv").unlink()
    assert len(stamp_of(folder, model)) == len(seed) - 1


def test_R25_an_equal_stamp_counts_if_no_later_write_can_have_it(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes within one tick of the file system's clock: the second must be detected."""
    folder, model = write_policy(seed)

    def same_stamp(name: str, status: os.stat_result) -> FileStamp:
        return FileStamp(name, 1, 1, status.st_mtime_ns // 10**12, status.st_ctime_ns // 10**12, 1)

    monkeypatch.setattr(policy_files, "_stamp", same_stamp)
    monkeypatch.setattr(policy_files, "UNSETTLED_SECONDS", 10**12)
    young = read_policy_files(folder, model)
    (folder / "policy.csv").write_bytes(b"# written at once\n" + seed["policy.csv"])
    again = read_policy_files(folder, model, young)
    assert again.files["policy.csv"].startswith(b"# written at once")
    assert again.fingerprint != young.fingerprint
    assert not again.still_holds(stamp_of(folder, model))

    monkeypatch.setattr(policy_files, "UNSETTLED_SECONDS", -(10**12))
    old = read_policy_files(folder, model, again)
    assert old.still_holds(stamp_of(folder, model))
    (folder / "policy.csv").write_bytes(seed["policy.csv"])
    assert read_policy_files(folder, model, old) == old, "not read: no sign of a write"
    assert read_policy_files(folder, model).files["policy.csv"] == seed["policy.csv"]


def test_R25_who_may_write_is_asked_at_every_reading(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    first = read_policy_files(folder, model)
    before = stamp_of(folder, model)
    (folder / "policy.csv").chmod(0o600)
    assert stamp_of(folder, model) != before, "a change of the mode alone is detected"
    assert read_policy_files(folder, model, first).fingerprint == first.fingerprint


def test_the_packaged_policy_compiles() -> None:
    files = read_policy_files(*packaged())
    assert compile_policy(files.files, problems=files.diagnostics).generation is not None
