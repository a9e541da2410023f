"""Errors of an address that cannot be bound: the address, the reason, the remedy."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.config.parsers import TcpAddress, UnixAddress
from sidecar.server.listeners import LOCALHOST, LOOPBACK, bind, bind_all, cannot_listen

HERE = TcpAddress("127.0.0.1", 9181)
HERE_ANY = TcpAddress("127.0.0.1", 0)


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


def bound_of(sockets: list[socket.socket]) -> list[tuple[str, int]]:
    found = [one.getsockname()[:2] for one in sockets]
    for one in sockets:
        one.close()
    return found


def without(absent: dict[str, int]) -> Callable[..., socket.socket]:
    """Return `bind` on a machine on which binding these hosts fails with the error number."""

    def failing(address: TcpAddress, *, shared: bool = False) -> socket.socket:
        if address.host in absent:
            raise OSError(absent[address.host], os.strerror(absent[address.host]))
        return bind(TcpAddress("127.0.0.1", address.port), shared=shared)

    return failing


def test_localhost_is_every_loopback_address_of_the_machine() -> None:
    found = bound_of(bind_all(TcpAddress(LOCALHOST, 0)))
    assert len({port for _, port in found}) == 1
    assert [host for host, _ in found] == list(LOOPBACK)[: len(found)]
    assert bound_of(bind_all(HERE_ANY))[0][0] == "127.0.0.1"


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
@pytest.mark.parametrize("host", LOOPBACK)
def test_localhost_without_one_family_is_the_other(monkeypatch: pytest.MonkeyPatch, host: str, number: int) -> None:
    monkeypatch.setattr("sidecar.server.listeners.bind", without({host: number}))
    assert len(bound_of(bind_all(TcpAddress(LOCALHOST, 0)))) == 1


def test_localhost_without_any_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.listeners.bind", without(dict.fromkeys(LOOPBACK, errno.EADDRNOTAVAIL)))
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        bind_all(TcpAddress(LOCALHOST, 0))


def test_localhost_in_use_on_one_address_is_an_error() -> None:
    """Another program on the other address would get half of the browsers."""
    for host in LOOPBACK:
        try:
            taken = bind(TcpAddress(host, 0))
        except OSError as error:
            pytest.skip(f"{host} is not an address of this machine: {error}")
        with taken:
            taken.listen()
            with pytest.raises(OSError) as caught:
                bind_all(TcpAddress(LOCALHOST, taken.getsockname()[1]))
            assert caught.value.errno == errno.EADDRINUSE
