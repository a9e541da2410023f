"""Audit log: actor, action, target, state before and after, and source of each change. Scripts write their own rows.

Rows are numbered without gaps (R32); a row's ``seq`` is its id in the stream. The scripts write no secrets.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.domain.users import AccountId, Actor
from sidecar.store import keys
from sidecar.store.audit_chain import PEOPLE, AuditRow
from sidecar.store.connection import Store
from sidecar.store.integrity.feed_entries import fields_of

MAX_PAGE: Final = 500
MAX_SCAN: Final = 2000
"""Rows that one filtered page reads. The next page continues where it stopped."""
SCAN_BATCH: Final = 250
"""Rows that a filtered page reads at once; checks are served in between."""
OPERATOR: Final = "operator"
"""Actor of rows without a user, in a filter."""

SYSTEM: Final = AccountId("")
"""Log of events outside all accounts: policy, keys, the store itself."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Rows, newest first. ``next``: value of ``after`` for the next page; None at the end of the kept rows."""

    rows: tuple[AuditRow, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selection of rows; None selects all. ``since`` (included) and ``until`` (excluded): Unix milliseconds.

    ``actor``: a user id, or OPERATOR.
    """

    actor: str | None = None
    target: str | None = None
    action: str | None = None
    since: int | None = None
    until: int | None = None

    def selects(self, fields: Mapping[str, str]) -> bool:
        """Return whether the row with these stored fields is selected."""
        if self.actor is not None and (fields["actor"] or OPERATOR) != self.actor:
            return False
        if self.target is not None and fields["target"] != self.target:
            return False
        if self.action is not None and fields["action"] != self.action:
            return False
        at = int(fields["t"])
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


ALL_ROWS: Final = AuditFilter()


class Audit:
    """Audit operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, account: AccountId, *, after: int | None = None, limit: int = 50, only: AuditFilter = ALL_ROWS
    ) -> AuditPage:
        """Return selected rows older than row ``after``; without it, the newest. At most MAX_PAGE rows.

        A filtered page reads at most MAX_SCAN rows. It can be empty and have a ``next``.
        """
        wanted = max(1, min(limit, MAX_PAGE))
        log = log_of(account, self._store.partitions)
        batch = wanted + 1 if only == ALL_ROWS else SCAN_BATCH
        rows: list[AuditRow] = []
        last, scanned = after, 0
        while scanned < MAX_SCAN:
            newest = "+" if last is None else f"({last}-0"
            found = await self._store.command("XREVRANGE", log, newest, "-", "COUNT", batch)
            for entry_id, raw in found:
                if not only.selects(fields := _fields(raw)):
                    continue
                if len(rows) == wanted:
                    return AuditPage(tuple(rows), rows[-1].seq)
                rows.append(_row(entry_id, fields))
            if len(found) < batch:
                return AuditPage(tuple(rows), None)
            last, scanned = _seq(found[-1][0]), scanned + len(found)
        return AuditPage(tuple(rows), last)

    async def times(self, account: AccountId, *, after: int | None, until: int | None) -> tuple[int | None, int | None]:
        """Return the times (Unix milliseconds) of row ``until`` and of row ``after``, the bounds of a page.

        Without ``until`` the first is the time of the oldest kept row. None: there is no such row.
        """
        log = log_of(account, self._store.partitions)
        first = await self._store.command("XRANGE", log, "-" if until is None else f"{until}-0", "+", "COUNT", 1)
        last = [] if after is None else await self._store.command("XRANGE", log, f"{after}-0", "+", "COUNT", 1)
        return _time(first), _time(last)

    async def verified(self, account: AccountId) -> int | None:
        """Return the last row that an exported checkpoint signs; None if there is none."""
        signed = await self._store.command("HGET", f"{log_of(account, self._store.partitions)}:seal", "signed")
        return int(signed) if signed else None

    async def note(
        self,
        action: str,
        actor: Actor,
        *,
        target: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> int:
        """Write a row for an event outside the accounts' scripts: keys rotated, a backup taken. Returns its ``seq``."""
        row = {
            "action": action,
            "actor": actor.user or "",
            "target": target,
            "before": _text(before),
            "after": _text(after),
            "addr": actor.address,
            "req": actor.request_id,
            "rid": self._store.request_id(),
        }
        reply = await self._store.run("audit_note", [keys.system_log()], row, write=True)
        return int(float(reply["n"]))


def log_of(account: AccountId, partitions: int) -> str:
    """Return the key of the account's log, or of the SYSTEM log."""
    return keys.system_log() if account == SYSTEM else f"{keys.account(account, partitions)}:log"


_SCHEMA_1: Final = {"k": "action", "by": "actor", "u": "target"}


def row_of(entry_id: str, raw: Any) -> AuditRow:
    """Return the row of a stream entry."""
    return _row(entry_id, _fields(raw))


def _fields(raw: Any) -> dict[str, str]:
    """Return the fields of a stream entry. Rows of schema 1 have other names."""
    return {_SCHEMA_1.get(name, name): value for name, value in fields_of(raw).items()}


def _time(found: Sequence[tuple[str, Any]]) -> int | None:
    return int(_fields(found[0][1])["t"]) if found else None


def _seq(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _row(entry_id: str, fields: Mapping[str, str]) -> AuditRow:
    return AuditRow(
        seq=_seq(entry_id),
        at=int(fields["t"]),
        action=fields["action"],
        actor=fields["actor"],
        target=fields["target"],
        before=json.loads(fields["before"]) if fields["before"] else None,
        after=json.loads(fields["after"]) if fields["after"] else None,
        address=fields["addr"],
        request_id=fields["req"],
        **{name: fields.get(name) for name in PEOPLE},
    )


def _text(values: Mapping[str, Any] | None) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False, sort_keys=True)
