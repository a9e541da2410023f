"""Errors of an address that cannot be bound: the address, the reason, the remedy."""

import errno
import os
from pathlib import Path

import pytest

from sidecar.config.parsers import TcpAddress, UnixAddress
from sidecar.server.listeners import bind, cannot_listen

HERE = TcpAddress("127.0.0.1", 9181)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EADDRINUSE, "; choose another address, or stop the process that uses it"),
        (errno.EADDRNOTAVAIL, "; choose an address of this machine"),
        (errno.EACCES, "; choose another address, or give the sidecar's user the permission"),
        (errno.EMFILE, ""),
    ],
)
def test_the_remedy_is_one_for_what_is_wrong(number: int, remedy: str) -> None:
    why = os.strerror(number)
    said = str(cannot_listen("check", HERE, OSError(number, why)))
    assert said == f"check listener: cannot listen on 127.0.0.1:9181: {why}{remedy}"


def test_a_missing_folder_is_to_be_made(tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "nowhere" / "s.sock")
    with pytest.raises(OSError) as caught:
        bind(address)
    said = str(cannot_listen("public", address, caught.value))
    assert said.endswith(": No such file or directory; create its directory, writable by the sidecar's user")


def test_what_has_its_remedy_already_gets_no_second_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    address = UnixAddress(tmp_path / "s.sock")
    with pytest.raises(OSError) as caught:
        bind(address)
    assert str(cannot_listen("public", address, caught.value)).endswith("use a private one, such as /run/sidecar")


def test_another_librarys_words_are_kept() -> None:
    said = str(cannot_listen("grpc", HERE, RuntimeError("Failed to bind to address")))
    assert said == "grpc listener: cannot listen on 127.0.0.1:9181: Failed to bind to address"
