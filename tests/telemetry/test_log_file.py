"""The decision log's file: whole lines on every kind of file, its mode, and a check of it without side effects."""

import os
import stat
import threading
from pathlib import Path
from select import PIPE_BUF

import pytest

from sidecar.telemetry import log_file
from sidecar.telemetry.log_file import LogFile, pieces, try_to_open

LINE = b'{"number":%06d,"filler":"' + b"x" * 300 + b'"}\n'
TURN = b"".join(LINE % number for number in range(256))


class Pipe:
    """A pipe that is read to its end. ``written``: each write, as passed to the kernel."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(path)
        self.read = b""
        self.written: list[int] = []
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._end, True)
        self._thread = threading.Thread(target=self._run)
        write = os.write
        monkeypatch.setattr(log_file.os, "write", lambda to, data: self.written.append(len(data)) or write(to, data))

    def start(self) -> None:
        """Start the reader once there is a writer: without one, the end is read at once."""
        self._thread.start()

    def all(self) -> bytes:
        self._thread.join(30)
        os.close(self._end)
        return self.read

    def _run(self) -> None:
        while data := os.read(self._end, 65536):
            self.read += data


def test_a_write_to_a_pipe_is_whole_lines_of_atomic_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(tmp_path / "pipe", monkeypatch)
    file = LogFile(tmp_path / "pipe")
    pipe.start()
    assert file.write(TURN) == len(TURN)
    file.close()
    assert pipe.all() == TURN
    assert max(pipe.written) <= PIPE_BUF
    assert all(size % len(LINE % 0) == 0 for size in pipe.written)


def test_to_a_file_a_turn_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write
    monkeypatch.setattr(log_file.os, "write", lambda to, data: sizes.append(len(data)) or write(to, data))
    file = LogFile(tmp_path / "file")
    file.write(TURN)
    file.close()
    assert sizes == [len(TURN)]


@pytest.mark.parametrize("most", [1, 7, 10, 11, 100])
def test_pieces_are_whole_lines_and_nothing_is_missing(most: int) -> None:
    lines = b"one\ntwo\nthe third is longer\n\nlast\n"
    cut = list(pieces(lines, most))
    assert b"".join(cut) == lines
    assert all(piece.endswith(b"\n") for piece in cut)
    assert all(len(piece) <= most or piece.count(b"\n") == 1 for piece in cut)


def test_R24_the_file_is_not_for_everybody(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        file = LogFile(tmp_path / "decisions.jsonl")
        file.reopen()
    finally:
        os.umask(before)
    file.close()
    assert stat.S_IMODE((tmp_path / "decisions.jsonl").stat().st_mode) == 0o640


def test_half_a_line_on_a_full_disk_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [10]
    write = os.write

    def until_full(to: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken = write(to, data[: room[0]])
        room[0] -= taken
        return taken

    file = LogFile(tmp_path / "file")
    monkeypatch.setattr(log_file.os, "write", until_full)
    assert file.write(b"one two\nthree four\n") == 10
    assert file.write(b"five\n") == 0
    room[0] = 100
    assert file.write(b"six\n") == 4
    file.close()
    assert (tmp_path / "file").read_bytes() == b"one two\nth\nsix\n"


def test_a_pipe_that_nobody_reads_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        LogFile(tmp_path / "pipe")


def test_a_look_makes_nothing_and_says_what_opening_would(tmp_path: Path) -> None:
    try_to_open(tmp_path / "new.jsonl")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.jsonl").write_bytes(b"kept\n")
    try_to_open(tmp_path / "old.jsonl")
    assert (tmp_path / "old.jsonl").read_bytes() == b"kept\n"
    try_to_open(Path("/dev/null"))
    with pytest.raises(FileNotFoundError):
        try_to_open(tmp_path / "nowhere" / "new.jsonl")
    with pytest.raises(IsADirectoryError):
        try_to_open(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_look_finds_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            try_to_open(tmp_path / "new.jsonl")
    finally:
        tmp_path.chmod(0o755)
