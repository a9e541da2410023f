"""The audit of an account over HTTP: who did what to whom, before and after, from where. Never a secret."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from sidecar.domain.problems import Code, Problem
from sidecar.http.request import Call, Endpoint, May, Reply
from sidecar.http.schemas import Count, When
from sidecar.store.audit import MAX_PAGE, AuditRow

DEFAULT_PAGE: Final = 50

Cursor = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Page = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


class Asked(msgspec.Struct, frozen=True):
    """``after``: go on behind this row, toward older ones; what ``next`` said."""

    after: Cursor | None = None
    limit: Page = DEFAULT_PAGE


class Entry(msgspec.Struct, frozen=True):
    """``by``: a user's id, null for an operator. ``whom``: a user's, a key's, an account's. Before and after: what
    ``what`` changes, as it was and as it is."""

    number: Count
    at: When
    what: str
    by: str | None
    whom: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str
    request_id: str


class Entries(msgspec.Struct, frozen=True):
    """Newest first. ``next`` is null where what is kept ends; what is older stands in the exported audit."""

    entries: list[Entry]
    next: Count | None


async def audit(call: Call[None]) -> Reply | Problem:
    """``GET /v1/audit``: the changes of my account, newest first."""
    try:
        asked = msgspec.convert(dict(call.query), Asked, strict=False)
    except msgspec.ValidationError as error:
        return Problem(Code.BAD_REQUEST, f"after and limit are whole numbers, limit from 1 to {MAX_PAGE}: {error}")
    page = await call.parts.people.audit.page(call.caller.record.account, after=asked.after, limit=asked.limit)
    return Reply(200, Entries([_entry(row) for row in page.rows], page.next))


def _entry(row: AuditRow) -> Entry:
    return Entry(
        number=row.number,
        at=datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds"),
        what=row.what,
        by=row.by or None,
        whom=row.whom or None,
        before=None if row.before is None else dict(row.before),
        after=None if row.after is None else dict(row.after),
        address=row.address,
        request_id=row.request_id,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v1/audit",
        May("audit", "view"),
        audit,
        "Who did what to whom, newest first",
        statuses=(200, 400),
        answer=Entries,
        query=Asked,
    ),
)
