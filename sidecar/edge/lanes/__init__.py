"""How bytes come in and go out: aiohttp's server with its own words taken away, and the fast lane in front of it."""
