"""The store's content as plain commands: to restore an older state, and to keep one in a file."""

from typing import Any

from sidecar.store.connection import Store

Commands = list[list[str]]


async def commands(store: Store) -> Commands:
    """Return commands that write every key again, by type, with the rest of its time to live."""
    client = store.client
    found: Commands = []
    for key in sorted([key async for key in client.scan_iter("*", count=1000)]):
        match await client.type(key):
            case "hash":
                found.append(["HSET", key, *[word for pair in (await client.hgetall(key)).items() for word in pair]])
            case "set":
                found.append(["SADD", key, *sorted(await client.smembers(key))])
            case "zset":
                pairs = await client.zrange(key, 0, -1, withscores=True)
                found.append(["ZADD", key, *[word for name, score in pairs for word in (f"{score:.0f}", name)]])
            case "stream":
                for entry, fields in await client.xrange(key):
                    found.append(["XADD", key, entry, *[word for pair in fields.items() for word in pair]])
            case "string":
                found.append(["SET", key, await client.get(key)])
            case other:
                raise AssertionError(f"{key} is a {other}")
        if (left := await client.pttl(key)) > 0:
            found.append(["PEXPIRE", key, str(left)])
    return found


async def put_back(store: Store, kept: Commands) -> None:
    """Replace the whole content at once, as a loaded older dump does."""
    client: Any = store.client
    async with client.pipeline(transaction=True) as pipe:
        pipe.flushdb()
        for words in kept:
            pipe.execute_command(*words)
        await pipe.execute()
