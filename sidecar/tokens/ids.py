"""Ids of accounts, users, sessions and PEPs: generated from the caller's entropy, parsed without a lookup.

A user id contains its account id. A request therefore finds the account's keys, and an id of another account is
rejected before any lookup. Text that does not match exactly is rejected.
"""

import base64
import re
from typing import Final

from sidecar.domain.users import AccountId, SessionId, UserId

ENTROPY_BYTES: Final = 17
"""Bytes that each ``new_…`` function needs: enough for the longest id (26 characters of 5 bits)."""

_ACCOUNT: Final = re.compile(r"acc_[a-z2-7]{12}")
_USER: Final = re.compile(r"usr_([a-z2-7]{12})_[a-z2-7]{12}")
_SESSION: Final = re.compile(r"ses_[a-z2-7]{26}")


def letters(entropy: bytes, count: int) -> str:
    """Return ``count`` characters of ``[a-z2-7]``, five bits of ``entropy`` each.

    Raises ValueError if it is too short.
    """
    if len(entropy) * 8 < count * 5:
        raise ValueError(f"{len(entropy)} bytes of entropy are too few for {count} characters")
    return base64.b32encode(entropy).decode("ascii").lower()[:count]


def new_account_id(entropy: bytes) -> AccountId:
    """Return a new account id, ``acc_`` and 12 characters of ``entropy``."""
    return AccountId("acc_" + letters(entropy, 12))


def new_user_id(account: AccountId, entropy: bytes) -> UserId:
    """Return a new user id within ``account``. Raises ValueError if ``account`` is malformed."""
    if not is_account_id(account):
        raise ValueError("a user id needs a well-formed account id")
    return UserId(f"usr_{account[4:]}_{letters(entropy, 12)}")


def new_session_id(entropy: bytes) -> SessionId:
    """Return a new session id, ``ses_`` and 26 characters of ``entropy``."""
    return SessionId("ses_" + letters(entropy, 26))


def is_account_id(text: str) -> bool:
    """Return True if ``text`` has the form of an account id."""
    return _ACCOUNT.fullmatch(text) is not None


def is_session_id(text: str) -> bool:
    """Return True if ``text`` has the form of a session id."""
    return _SESSION.fullmatch(text) is not None


def account_of(user: str) -> AccountId | None:
    """Return the account id inside a user id, or None if ``user`` is not a user id."""
    match = _USER.fullmatch(user)
    return None if match is None else AccountId("acc_" + match[1])
