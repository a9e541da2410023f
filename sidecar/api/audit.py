"""Audit of an account over HTTP: actor, action, target, state before and after, address. Contains no secret."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from sidecar.api.audited_policy import AuditedPolicyChange, only_policy, policy_changes
from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.request import Request, Response
from sidecar.http.schemas import Count, When
from sidecar.store.audit import MAX_PAGE, AuditFilter, AuditPage
from sidecar.store.audit_chain import AuditRow

DEFAULT_PAGE: Final = 50

Cursor = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Page = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


Selected = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Instant = Annotated[
    str,
    msgspec.Meta(
        description="RFC 3339, with Z or an offset; write + as %2B.",
        max_length=40,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$",
    ),
]


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}):
    """Page of the audit. ``after``: continue with the rows older than this one, from ``next`` of the last response.

    ``actor``: a user id, or ``operator``. ``from`` is included, ``to`` is not.
    """

    after: Cursor | None = None
    limit: Page = DEFAULT_PAGE
    actor: Selected | None = None
    target: Selected | None = None
    action: Selected | None = None
    since: Instant | None = None
    until: Instant | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. ``actor``: id of the user, null for an operator. ``target``: id of a user, key or account.

    Names and e-mails are those at the time of the change; null for an operator, a key, an account and in older rows.
    ``before`` and ``after``: the members that ``action`` changes.
    """

    seq: Count
    at: When
    action: str
    actor: str | None
    actor_name: str | None
    actor_email: str | None
    target: str | None
    target_name: str | None
    target_email: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str
    request_id: str


class AuditEntries(msgspec.Struct, frozen=True):
    """Changes, newest first. ``next`` is null after the oldest stored row; older ones are in the exported audit.

    ``policy_changes``: those in the time of the page's rows, beside ``limit``.

    A filtered page can be empty and have a ``next``: it reads a limited number of rows. ``verified_up_to``: last row
    that a signed checkpoint of the exported audit covers; null before the first.
    """

    entries: list[AuditEntry]
    next: Count | None
    verified_up_to: Count | None
    policy_changes: list[AuditedPolicyChange]


async def audit(call: Request[None]) -> Response | Problem:
    """Return the changes of the caller's account, newest first (``GET /v1/audit``)."""
    try:
        query = msgspec.convert(dict(call.query), AuditQuery, strict=False)
        only = AuditFilter(query.actor, query.target, query.action, _instant(query.since), _instant(query.until))
    except (msgspec.ValidationError, ValueError) as error:
        return Problem(
            Code.BAD_REQUEST,
            f"after and limit must be integers, limit from 1 to {MAX_PAGE}; from and to must be times like "
            f"2026-11-24T09:30:00Z: {error}",
        )
    account, log = call.caller.record.account, call.app.people.audit
    if only_policy(only):
        page = AuditPage((), None)
    else:
        page = await log.page(account, after=query.after, limit=query.limit, only=only)
    entries = [_entry(row) for row in page.rows]
    changes = await policy_changes(call.app, account, only, after=query.after, until=page.next)
    return Response(200, AuditEntries(entries, page.next, await log.verified(account), changes))


def _instant(text: str | None) -> int | None:
    """Return Unix milliseconds. Raises ValueError for a date that does not exist."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        seq=row.seq,
        at=datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds"),
        action=row.action,
        actor=row.actor or None,
        actor_name=row.actor_name,
        actor_email=row.actor_email,
        target=row.target or None,
        target_name=row.target_name,
        target_email=row.target_email,
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
