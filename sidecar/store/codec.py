"""Conversion of replies to values. Handles JSON that differs by server: an empty table, 1 or 1.0.

The scripts are part of this package, so a missing field is a bug and raises. No default grants access.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from sidecar.domain.factors import FactorId
from sidecar.domain.labels import NO_LABELS, labels_of
from sidecar.domain.sessions import LiveSession, Method, Proof
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

LABELINGS: Final = 4096

_labels_of = lru_cache(LABELINGS)(labels_of)
"""Labels by their text: users of one account share a mapping."""
_METHODS: Final = {method.value: method for method in Method}


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
        sessions=_sessions_of(found.get("ss")),
        epoch_changed_at=seconds(found.get("tvt", 0)),
        mailbox=mailbox,
        review=_review_of(found) if "hold" in found else None,
        labels=_labels_of(found["labels"]) if "labels" in found else NO_LABELS,
        factors={FactorId(factor): seconds(counts) for factor, counts in pairs(found.get("fa"))},
    )


def _sessions_of(flat: Any) -> dict[SessionId, LiveSession]:
    """Return the sessions of a flat list: id, end, last proof, proofs."""
    listed = iter(items(flat))
    return {
        SessionId(sid): LiveSession(seconds(ends), seconds(at), proofs_of(text))
        for sid, ends, at, text in zip(listed, listed, listed, listed, strict=True)
    }


def proofs_of(text: str) -> tuple[Proof, ...]:
    """Return the proofs of a stored text: words ``method:factor:milliseconds``. Raises an error for another form."""
    return tuple([_proof_of(*word.split(":")) for word in text.split()])


def _proof_of(method: str, factor: str, at: str) -> Proof:
    return Proof(_METHODS[method], factor, int(at) // 1000)


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
        token_only=found.get("api") == "1",
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
        labels=_labels_of(found.get("labels", "")),
    )


def position_of(reply: Mapping[str, Any]) -> Position:
    return Position(partition=reply["partition"], n=integer(reply["n"]), durable=reply.get("durable", True))


def info_fields(reply: Any) -> dict[str, str]:
    """Return the fields of an INFO reply: text, or a mapping if redis-py has parsed it."""
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    lines = (line.partition(":") for line in str(reply).splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in lines}
