"""Discovery of the masters through Sentinels and Cluster nodes. Returns slots with places; decides nothing else."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from redis import exceptions

from sidecar.store.servers.address import Place
from sidecar.store.servers.connection_pools import Pools

Slots = list[tuple[int, int, Place]]

ALL_SLOTS: Final = (0, 16383)
_UNREACHABLE: Final = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)


async def read_cluster(seeds: Iterable[Place], clients: Pools) -> Slots:
    """Return the slots of the first node that responds: known nodes first, then seeds, which may no longer exist."""
    problem: Exception = exceptions.ClusterDownError("no node of the cluster answers")
    for place in dict.fromkeys((*clients.places, *seeds)):
        try:
            raw = await clients.client(place).execute_command("CLUSTER", "SLOTS")
            found = sorted(
                (int(first), int(last), (_host(master[0], place), int(master[1]))) for first, last, master, *_ in raw
            )
        except _UNREACHABLE as error:
            problem = error
            continue
        except (TypeError, ValueError, IndexError):
            raise exceptions.ResponseError("the answer to CLUSTER SLOTS names no masters") from None
        if found:
            return found
    raise problem


async def read_sentinels(name: str, known: Place | None, clients: Pools) -> Slots:
    """Return the master that the Sentinels name.

    During a fail-over they may differ. A server other than ``known`` that reports the role of a master has priority,
    then the one that most Sentinels name.
    """
    answers = await asyncio.gather(*(_master(sentinel, name) for sentinel in clients.sentinels), return_exceptions=True)
    votes = Counter(answer for answer in answers if isinstance(answer, tuple))
    for place, _ in votes.most_common():
        if known not in (None, place) and await _is_master(clients.client(place)):
            return [(*ALL_SLOTS, place)]
    if votes:
        return [(*ALL_SLOTS, votes.most_common(1)[0][0])]
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, _UNREACHABLE):
            raise answer
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    raise exceptions.ConnectionError(f"the Sentinels have no master of the name {name!r}")


async def _master(sentinel: Any, name: str) -> Place | None:
    """Read GET-MASTER-ADDR-BY-NAME: it names a promoted replica seconds before SENTINEL MASTERS does."""
    raw = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    if raw is None:
        return None
    if not isinstance(raw, list | tuple) or len(raw) != 2 or not str(raw[1]).isdecimal():
        raise exceptions.ResponseError("the answer to SENTINEL names no master")
    return str(raw[0]), int(raw[1])


async def _is_master(client: Any) -> bool:
    try:
        raw = await client.execute_command("ROLE")
    except exceptions.NoPermissionError:
        return True
    except (exceptions.RedisError, OSError, TimeoutError):
        return False
    return isinstance(raw, list | tuple) and bool(raw) and raw[0] == "master"


async def denied_by_cluster(seeds: Iterable[Place], clients: Pools) -> list[str]:
    """Return the discovery command if a node denies it: permissions are separate at each node."""
    nodes = {*seeds, *clients.places}
    with suppress(exceptions.RedisError, OSError, TimeoutError):
        nodes |= {place for _, _, place in await read_cluster(seeds, clients)}
    return await _denied([clients.client(node) for node in sorted(nodes)], "cluster|slots")


async def denied_by_sentinels(name: str, clients: Pools) -> list[str]:
    """Return the discovery command if a Sentinel denies it."""
    return await _denied(clients.sentinels, "sentinel|get-master-addr-by-name", name)


async def _denied(clients: Iterable[Any], command: str, *arguments: str) -> list[str]:
    """Return the command if it is denied. Servers that do not respond are skipped."""
    for client in clients:
        try:
            await client.execute_command(*command.upper().split("|"), *arguments)
        except exceptions.NoPermissionError:
            return [command]
        except (exceptions.RedisError, OSError, TimeoutError):
            continue
    return []


def _host(reported: str, queried: str | Place) -> str:
    """Return the host that the node names; if it names none, the host of the request."""
    return reported if reported and reported != "?" else queried[0]
