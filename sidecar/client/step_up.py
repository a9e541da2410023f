"""Step-up of the client's session: a callback proves the user again, and the same token goes on.

A service asks for it by the challenge of RFC 9470. Concurrent requests share one step-up.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from sidecar.client.errors import StepUpError

PATH: Final = "/v1/session/step-up"
TIMEOUT: Final = 10.0
KINDS: Final = frozenset({"password", "code", "recovery_code", "credential"})
"""Proofs of a callback. Exactly one is needed."""


@dataclass(frozen=True, slots=True)
class StepUpChallenge:
    """Proof that a service asks for.

    ``condition``: its name in the policy, or empty. ``max_age``: the age in seconds that a proof may have. ``methods``:
    those of the user. ``passkey``: request options of WebAuthn.
    """

    condition: str
    max_age: int | None
    methods: tuple[str, ...]
    passkey: Mapping[str, Any] | None = field(repr=False)


StepUpProof = Mapping[str, Any]
"""``{"password": …}`` for a user without a second factor, else ``code``, ``recovery_code`` or ``credential``."""

StepUpCallback = Callable[[StepUpChallenge], StepUpProof | Awaitable[StepUpProof | None] | None]
"""Returns a proof, or None to leave the request denied. It is called on the event loop."""


class StepUps:
    """Step-ups at the sidecar at ``url``. Without ``callback`` no request is repeated."""

    def __init__(self, url: str, callback: StepUpCallback | None) -> None:
        self._url = url
        self._callback = callback
        self._lock = asyncio.Lock()
        self.done = 0
        """Number of step-ups so far."""

    async def helps(
        self, session: aiohttp.ClientSession, token: str, response: aiohttp.ClientResponse, seen: int
    ) -> bool:
        """Return True if the request can be repeated: the session has a new proof since ``seen`` (of `done`).

        Raises StepUpError if a proof is rejected.
        """
        wanted = _challenge(response)
        if wanted is None or self._callback is None:
            return False
        async with self._lock:
            return self.done != seen or await self._step_up(session, token, wanted, self._callback)

    async def _step_up(self, session: aiohttp.ClientSession, token: str, wanted: str, callback: StepUpCallback) -> bool:
        options = await self._post(session, f"{PATH}/options", token, None)
        methods, passkey, challenge = (options.get(name) for name in ("methods", "passkey", "challenge"))
        names = tuple(map(str, methods)) if isinstance(methods, list) else ()
        proof = await _proof(callback, StepUpChallenge(*_wanted(wanted), names, passkey))
        if proof is None:
            return False
        await self._post(session, PATH, token, proof if "password" in proof else {**proof, "challenge": challenge})
        self.done += 1
        return True

    async def _post(
        self, session: aiohttp.ClientSession, path: str, token: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        headers, timeout = {"Authorization": f"Bearer {token}"}, aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            # No redirect: a password must not reach another host.
            async with session.post(
                self._url + path, json=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                found = await response.json(content_type=None) if "json" in response.content_type else {}
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise StepUpError("", f"no response from the sidecar's {path}: {type(error).__name__}") from None
        answer = found if isinstance(found, dict) else {}
        if status != 200:
            raise StepUpError(str(answer.get("code", "")), str(answer.get("detail", f"status {status}")))
        return answer


async def _proof(callback: StepUpCallback, challenge: StepUpChallenge) -> StepUpProof | None:
    """Return the callback's proof. StepUpError omits the callback's message, which may contain a secret."""
    try:
        result = callback(challenge)
        proof: Any = await result if isinstance(result, Awaitable) else result
    except Exception as error:
        raise StepUpError("", f"the step-up function failed: {type(error).__name__}") from None
    if proof is not None and (not isinstance(proof, Mapping) or len(proof) != 1 or not KINDS.issuperset(proof)):
        raise StepUpError("", f"the step-up function must return None or one of {', '.join(sorted(KINDS))}")
    return proof


def _challenge(response: aiohttp.ClientResponse) -> str | None:
    """Return the challenge of RFC 9470 section 3, if the response has one."""
    if response.status != 401:
        return None
    for value in response.headers.getall("WWW-Authenticate", ()):
        if 'error="insufficient_user_authentication"' in value:
            return value
    return None


_CONDITION: Final = re.compile(r'\bacr_values="([a-z0-9-]{1,40})"')
_MAX_AGE: Final = re.compile(r'\bmax_age="?([0-9]{1,9})\b')


def _wanted(challenge: str) -> tuple[str, int | None]:
    condition, max_age = _CONDITION.search(challenge), _MAX_AGE.search(challenge)
    return condition[1] if condition else "", int(max_age[1]) if max_age else None
