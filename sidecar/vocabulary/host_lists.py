"""Store URLs that list several hosts: `redis+cluster://a:7000,[::1]:7001`, `redis+sentinel://a,b/mymaster`.

The list is split before `urlsplit` sees it: since 3.11.12, 3.12.9 and 3.13.2 (and Debian's 3.11.2) it rejects brackets
that are not the whole host.
"""

import re


def one_per_host(url: str) -> list[str]:
    """The URL once per host of its list; a URL of another kind as it is."""
    found = re.match(r"([a-z]+\+(?:sentinel|cluster)://)([^/?#]*)", url)
    if found is None:
        return [url]
    userinfo, at, hosts = found[2].rpartition("@")
    return [f"{found[1]}{userinfo}{at}{host}{url[found.end() :]}" for host in hosts.split(",")]
