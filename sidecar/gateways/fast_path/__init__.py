"""Fast path for plain GET checks without aiohttp: request head, response cache, protocol."""
