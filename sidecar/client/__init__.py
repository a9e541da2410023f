"""Client for services: an auto-refreshing token client (``TokenClient``), and authorization middleware (``guard``).

It imports asyncio and aiohttp, and no other package of the sidecar, so a service has few dependencies.
"""

from sidecar.client.errors import SignInRejectedError, StepUpError, TokenError, TokenUnavailableError
from sidecar.client.middleware import GUARD, IDENTITY, AuthorizationGuard, Denied, Identity, guard, public, requires
from sidecar.client.step_up import StepUpCallback, StepUpChallenge, StepUpProof
from sidecar.client.token_client import Password, RefreshSession, TokenClient

__all__ = [
    "GUARD",
    "IDENTITY",
    "AuthorizationGuard",
    "Denied",
    "Identity",
    "Password",
    "RefreshSession",
    "SignInRejectedError",
    "StepUpCallback",
    "StepUpChallenge",
    "StepUpError",
    "StepUpProof",
    "TokenClient",
    "TokenError",
    "TokenUnavailableError",
    "guard",
    "public",
    "requires",
]
