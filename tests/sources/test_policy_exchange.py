"""Replacement of several policy files: all or none, also after a kill at any point, and no reader sees a mixture."""

import contextlib
import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import renamed_files
from sidecar.policy.rename.target import RenameTarget
from sidecar.sources import policy_exchange, policy_journal
from sidecar.sources.policy_exchange import PolicyWriteError, replace_files
from sidecar.sources.policy_files import packaged, read_policy_files

BEFORE: Mapping[str, bytes] = read_policy_files(*packaged()).files
GENERATION = compile_policy(BEFORE, proof=ProofScope.NONE).draft
assert GENERATION is not None
CHANGED = renamed_files(BEFORE, RenameTarget(RenameKind.SECTION, "media-library", "assets"), GENERATION)
AFTER = {**BEFORE, **CHANGED}
ROUNDS = 40

PROGRAM = """
import sys, time
from pathlib import Path
from tests.sources.test_policy_exchange import BEFORE, CHANGED
from sidecar.sources import policy_exchange, policy_journal, durable_files
if sys.argv[2] == "journal":
    policy_exchange._can_exchange = lambda *_: False
print("ready", flush=True)
policy_exchange.replace_files(Path(sys.argv[1]), BEFORE, CHANGED)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policy"
    shutil.copytree(packaged()[0], made)
    shutil.copy(packaged()[1], tmp_path / "model.conf")
    (made / "notes.txt").write_text("ours\n", encoding="utf-8")
    (made / "drafts").mkdir()
    (made / "drafts" / "policy.csv").write_text("p, x\n", encoding="utf-8")
    (made / ".hidden").symlink_to("notes.txt")
    return made


def read(folder: Path) -> dict[str, bytes]:
    return dict(read_policy_files(folder, folder.parent / "model.conf").files)


def on_disk(folder: Path) -> dict[str, bytes]:
    """The files as they are, without the completion of a journal."""
    return {name: (folder / name).read_bytes() for name in BEFORE if name != "model.conf"}


def by_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_exchange, "_exchange", unable(errno.EINVAL))


def unable(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("journal", [False, True])
def test_all_files_change_and_all_else_stays(folder: Path, journal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o750)
    (folder / "policy.csv").chmod(0o640)
    rest = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    inode = (folder / "notes.txt").stat().st_ino
    if journal:
        by_journal(monkeypatch)
    replace_files(folder, BEFORE, CHANGED)
    assert read(folder) == AFTER
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == rest
    assert (folder / "notes.txt").stat().st_ino == inode
    assert (folder / ".hidden").readlink() == Path("notes.txt")
    assert folder.stat().st_mode & 0o777 == 0o750
    assert (folder / "policy.csv").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model.conf", "policy"]


def test_the_folder_is_exchanged_in_one_step(folder: Path) -> None:
    inode = folder.stat().st_ino
    replace_files(folder, BEFORE, CHANGED)
    assert folder.stat().st_ino != inode


@pytest.mark.parametrize("number", sorted(policy_exchange.UNABLE))
def test_a_journal_where_an_exchange_is_impossible(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_exchange, "_exchange", unable(number))
    inode = folder.stat().st_ino
    replace_files(folder, BEFORE, CHANGED)
    assert (read(folder), folder.stat().st_ino) == (AFTER, inode)
    assert not (folder.parent / ".policy.renaming").exists()


def test_a_working_directory_in_the_folder_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    replace_files(Path(), BEFORE, CHANGED)
    assert read(folder) == AFTER
    assert Path.cwd().samefile(folder)


def test_links_to_the_folder_and_to_files_stay(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "shared.csv"
    (folder / "policy.csv").rename(target)
    (folder / "policy.csv").symlink_to(target)
    (tmp_path / "link").symlink_to("policy")
    replace_files(tmp_path / "link", BEFORE, CHANGED)
    assert read(folder) == AFTER
    assert (folder / "policy.csv").readlink() == target
    assert target.read_bytes() == AFTER["policy.csv"]


# -- kills


def killed(folder: Path, how: str, delay: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), how], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exchange", "journal"])
def test_a_kill_at_any_time_leaves_no_mixture(folder: Path, how: str) -> None:
    chance = random.Random(18)
    seen = set()
    for number in range(ROUNDS):
        shutil.rmtree(folder)
        shutil.copytree(packaged()[0], folder)
        killed(folder, how, chance.uniform(0, 0.012))
        found = read(folder)
        assert found in (BEFORE, AFTER), number
        assert on_disk(folder) == {name: found[name] for name in on_disk(folder)}, "a reader completes the files"
        seen.add(found == AFTER)
        replace_files(folder, found, CHANGED)
        assert read(folder) == AFTER
        assert not (folder.parent / ".policy.renaming").exists()
    assert seen == {True, False}, "kills before and after"


@pytest.mark.parametrize("journal", [False, True])
def test_a_crash_at_each_step_leaves_no_mixture(folder: Path, journal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call that changes the disk is once the last one that is made."""
    if journal:
        by_journal(monkeypatch)
    outcomes = []
    for last in range(200):
        shutil.rmtree(folder)
        shutil.rmtree(folder.parent / ".policy.renaming", ignore_errors=True)
        shutil.copytree(packaged()[0], folder)
        with monkeypatch.context() as crash:
            over = crash_after(last, crash)
            with contextlib.suppress(Crash):
                replace_files(folder, BEFORE, CHANGED)
        found = read(folder)
        assert found in (BEFORE, AFTER), last
        assert on_disk(folder) == {name: found[name] for name in on_disk(folder)}
        outcomes.append(found == AFTER)
        if not over():
            break
    assert outcomes == sorted(outcomes), "before some step nothing is changed, and from it on everything"
    assert len(outcomes) > 8
    assert set(outcomes) == {True, False}


class Crash(BaseException):
    pass


def crash_after(last: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Let ``last`` calls through, and end at each later one: also in clean-up code, as a kill would."""
    count = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count > last:
                raise Crash
            return real(*args, **named)

        return call

    for name in ("fsync", "link", "replace", "rename", "unlink", "mkdir", "rmdir", "chmod"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(policy_exchange, "_exchange", counted(policy_exchange._exchange))
    return lambda: count > last


def test_a_reader_that_may_not_write_reads_the_journal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy_journal.write(folder, BEFORE, CHANGED)
    (folder / "policy.csv").write_bytes(AFTER["policy.csv"])
    for name in ("replace_file", "write_new"):
        monkeypatch.setattr(policy_journal, name, unable(errno.EROFS))
    found = read_policy_files(folder, folder.parent / "model.conf")
    assert (found.files, found.diagnostics) == (AFTER, ())
    assert on_disk(folder)["routes.csv"] == BEFORE["routes.csv"]
    again = read_policy_files(folder, folder.parent / "model.conf", found)
    assert again.files == AFTER
    monkeypatch.undo()
    assert read(folder) == AFTER
    assert not policy_journal.exists(folder)


def test_a_reader_beside_a_rename_waits_for_nobody(folder: Path) -> None:
    policy_journal.write(folder, BEFORE, CHANGED)
    with (folder / policy_journal.JOURNAL).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert read(folder) == AFTER
        assert policy_journal.exists(folder)


def test_a_later_edit_is_never_overwritten(folder: Path) -> None:
    policy_journal.write(folder, BEFORE, CHANGED)
    edited = BEFORE["policy.csv"] + b"# mine\n"
    (folder / "policy.csv").write_bytes(edited)
    found = read_policy_files(folder, folder.parent / "model.conf")
    (problem,) = found.diagnostics
    assert (problem.code.value, problem.severity.value) == ("interrupted-rename", "error")
    assert str(folder / "policy.csv") in problem.message
    assert on_disk(folder)["policy.csv"] == edited
    with pytest.raises(PolicyWriteError, match=r"then delete .*\.rename-journal"):
        replace_files(folder, found.files, CHANGED)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"{}\n" + data, lambda data: b"\xff" + data]
)
def test_a_damaged_journal_rejects_the_policy(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    policy_journal.write(folder, BEFORE, CHANGED)
    journal = folder / policy_journal.JOURNAL
    journal.write_bytes(damage(journal.read_bytes()))
    found = read_policy_files(folder, folder.parent / "model.conf")
    assert [one.code.value for one in found.diagnostics] == ["interrupted-rename"]
    assert compile_policy(found.files, problems=found.diagnostics).generation is None


def test_R25_a_journal_that_all_users_can_write_is_rejected(folder: Path) -> None:
    policy_journal.write(folder, BEFORE, CHANGED)
    (folder / policy_journal.JOURNAL).chmod(0o666)
    found = read_policy_files(folder, folder.parent / "model.conf")
    assert [one.code.value for one in found.diagnostics] == ["interrupted-rename"]


# -- refusals


@pytest.mark.parametrize("journal", [False, True])
def test_an_edit_meanwhile_is_kept(folder: Path, journal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if journal:
        by_journal(monkeypatch)
    (folder / "roles.toml").write_bytes(BEFORE["roles.toml"] + b"# mine\n")
    with pytest.raises(PolicyWriteError, match="changed meanwhile"):
        replace_files(folder, BEFORE, CHANGED)
    assert on_disk(folder)["policy.csv"] == BEFORE["policy.csv"]


@pytest.mark.parametrize("edit", ["routes.csv", "new.txt"])
def test_an_edit_during_the_copy_is_kept(folder: Path, edit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = policy_exchange._exchange
    first = True

    def late(*args: Path) -> None:
        nonlocal first
        if first:
            (folder / edit).write_bytes(b"mine\n")
        first = False
        real(*args)

    monkeypatch.setattr(policy_exchange, "_exchange", late)
    with pytest.raises(PolicyWriteError, match="changed meanwhile"):
        replace_files(folder, BEFORE, CHANGED)
    assert (folder / edit).read_bytes() == b"mine\n"
    assert on_disk(folder)["policy.csv"] == BEFORE["policy.csv"]
    assert not (folder.parent / ".policy.renaming").exists()


def test_two_renames_at_once_are_one(folder: Path) -> None:
    with policy_exchange._locked(folder), pytest.raises(PolicyWriteError, match="another rename"):
        replace_files(folder, BEFORE, CHANGED)


def test_a_folder_that_cannot_be_written_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_exchange, "_exchange", unable(errno.EACCES))
    monkeypatch.setattr(policy_journal, "write_new", unable(errno.EACCES))
    with pytest.raises(PolicyWriteError, match=r"policy: cannot be written \(Permission denied\): let this user"):
        replace_files(folder, BEFORE, CHANGED)
    assert read(folder) == BEFORE


def test_a_reading_during_an_exchange_is_of_one_version(folder: Path) -> None:
    stop = threading.Event()
    mixtures = []

    def look() -> None:
        while not stop.is_set():
            found = read(folder)
            if found not in (BEFORE, AFTER):
                mixtures.append(found)

    reader = threading.Thread(target=look)
    reader.start()
    back = {name: BEFORE[name] for name in CHANGED}
    for _ in range(30):
        replace_files(folder, BEFORE, CHANGED)
        replace_files(folder, AFTER, back)
    stop.set()
    reader.join()
    assert mixtures == []
