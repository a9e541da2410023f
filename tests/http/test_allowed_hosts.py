"""R8: API, console and ops listener accept their own host names alone, so that no other page reaches them by DNS
rebinding.
"""

import pytest

from sidecar.http.allowed_hosts import host_names, is_ours

NAMES = host_names("https://dash.example.com:8443/base", ["metrics.corp.example.com"])


@pytest.mark.parametrize(
    "host",
    [
        None,
        "dash.example.com",
        "DASH.example.com:8443",
        "dash.example.com.",
        "metrics.corp.example.com:9182",
        "127.0.0.1:9181",
        "[::1]:9181",
        "10.1.2.3",
        "localhost:9181",
        "sidecar",
        "sidecar:9181",
        "sidecar.shop.svc:9181",
        "sidecar.shop.svc.cluster.local",
    ],
)
def test_R8_names_of_ours(host: str | None) -> None:
    assert is_ours(host, NAMES)


@pytest.mark.parametrize(
    "host",
    ["", ":9181", "evil.com", "evil.com:9181", "dash.example.com.evil.com", "127.0.0.1.evil.com", "[evil.com]", "a.b"],
)
def test_R8_other_names_are_not(host: str) -> None:
    assert not is_ours(host, NAMES)
