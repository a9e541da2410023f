"""Lists of hosts in a store's URL, also where `urlsplit` rejects brackets that are not the whole host."""

from urllib.parse import urlsplit

import pytest

from sidecar.serve import urls
from sidecar.serve.settings import SettingsError, load
from sidecar.store import topology as topologies
from sidecar.vocabulary.host_lists import one_per_host

LISTS = [
    ("redis+cluster://a:7000,[::1]:7001", [("a", 7000), ("::1", 7001)]),
    ("redis+cluster://[::1]:7000,[::2],b", [("::1", 7000), ("::2", 6379), ("b", 6379)]),
    ("redis+cluster://u:p%40ss@a,[fe80::1]:7001", [("a", 6379), ("fe80::1", 7001)]),
    ("redis+sentinel://u:p@a:1,[::1]:2/mymaster/3", [("a", 1), ("::1", 2)]),
]


@pytest.fixture
def strict(monkeypatch):
    """`urlsplit` as upstream has it since 3.11.12: one host a URL, and brackets around nothing less."""

    def split(url):
        host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        if "," in host or ("[" in host and not host.startswith("[")):
            raise ValueError("Invalid IPv6 URL")
        return urlsplit(url)

    monkeypatch.setattr(urls, "urlsplit", split)
    monkeypatch.setattr(topologies, "urlsplit", split)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(("url", "places"), LISTS)
async def test_every_python_understands_a_list_of_hosts(url, places):
    assert load({"redis_url": url}, {}).redis_url == url
    found = topologies.topology(url, patience=0.1)
    if url.startswith("redis+cluster"):
        assert found._seeds == places
    else:
        at = [each.connection_pool.connection_kwargs for each in found.sentinel.sentinels]
        assert [(each["host"], each["port"]) for each in at] == places
        assert found.only.connection_pool.connection_kwargs["db"] == 3
    await found.close()


@pytest.mark.parametrize("url", ["redis+cluster://a,,b", "redis+cluster://a,", "redis+sentinel://u:pw@,a/m"])
def test_a_list_with_an_empty_place_is_no_such_url(url):
    with pytest.raises(SettingsError, match="list of hosts has an empty place") as refused:
        load({"redis_url": url}, {})
    assert "pw" not in str(refused.value)
    with pytest.raises(topologies.StoreRefused, match="not a store's address"):
        topologies.topology(url, patience=0.1)


@pytest.mark.parametrize("url", ["redis://a,b/0", "unix:///a,b", "smtp://a,b", "redis+cluster:a,b", "", "a,b"])
def test_other_urls_are_left_as_they_are(url):
    assert one_per_host(url) == [url]
