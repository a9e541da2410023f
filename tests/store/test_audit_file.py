"""The exported audit's file: whole lines or none, closed to others, one writer after the other."""

import errno
import os
import threading

import pytest

from sidecar.store import audit_export
from sidecar.store.audit_export import AuditFile


@pytest.fixture
def file(tmp_path):
    return AuditFile(tmp_path / "state" / "audit.jsonl")


async def test_R32_lines_are_added_to_a_file_that_only_its_owner_reads(file):
    before = os.umask(0)
    try:
        await file.write(b"1\n2\n")
        await file.write(b"3\n")
    finally:
        os.umask(before)
    assert file.path.read_bytes() == b"1\n2\n3\n"
    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("torn", [b"{", b"x" * 200_000])
@pytest.mark.parametrize("whole", [b"", b"1\n", b"1\n" + b"y" * 100_000 + b"\n"])
async def test_R32_a_torn_row_is_removed_before_the_next_write(file, whole, torn):
    """The torn part was never sealed: its rows are exported again."""
    file.path.parent.mkdir()
    file.path.write_bytes(whole + torn)
    await file.write(b"2\n")
    assert file.path.read_bytes() == whole + b"2\n"


async def test_R32_a_full_disk_leaves_no_half_of_a_batch(file, monkeypatch):
    await file.write(b"1\n")
    real = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(audit_export.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        await file.write(b"2\n3\n")
    monkeypatch.setattr(audit_export.os, "fsync", real)
    assert file.path.read_bytes() == b"1\n"
    await file.write(b"2\n")
    assert file.path.read_bytes() == b"1\n2\n"


async def test_a_link_in_its_place_is_not_followed(file, tmp_path):
    file.path.parent.mkdir()
    (tmp_path / "elsewhere").write_text("")
    file.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        await file.write(b"1\n")
    assert (tmp_path / "elsewhere").read_text() == ""


def test_R32_writers_on_one_directory_take_turns(file):
    batches = [b"".join(b"%d.%d\n" % (writer, n) for n in range(200)) for writer in range(8)]
    threads = [threading.Thread(target=file._append, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = file.path.read_bytes()
    assert len(written) == sum(map(len, batches))
    assert all(batch in written for batch in batches)
