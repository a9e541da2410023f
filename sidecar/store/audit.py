"""Audit log: actor, action, target, state before and after, and source of each change. Scripts write their own rows.

Rows are numbered without gaps (R32); a row's ``seq`` is its id in the stream. The scripts write no secrets.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.domain.users import AccountId, Actor
from sidecar.store import keys
from sidecar.store.audit_chain import PEOPLE, AuditRow
from sidecar.store.connection import Store
from sidecar.store.integrity.feed_entries import fields_of

MAX_PAGE: Final = 500

SYSTEM: Final = AccountId("")
"""Log of events outside all accounts: policy, keys, the store itself."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Rows, newest first. ``next``: value of ``after`` for the next page; None at the end of the kept rows."""

    rows: tuple[AuditRow, ...]
    next: int | None


class Audit:
    """Audit operations. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, account: AccountId, *, after: int | None = None, limit: int = 50) -> AuditPage:
        """Return rows older than row ``after``; without it, the newest. At most MAX_PAGE rows."""
        wanted = max(1, min(limit, MAX_PAGE))
        newest = "+" if after is None else f"({after}-0"
        log = log_of(account, self._store.partitions)
        found = await self._store.command("XREVRANGE", log, newest, "-", "COUNT", wanted + 1)
        rows = tuple(row_of(entry_id, fields) for entry_id, fields in found[:wanted])
        return AuditPage(rows, rows[-1].seq if len(found) > wanted else None)

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
    """Return the row of a stream entry. Rows of schema 1 have other field names."""
    fields = {_SCHEMA_1.get(name, name): value for name, value in fields_of(raw).items()}
    return AuditRow(
        seq=int(entry_id.partition("-")[0]),
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
