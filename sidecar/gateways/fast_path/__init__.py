"""A plain GET of a check without aiohttp: request head, response cache, and the protocol that reads sockets."""
