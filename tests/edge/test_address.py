"""R7: the peer is the client, unless a trusted proxy says otherwise."""

from ipaddress import ip_network

import pytest

from sidecar.edge.address import client_address, limiter_address

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
