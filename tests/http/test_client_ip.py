"""R7: the peer is the client, unless a trusted proxy names another one."""

from ipaddress import ip_network

import pytest

from sidecar.http import client_ip as address_module
from sidecar.http.client_ip import MAX_PROXIES, client_address, limiter_address

TRUSTED = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", [b"198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6", b"198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [b"10.0.0.3"], "10.0.0.1"),
        (None, [b"198.51.100.1"], "unix"),
        ("::ffff:10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", [b"6.6.6.6, ::ffff:198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        ("::ffff:192.0.2.1", [b"198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [b"198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6:1, 198.51.100.1:50000, 10.0.0.2:443"], "198.51.100.1"),
        ("10.0.0.1", [b"[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", [b"[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", [b"2001:DB8:0::1"], "2001:db8::1"),
        ("10.0.0.1", [b"2001:db8::1%anything"], "2001:db8::1"),
        ("10.0.0.1", [b"[::ffff:198.51.100.1]:4711"], "198.51.100.1"),
        ("10.0.0.1", [b"198.51.100.1:"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1:port"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1:471100"], "10.0.0.1"),
        ("10.0.0.1", [b"[198.51.100.1:4711"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100:4711"], "10.0.0.1"),
        ("10.0.0.1", [b"6.6.6.6, " + b"1" * 100], "10.0.0.1"),
        ("10.0.0.1", [b"," * 100 + b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6,"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1" + b", 10.0.0.2" * (MAX_PROXIES - 1)], "198.51.100.1"),
        ("10.0.0.1", [b"198.51.100.1" + b", 10.0.0.2" * MAX_PROXIES], "10.0.0.1"),
    ],
)
def test_R7_client_address(peer: str | None, forwarded: list[bytes], expected: str) -> None:
    headers = [(b"X-Forwarded-For", value) for value in forwarded]
    assert client_address(peer, headers, TRUSTED) == expected


def test_R7_a_unix_socket_is_trusted_by_name() -> None:
    headers = [(b"X-Forwarded-For", b"198.51.100.1")]
    assert client_address(None, headers, ("unix",)) == "198.51.100.1"
    assert client_address(None, headers, TRUSTED) == "unix"
    assert client_address(None, [], ("unix",)) == "unix"


def test_R7_nobody_is_trusted_by_default() -> None:
    assert client_address("10.0.0.1", [(b"X-Forwarded-For", b"198.51.100.1")], ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", "unix"),
    ],
)
def test_R7_limits_count_ipv6_by_64(address: str, expected: str) -> None:
    assert limiter_address(address) == expected


@pytest.mark.parametrize("tail", [b"198.51.100.1", b"", b"nonsense", b"198.51.100.1:80, 10.0.0.2"])
def test_R7_nothing_is_read_beyond_the_entry_that_counts(monkeypatch: pytest.MonkeyPatch, tail: bytes) -> None:
    """The client controls the entries to the left of it, up to the length of a head."""
    read: list[str] = []

    def counted(entry: str) -> object:
        read.append(entry)
        return forwarded_address(entry)

    forwarded_address = address_module.forwarded_address
    monkeypatch.setattr(address_module, "forwarded_address", counted)
    client_address("10.0.0.1", [(b"X-Forwarded-For", b"6.6.6.6," * 4000), (b"x-forwarded-for", tail)], TRUSTED)
    assert len(read) == tail.count(b",") + 1
