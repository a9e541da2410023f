"""Lists of hosts in a store's URL, on every Python: some versions of `urlsplit` reject brackets in them."""

import pytest

from sidecar.config import urls
from sidecar.config.settings import SettingsError, load
from sidecar.store.errors import StoreMismatchError
from sidecar.store.servers import address
from sidecar.store.servers.address import parse_address
from sidecar.store.servers.connection_pools import Patience
from sidecar.store.servers.topology import topology

PATIENCE = Patience(0.1, 0.1)
LISTS = [
    ("redis+cluster://a:7000,[::1]:7001", [("a", 7000), ("::1", 7001)]),
    ("redis+cluster://[::1]:7000,[::2],b", [("::1", 7000), ("::2", 6379), ("b", 6379)]),
    ("redis+cluster://u:p%40ss@a,[fe80::1]:7001", [("a", 6379), ("fe80::1", 7001)]),
    ("redis+sentinel://u:p@a:1,[::1]:2/mymaster/3", [("a", 1), ("::1", 2)]),
]


@pytest.fixture
def strict(monkeypatch):
    """`urlsplit` rejects lists, as upstream since 3.11.12."""

    def split(_url):
        raise ValueError("Invalid IPv6 URL")

    monkeypatch.setattr(urls, "urlsplit", split)
    assert not hasattr(address, "urlsplit")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(("url", "places"), LISTS)
async def test_every_python_understands_a_list_of_hosts(url, places):
    assert load({"redis_url": url}, {}).redis_url == url
    assert list(parse_address(url).places) == places
    await topology(url, patience=PATIENCE).close()


@pytest.mark.parametrize("url", ["redis+cluster://a,,b", "redis+cluster://a,", "redis+sentinel://u:pw@,a/m"])
def test_a_list_with_an_empty_place_is_no_such_url(url):
    with pytest.raises(SettingsError, match="list of hosts has an empty place") as refused:
        load({"redis_url": url}, {})
    assert "pw" not in str(refused.value)
    with pytest.raises(StoreMismatchError, match="list of hosts has an empty place"):
        topology(url, patience=PATIENCE)
