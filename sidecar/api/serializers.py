"""JSON of users, seats, invitations, sessions and grants."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from sidecar.domain.users import Member, Review, Seats, SessionId, UserRecord
from sidecar.http.request import Request
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.login import AccountRequired, LoginOutcome, ResetRequired
from sidecar.identity.sessions import Client, Grant, InvalidGrant
from sidecar.store.live.fleet import Revocation
from sidecar.store.sessions import Session

Text = Annotated[str, msgspec.Meta(max_length=320)]
"""An e-mail, name or id as typed. `identity` validates it."""

RoleName = Annotated[str, msgspec.Meta(max_length=128)]

Secret = Annotated[str, msgspec.Meta(max_length=8192)]
"""A password or a token as typed."""


MAX_AGENT: Final = 1024
"""Bytes of User-Agent that are read. A session stores 200 printable characters of them."""


def when(seconds: int | None) -> str | None:
    """Return a time in RFC 3339, UTC. ``seconds``: Unix time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def user_json(record: UserRecord) -> dict[str, Any]:
    """Return a user as ``GET /v1/me`` and ``/token`` show it."""
    return {
        "id": record.id,
        "email": record.email,
        "name": record.name,
        "role": record.role,
        "status": record.status.value,
        "account": record.account,
    }


def member_json(member: Member) -> dict[str, Any]:
    """Return a user as the list of users shows it."""
    shown = user_json(member.record)
    del shown["account"]
    return {
        **shown,
        "created_at": when(member.created_at),
        "last_login_at": when(member.last_login_at),
        "invite_expires_at": when(member.invite_expires_at),
        "review": review_json(member.record.review),
    }


def review_json(review: Review | None) -> dict[str, Any] | None:
    """Return the lost change for which a user is held (R48), or None."""
    if review is None:
        return None
    return {
        "role_before": review.role_before,
        "role_now": review.role_now,
        "status_before": review.status_before,
        "status_now": review.status_now,
        "since": when(review.since),
    }


def seats_json(seats: Seats, contact: str) -> dict[str, Any]:
    """Return the seats. ``contact``: address for ordering more (SIDECAR_SEAT_CONTACT); null if empty."""
    return {
        "cap": seats.cap,
        "used": seats.used,
        "members": seats.members,
        "invited": len(seats.invitations),
        "available": seats.available,
        "contact": contact or None,
    }


def full_json(seats: Seats, contact: str) -> dict[str, Any]:
    """Return the seats of a full account, with the invitations that could be ended to free one."""
    pending = [{"id": one.user, "email": one.email, "expires_at": when(one.expires_at)} for one in seats.invitations]
    return {**seats_json(seats, contact), "invitations": pending}


def revocation_json(revocation: Revocation) -> dict[str, Any]:
    """Return the progress of a change at the time of its response (R31)."""
    return {
        "complete": revocation.complete,
        "sidecars": revocation.sidecars,
        "waited_ms": revocation.waited_ms,
    }


def revocation_headers(revocation: Revocation) -> tuple[tuple[str, str], ...]:
    """Return headers with the revision of a change (R30), and whether all sidecars have applied it."""
    return (
        ("X-Sidecar-Revision", str(revocation.revision)),
        ("X-Sidecar-Revocation", "complete" if revocation.complete else "incomplete"),
    )


def session_json(session: Session, current: SessionId) -> dict[str, Any]:
    return {
        "id": session.id,
        "current": session.id == current,
        "created_at": when(session.created_at),
        "refreshed_at": when(session.refreshed_at),
        "expires_at": when(session.expires_at),
        "address": session.address,
        "agent": session.agent,
    }


def grant_json(grant: Grant) -> dict[str, Any]:
    """Return a token response (RFC 6749 section 5.1) with its user."""
    return {
        "access_token": grant.access_token,
        "token_type": "Bearer",
        "expires_in": grant.expires_in,
        "refresh_token": grant.refresh_token,
        "scope": "",
        "account": grant.record.account,
        "user": user_json(grant.record),
    }


def client_of(call: Request[Any]) -> Client:
    """Return the client of a request, for the session list and the audit."""
    agents = [value for name, value in call.headers if name.lower() == b"user-agent"]
    agent = agents[0][:MAX_AGENT].decode("latin-1") if agents else ""
    return Client(call.address, "".join(char for char in agent if char.isprintable()), call.request_id)


_LABELS: Final[dict[type[Any], str]] = {
    Grant: "granted",
    InvalidGrant: "invalid_grant",
    AccountRequired: "account_required",
    ResetRequired: "password_reset_required",
    Limited: "rate_limited",
    Overloaded: "overloaded",
}


def count_login(call: Request[Any], outcome: LoginOutcome) -> None:
    """Count a login by its outcome, for all endpoints that sign in."""
    call.app.metrics.logins.labels(_LABELS[type(outcome)]).inc()
