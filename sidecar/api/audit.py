"""Audit of an account over HTTP: actor, action, target, state before and after, address. Contains no secret."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.request import Request, Response
from sidecar.http.schemas import Count, When
from sidecar.store.audit import MAX_PAGE
from sidecar.store.audit_chain import AuditRow

DEFAULT_PAGE: Final = 50

Cursor = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Page = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


class AuditQuery(msgspec.Struct, frozen=True):
    """Page of the audit. ``after``: continue with the rows older than this one, from ``next`` of the last response."""

    after: Cursor | None = None
    limit: Page = DEFAULT_PAGE


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. ``actor``: id of the user, null for an operator. ``target``: id of a user, key or account.

    ``before`` and ``after``: the members that ``action`` changes.
    """

    seq: Count
    at: When
    action: str
    actor: str | None
    target: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str
    request_id: str


class AuditEntries(msgspec.Struct, frozen=True):
    """Changes, newest first. ``next`` is null after the oldest stored row; older ones are in the exported audit."""

    entries: list[AuditEntry]
    next: Count | None


async def audit(call: Request[None]) -> Response | Problem:
    """Return the changes of the caller's account, newest first (``GET /v1/audit``)."""
    try:
        asked = msgspec.convert(dict(call.query), AuditQuery, strict=False)
    except msgspec.ValidationError as error:
        return Problem(Code.BAD_REQUEST, f"after and limit must be integers, limit from 1 to {MAX_PAGE}: {error}")
    page = await call.app.people.audit.page(call.caller.record.account, after=asked.after, limit=asked.limit)
    return Response(200, AuditEntries([_entry(row) for row in page.rows], page.next))


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        seq=row.seq,
        at=datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds"),
        action=row.action,
        actor=row.actor or None,
        target=row.target or None,
        before=None if row.before is None else dict(row.before),
        after=None if row.after is None else dict(row.after),
        address=row.address,
        request_id=row.request_id,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v1/audit",
        RequirePermission("audit", "view"),
        audit,
        "Changes of my account, newest first",
        statuses=(200, 400),
        response_schema=AuditEntries,
        query=AuditQuery,
    ),
)
