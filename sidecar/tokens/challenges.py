"""Sealed challenges of second steps, without a stored state (R36).

A challenge contains its purpose, its user or none, the user's epoch, an expiry and a nonce, and a MAC over them. Only
its use and its failed attempts are stored. The MAC is also the challenge that a passkey signs.
"""

import hmac
import re
from base64 import b32encode
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.domain.users import UserId
from sidecar.tokens.ids import letters
from sidecar.tokens.opaque import Pepper, Purpose

CHALLENGE_SECONDS: Final = 300
NONCE_BYTES: Final = 17
"""Bytes of entropy of one challenge: 130 bits, 26 characters."""

MAX_CHALLENGE: Final = 200
"""Characters of a challenge, with room."""


class ChallengePurpose(StrEnum):
    """Use of a challenge. One of another purpose is invalid."""

    SIGN_IN = "signin"
    """Second step of a browser, after its password."""

    TOKEN = "token"  # noqa: S105 (a name, not a secret)
    """Second step of the password grant."""

    PASSKEY = "passkey"
    """Sign-in by a passkey alone. It has no user."""

    STEP_UP = "stepup"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Content of a challenge. ``user`` is empty for a sign-in by passkey. ``expires_at``: Unix seconds."""

    purpose: ChallengePurpose
    user: UserId
    epoch: int
    expires_at: int
    nonce: str

    def signed_bytes(self, pepper: Pepper) -> bytes:
        """Return the MAC: 32 bytes that a passkey signs."""
        return pepper.mac(
            Purpose.CHALLENGE, self.purpose.value, self.user, str(self.epoch), str(self.expires_at), self.nonce
        )

    def text(self, pepper: Pepper) -> str:
        """Return the challenge for the client."""
        own = self.user.removeprefix("usr_") or "none"
        mac = b32encode(self.signed_bytes(pepper)).decode("ascii").rstrip("=").lower()
        return f"ch_{self.purpose.value}_{own}_{self.epoch}_{self.expires_at}_{self.nonce}_{mac}"


_CHALLENGE: Final = re.compile(
    r"ch_(signin|token|passkey|stepup)_(none|[a-z2-7]{12}_[a-z2-7]{12})"
    r"_(0|[1-9][0-9]{0,14})_([1-9][0-9]{0,11})_([a-z2-7]{26})_([a-z2-7]{52})"
)


def new_challenge(
    purpose: ChallengePurpose, user: UserId | None, epoch: int, *, now: float, entropy: bytes
) -> Challenge:
    """Return a challenge that is valid for `CHALLENGE_SECONDS`. ``entropy``: 17 random bytes."""
    expires_at = int(now) + CHALLENGE_SECONDS
    return Challenge(purpose, user or UserId(""), epoch, expires_at, letters(entropy, 26))


def read_challenge(pepper: Pepper, text: str, purpose: ChallengePurpose, now: float) -> Challenge | None:
    """Return an authentic, unexpired challenge of this purpose, else None. Its use must still be claimed."""
    match = _CHALLENGE.fullmatch(text) if len(text) <= MAX_CHALLENGE else None
    if match is None or match[1] != purpose.value:
        return None
    user = UserId("") if match[2] == "none" else UserId("usr_" + match[2])
    challenge = Challenge(purpose, user, int(match[3]), int(match[4]), match[5])
    if not hmac.compare_digest(challenge.text(pepper), text):
        return None
    return challenge if challenge.expires_at > now else None
