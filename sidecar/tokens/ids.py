"""The forms of ids: account, user, session, PEP. Made from entropy that the caller brings; read without a lookup.

A user id carries its account, so a request finds the account's keys, and an id of another account is seen as such,
before anything is asked. What does not have exactly the form is no id: ``None``, never a guess.
"""

import base64
import re
from typing import Final

from sidecar.domain.users import AccountId, SessionId, UserId

ENTROPY_BYTES: Final = 17
"""What every ``new_…`` wants: enough for the longest id (26 characters of 5 bits)."""

_ACCOUNT: Final = re.compile(r"acc_[a-z2-7]{12}")
_USER: Final = re.compile(r"usr_([a-z2-7]{12})_[a-z2-7]{12}")
_SESSION: Final = re.compile(r"ses_[a-z2-7]{26}")


def letters(entropy: bytes, count: int) -> str:
    """``count`` characters of ``[a-z2-7]``, five bits of ``entropy`` each."""
    if len(entropy) * 8 < count * 5:
        raise ValueError(f"{len(entropy)} bytes of entropy are too few for {count} characters")
    return base64.b32encode(entropy).decode("ascii").lower()[:count]


def new_account_id(entropy: bytes) -> AccountId:
    return AccountId("acc_" + letters(entropy, 12))


def new_user_id(account: AccountId, entropy: bytes) -> UserId:
    if not is_account_id(account):
        raise ValueError("a user id needs a well-formed account id")
    return UserId(f"usr_{account[4:]}_{letters(entropy, 12)}")


def new_session_id(entropy: bytes) -> SessionId:
    return SessionId("ses_" + letters(entropy, 26))


def is_account_id(text: str) -> bool:
    return _ACCOUNT.fullmatch(text) is not None


def is_session_id(text: str) -> bool:
    return _SESSION.fullmatch(text) is not None


def account_of(user: str) -> AccountId | None:
    """The account that a user id names, or None when ``user`` is not a user id."""
    match = _USER.fullmatch(user)
    return None if match is None else AccountId("acc_" + match[1])
