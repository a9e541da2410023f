"""aiohttp as a server: its own error texts removed, limits on heads, responses that are bytes already."""
