"""Backup of accounts to a file, and their restore into this or another Redis.

The file is JSON lines: a head, each account followed by its audit, and an end with count and hash. The file holds
digests and password hashes, so its mode is 0600. It holds neither keys nor sessions. A restore raises every epoch and
sets a new data set id, so no earlier token passes, revoked or not. Revocations without an epoch stay if this store has
them: revoked PEP keys, and subjects denied for their user.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.codec import integer, items, pairs
from sidecar.store.connection import Store
from sidecar.store.maintenance.archive import FORM, ArchiveHead, ArchiveRules, read
from sidecar.store.maintenance.archive_records import MEMBERS, InvalidBackupError
from sidecar.store.maintenance.backup_target import backup_target
from sidecar.store.maintenance.restore import Progress, Restore, Restored
from sidecar.store.maintenance.startup_checks import SCHEMA
from sidecar.store.scripting import run_read
from sidecar.tokens.opaque import Pepper

__all__ = ["ArchiveRules", "Backup", "BackupSummary", "InvalidBackupError", "Restored"]

READABLE: Final = ("1", "2", SCHEMA)
"""Readable schemas of backups. Schema 2 added the fields of held users, schema 3 the labels of accounts."""
ROWS: Final = 200
"""Audit rows per line."""
TAKES: Final = 5
"""Maximum reads of an account with an audit that is exported and trimmed meanwhile."""


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """Numbers in a backup. ``users``: members. ``invited``: invitations that have not expired."""

    accounts: int
    users: int
    invited: int = 0

    def __add__(self, other: "BackupSummary") -> "BackupSummary":
        return BackupSummary(self.accounts + other.accounts, self.users + other.users, self.invited + other.invited)


class Backup:
    """Backups of one store. ``pepper`` signs the data set of a restore; without it, running sidecars do not follow."""

    def __init__(self, store: Store, pepper: Pepper | None = None) -> None:
        self._store = store
        self._pepper = pepper

    async def save(self, path: Path, accounts: Iterable[AccountId] | None = None) -> BackupSummary:
        """Write a new file beside ``path`` and move it there when complete. Raises BackupTargetError, OSError."""
        with backup_target(path) as file:
            return await self.write(file, accounts)

    async def write(self, file: BinaryIO, accounts: Iterable[AccountId] | None = None) -> BackupSummary:
        """Write all accounts or the given ones, each as of one instant."""
        chosen = [account async for account in self._every()] if accounts is None else list(accounts)
        written = BackupSummary(0, 0)
        hashed = hashlib.sha256()
        async for line, more in self._lines(chosen):
            file.write(line)
            hashed.update(line)
            written += more
        file.write(_line({"end": FORM, "accounts": written.accounts, "sha256": hashed.hexdigest()}))
        return written

    async def load(
        self,
        path: Path,
        accounts: Iterable[AccountId] | None = None,
        *,
        rules: ArchiveRules | None = None,
        progress: Progress = lambda _done, _all: None,
    ) -> Restored:
        """Restore all accounts of the file or the given ones. Raises InvalidBackupError before any change."""
        chosen = None if accounts is None else set(accounts)
        head, archived = read(path, rules)
        await self._check(head)
        wanted = [one for one in archived if chosen is None or one.account in chosen]
        missing = (chosen or set()) - {one.account for one in wanted}
        if missing:
            raise InvalidBackupError(f"{path} does not contain {', '.join(sorted(missing))}")
        return await Restore(self._store, self._pepper, head, progress).run(wanted)

    async def _lines(self, accounts: Iterable[AccountId]) -> AsyncIterator[tuple[bytes, BackupSummary]]:
        """Yield each line, and the numbers that it adds."""
        meta = dict(await self._store.pairs("HGETALL", keys.META))
        seconds, micros = await (await self._store.servers())[0].command("TIME")
        taken = integer(seconds) * 1000 + integer(micros) // 1000
        yield (
            _line({"backup": FORM, "schema": SCHEMA, "taken": taken, "pepper": meta.get("pepper", "")}),
            BackupSummary(0, 0),
        )
        for account in accounts:
            data, rows = await self._take(account)
            if data.pop("o") == "no_account":
                continue
            invited = sum(integer(dict(pairs(flat))["exp"]) > taken for _, flat in items(data["invitations"]))
            yield _line({"account": account, "data": data}), BackupSummary(1, len(items(data["users"])), invited)
            for start in range(0, len(rows), ROWS):
                yield _line({"account": account, "rows": rows[start : start + ROWS]}), BackupSummary(0, 0)

    async def _take(self, account: AccountId) -> tuple[dict[str, Any], list[list[Any]]]:
        """Return the account and its audit. Reads both again when rows were exported and trimmed between the reads."""
        for take in range(1, TAKES + 1):
            reply = await run_read(self._store, "backup_account", account)
            data = {name: reply[name] for name in ("o", *MEMBERS)}  # the reply may have other members
            rows, after = list[list[Any]](), "-"
            while more := await self._rows(account, after):
                rows += more
                after = f"({more[-1][0]}"
            sealed = integer(dict(pairs(data["seal"])).get("n", 0))
            if take == TAKES or not rows or integer(rows[0][0].partition("-")[0]) <= sealed + 1:
                return data, rows
        raise AssertionError("the last take returns")

    async def _rows(self, account: AccountId, after: str) -> list[list[Any]]:
        log = f"{keys.account(account, self._store.partitions)}:log"
        found = await self._store.command("XRANGE", log, after, "+", "COUNT", ROWS)
        return [[entry_id, _flat(fields)] for entry_id, fields in found]

    async def _every(self) -> AsyncIterator[AccountId]:
        claims = await self._store.pairs("HGETALL", keys.names())
        for account in sorted({value.split()[0] for _, value in claims}):
            yield AccountId(account)

    async def _check(self, head: ArchiveHead) -> None:
        if head.schema not in READABLE:
            raise InvalidBackupError(f"the backup has schema {head.schema}, this sidecar reads {', '.join(READABLE)}")
        meta = dict(await self._store.pairs("HGETALL", keys.META))
        if meta.get("pepper", head.pepper) != head.pepper:
            raise InvalidBackupError(
                "the backup's passwords were made with another pepper: restore the keys that belong to it first"
            )


def _flat(fields: Any) -> list[str]:
    return [word for pair in fields.items() for word in pair] if isinstance(fields, dict) else list(fields)


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
