"""Loopback is a fact of the text: no name but one is resolved."""

import pytest

from sidecar.domain.hosts import is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("::", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_loopback_is_read_from_the_text(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
