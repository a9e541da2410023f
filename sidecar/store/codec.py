"""Conversion of replies to values. Handles JSON that differs by server: an empty table, 1 or 1.0.

The scripts are part of this package, so a missing field is a bug and raises. No default grants access.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sidecar.domain.users import (
    Account,
    AccountId,
    Invitation,
    Member,
    Review,
    Seats,
    SessionId,
    Status,
    UserId,
    UserRecord,
    is_mailbox_of,
)
from sidecar.store.outcomes import Position


def integer(value: Any) -> int:
    """Return the int of an int, 1.0, ``"1"`` or ``"1764000000000.0"``. Exact below 2**53."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(float(value))


def seconds(milliseconds: Any) -> int:
    return integer(milliseconds) // 1000


def optional_seconds(milliseconds: Any) -> int | None:
    return None if milliseconds in (None, "") else seconds(milliseconds)


def items(value: Any) -> list[Any]:
    """Return the list. Servers encode an empty list in different forms."""
    return value if isinstance(value, list) else []


def pairs(flat: Any) -> Iterable[tuple[Any, Any]]:
    listed = iter(items(flat))
    return zip(listed, listed, strict=True)


def record_of(account: AccountId, found: Mapping[str, Any]) -> UserRecord:
    status = Status(found["st"])
    if status is Status.ACTIVE and found["acst"] != Status.ACTIVE:
        status = Status.SUSPENDED
    mailbox = found.get("mb") or found["em"]
    return UserRecord(
        id=UserId(found["id"]),
        account=account,
        email=found["em"],
        name=found["name"],
        role=found["role"],
        status=status,
        epoch=integer(found["tv"]),
        revision=integer(found["rv"]),
        email_verified=status in {Status.ACTIVE, Status.SUSPENDED}
        and found["ev"] == "1"
        and is_mailbox_of(mailbox, found["em"]),
        sessions={SessionId(sid): seconds(ends) for sid, ends in pairs(found.get("ss"))},
        epoch_changed_at=seconds(found.get("tvt", 0)),
        mailbox=mailbox,
        review=_review_of(found) if "hold" in found else None,
    )


def _review_of(found: Mapping[str, Any]) -> Review:
    hold = json.loads(found["hold"])
    return Review(hold["role"], found["role"], hold["status"], found["st"], seconds(hold["t"]))


def member_of(account: AccountId, found: Mapping[str, Any]) -> Member:
    return Member(
        record=record_of(account, found),
        created_at=seconds(found["created"]),
        last_login_at=optional_seconds(found.get("seen")),
        invite_expires_at=optional_seconds(found.get("exp")),
        inviter=found.get("inviter") or None,
    )


def seats_of(found: Mapping[str, Any]) -> Seats:
    invitations = (Invitation(UserId(uid), email, seconds(ends)) for uid, email, ends in items(found["inv"]))
    return Seats(
        cap=integer(found["cap"]),
        members=integer(found["members"]),
        invitations=tuple(sorted(invitations, key=lambda pending: (pending.expires_at, pending.user))),
    )


def account_of_reply(reply: Mapping[str, Any]) -> Account:
    found = reply["a"]
    return Account(
        id=AccountId(found["id"]),
        name=found["name"],
        status=Status(found["st"]),
        created_at=seconds(found["created"]),
        seats=seats_of(reply["seats"]),
    )


def position_of(reply: Mapping[str, Any]) -> Position:
    return Position(partition=reply["partition"], n=integer(reply["n"]), durable=reply.get("durable", True))


def info_fields(reply: Any) -> dict[str, str]:
    """Return the fields of an INFO reply: text, or a mapping if redis-py has parsed it."""
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    lines = (line.partition(":") for line in str(reply).splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in lines}
