"""API: the endpoint table, its handlers, and the dispatcher of all requests that aiohttp reads."""
