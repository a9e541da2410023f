"""``sidecar doctor`` tries the commands that find the masters: at the Sentinels, and at the nodes of a Cluster."""

import json
from typing import Any

import pytest
import redis

from tests.store.test_topology import cluster, pair, servers, watched

__all__ = ["cluster", "pair", "servers", "watched"]

pytestmark = pytest.mark.slow


def rights(cli: Any, url: str) -> list[tuple[str, str]]:
    found = json.loads(cli("doctor", "--json", "--redis-url", url).out)
    return [(one["status"], one["detail"]) for one in found if one["check"] == "rights"]


PERMITTED = [("ok", "every command of the sidecar is permitted")]


@pytest.mark.parametrize("password", [None, "s3cret-word"], ids=["open", "with a password"])
def test_the_sentinels_command_is_tried(
    cli: Any, watched: Any, monkeypatch: pytest.MonkeyPatch, password: str | None
) -> None:
    *_, url = watched
    command = "sentinel|get-master-addr-by-name"
    with redis.Redis(port=int(url.rpartition(":")[2].partition("/")[0])) as sentinel:
        if password:
            monkeypatch.setenv("SIDECAR_REDIS_SENTINEL_PASSWORD", password)
            sentinel.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")
        assert rights(cli, url) == PERMITTED
        sentinel.execute_command("ACL", "SETUSER", "default", f"-{command}")
        assert rights(cli, url) == [
            ("fault", f"at the Sentinels, the store's user may not run {command}: grant +{command}")
        ]


def test_the_clusters_command_is_tried_at_each_node(cli: Any, cluster: Any) -> None:
    """At last at the only seed, where no other node can be found any more."""
    _, ports = cluster
    url = f"redis+cluster://127.0.0.1:{ports[0]}"
    assert rights(cli, url) == PERMITTED
    for port in ports[::-1]:
        with redis.Redis(port=port) as node:
            node.execute_command("ACL", "SETUSER", "default", "-cluster|slots")
        assert rights(cli, url) == [
            ("fault", "at a node of the Cluster, the store's user may not run cluster|slots: grant +cluster|slots")
        ]
        with redis.Redis(port=port) as node:
            if port != ports[0]:
                node.execute_command("ACL", "SETUSER", "default", "+cluster|slots")
