"""The forward proxy of the environment: chosen by URL and NO_PROXY, its password never shown."""

import base64

import pytest

from sidecar.sources.forward_proxy import InvalidProxyError, proxy_for

KEYS = "https://login.example/keys"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_without_the_variable_there_is_no_proxy(monkeypatch):
    assert proxy_for(KEYS) is None
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert proxy_for(KEYS) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    ("named", "url"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example"),
        ("http://[::1]:3128/", "http://[::1]:3128"),
    ],
)
def test_the_keys_come_through_HTTPS_PROXY(monkeypatch, name, named, url):
    monkeypatch.setenv(name, named)
    assert proxy_for(KEYS).url == url
    assert proxy_for("http://127.0.0.1:9/keys") is None, "plain HTTP is for this machine alone"


def test_R24_proxy_credentials_are_sent_and_never_shown(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s%40cret@proxy.example:3128")
    proxy = proxy_for(KEYS)
    assert proxy.headers == {"Proxy-Authorization": "Basic " + base64.b64encode(b"me:s@cret").decode()}
    assert proxy.url == "http://proxy.example:3128"
    assert "cret" not in repr(proxy)
    for bad in ("socks5://me:s%40cret@proxy.example", "http://me:s%40cret@proxy.example:x", "http://me:s%40cret@"):
        monkeypatch.setenv("HTTPS_PROXY", bad)
        with pytest.raises(InvalidProxyError, match="HTTPS_PROXY") as caught:
            proxy_for(KEYS)
        assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "url", "direct"),
    [
        ("*", KEYS, True),
        ("login.example", KEYS, True),
        (" other.example , LOGIN.example", KEYS, True),
        ("example", KEYS, True),
        (".example", KEYS, True),
        ("*.example", KEYS, True),
        ("ogin.example", KEYS, False),
        ("login.example.com", KEYS, False),
        ("login.example:443", KEYS, True),
        ("login.example:8443", KEYS, False),
        ("login.example:8443", "https://login.example:8443/keys", True),
        ("", KEYS, False),
        (",", KEYS, False),
        ("10.0.0.0/8", "https://10.1.2.3/keys", True),
        ("10.1.2.3", "https://10.1.2.3/keys", True),
        ("10.0.0.0/8", "https://11.1.2.3/keys", False),
        ("::1", "https://[::1]/keys", True),
        ("[::1]:443", "https://[::1]/keys", True),
        ("[::1]:444", "https://[::1]/keys", False),
    ],
)
def test_NO_PROXY_has_hosts_subdomains_addresses_and_networks(monkeypatch, listed, url, direct):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", listed)
    assert (proxy_for(url) is None) is direct
