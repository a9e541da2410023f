"""Client for services: an auto-refreshing token client (``TokenClient``), and authorization middleware (``guard``).

It imports asyncio and aiohttp, and no other package of the sidecar, so a service has few dependencies.
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
