"""aiohttp as a server: neutral error texts, limits on request heads, pre-serialized responses."""
