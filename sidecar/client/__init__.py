"""For services: a token that is always good (``TokenClient``), and a door that asks the sidecar (``guard``).

asyncio and aiohttp, and nothing else of this package: what a service imports is as small as what it needs.
"""

from sidecar.client.middleware import GUARD, IDENTITY, Denied, Guard, Identity, guard, public, requires
from sidecar.client.token_client import Password, Refresh, SignInRefused, TokenClient, TokenError, TokenUnavailable

__all__ = [
    "GUARD",
    "IDENTITY",
    "Denied",
    "Guard",
    "Identity",
    "Password",
    "Refresh",
    "SignInRefused",
    "TokenClient",
    "TokenError",
    "TokenUnavailable",
    "guard",
    "public",
    "requires",
]
