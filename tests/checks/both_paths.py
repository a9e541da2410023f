"""One application on two ports: behind the fast path, and behind aiohttp alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import CHECKS
from sidecar.gateways.fast_path.protocol import FastPathListener
from sidecar.http.context import AppContext
from sidecar.http.server.connection import HttpServer


@asynccontextmanager
async def both_paths(app: AppContext, *, max_head: int) -> AsyncIterator[tuple[int, int]]:
    """Serve the checks of ``app``. Yields the port of the fast path and that of aiohttp alone."""
    running = asyncio.get_running_loop()
    dispatcher = Dispatcher(app, CHECKS, checks=True)
    slow = HttpServer(dispatcher, access_log=None, max_line_size=max_head, max_field_size=max_head)
    fast = FastPathListener(app, slow, max_head=max_head, idle=75)
    servers = [await running.create_server(handler, "127.0.0.1", 0) for handler in (fast, slow)]
    first, second = (server.sockets[0].getsockname()[1] for server in servers)
    try:
        yield first, second
    finally:
        for server in servers:
            server.close()
        await slow.shutdown(1)
