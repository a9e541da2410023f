"""Client for services: an auto-refreshing token client (``TokenClient``), and authorization middleware (``guard``).

It imports asyncio and aiohttp, and no other package of the sidecar, so a service has few dependencies.
"""

from sidecar.client.middleware import GUARD, IDENTITY, AuthorizationGuard, Denied, Identity, guard, public, requires
from sidecar.client.token_client import (
    Password,
    RefreshSession,
    SignInRejectedError,
    TokenClient,
    TokenError,
    TokenUnavailableError,
)

__all__ = [
    "GUARD",
    "IDENTITY",
    "AuthorizationGuard",
    "Denied",
    "Identity",
    "Password",
    "RefreshSession",
    "SignInRejectedError",
    "TokenClient",
    "TokenError",
    "TokenUnavailableError",
    "guard",
    "public",
    "requires",
]
