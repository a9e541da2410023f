"""Put accounts away in a file that another Redis can take, and bring them back.

The file is JSON lines: a head, each account followed by its audit, an end that counts and hashes what came before. It
holds digests and password hashes, so it is written 0600, and neither keys nor sessions. A restore raises every epoch
and gives the store a new data set id: no token that was dead, and none that was alive, passes afterwards. What this
store knows to be revoked stays so, also where there is no epoch: keys of PEPs, subjects barred from their user.
"""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.store import keys
from sidecar.store.accounts import claim_name, settle_name
from sidecar.store.codec import integer, items, pairs
from sidecar.store.connection import Store
from sidecar.store.hints import hint
from sidecar.store.startup import SCHEMA
from sidecar.store.transition import look, transition
from sidecar.tokens.ids import is_account_id
from sidecar.vocabulary.people import AccountId, Actor

FORM: Final = "sidecar-backup/1"
ROWS: Final = 200


class BackupRefused(Exception):
    """This file cannot be restored here. One sentence: what, and what now. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Written:
    accounts: int
    users: int


@dataclass(frozen=True, slots=True)
class Restored:
    """``skipped``: accounts whose name another account has here, and which were left out."""

    accounts: int
    users: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Archived:
    """An account of the file: its data and its audit's rows."""

    account: AccountId
    data: dict[str, Any]
    rows: tuple[list[Any], ...]

    @property
    def name(self) -> str:
        return str(dict(pairs(self.data["a"])).get("name", ""))

    @property
    def emails(self) -> Iterator[str]:
        for _, flat in (*items(self.data["users"]), *items(self.data["invitations"])):
            yield dict(pairs(flat))["em"]


class Backup:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, path: Path, accounts: Iterable[AccountId] | None = None) -> Written:
        """Into a new file beside ``path``, moved there when it is whole. Each account as of one instant."""
        chosen = [account async for account in self._every()] if accounts is None else list(accounts)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                written = Written(0, 0)
                hashed = hashlib.sha256()
                async for line, users in self._lines(chosen):
                    file.write(line)
                    hashed.update(line)
                    written = Written(written.accounts + (users is not None), written.users + (users or 0))
                file.write(_line({"end": FORM, "accounts": written.accounts, "sha256": hashed.hexdigest()}))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        return written

    async def load(self, path: Path, accounts: Iterable[AccountId] | None = None) -> Restored:
        """Bring back all accounts of the file, or those named. Raises BackupRefused before anything is changed."""
        chosen = None if accounts is None else set(accounts)
        head, archived = read(path)
        await self._check(head)
        wanted = [one for one in archived if chosen is None or one.account in chosen]
        missing = (chosen or set()) - {one.account for one in wanted}
        if missing:
            raise BackupRefused(f"{path} does not hold {', '.join(sorted(missing))}")
        skipped, users = [], 0
        for one in wanted:
            if await self._claim(one):
                users += await self._restore(one, str(head["taken"]))
            else:
                skipped.append(one.account)
        for partition in range(self._store.partitions):
            await self._store.change("SET", f"{keys.feed(partition)}:gen", self._store.request_id())
        return Restored(len(wanted) - len(skipped), users, tuple(skipped))

    async def _lines(self, accounts: Iterable[AccountId]) -> AsyncIterator[tuple[bytes, int | None]]:
        """Each line; with an account's own, how many users it has."""
        meta = dict(await self._store.pairs("HGETALL", keys.META))
        seconds, micros = await (await self._store.servers())[0].command("TIME")
        taken = integer(seconds) * 1000 + integer(micros) // 1000
        yield _line({"backup": FORM, "schema": SCHEMA, "taken": taken, "pepper": meta.get("pepper", "")}), None
        for account in accounts:
            data = await look(self._store, "backup_account", account)
            if data.pop("o") == "no_account":
                continue
            yield _line({"account": account, "data": data}), len(items(data["users"]))
            after = "-"
            while rows := await self._rows(account, after):
                yield _line({"account": account, "rows": rows}), None
                after = f"({rows[-1][0]}"

    async def _rows(self, account: AccountId, after: str) -> list[list[Any]]:
        log = f"{keys.account(account, self._store.partitions)}:log"
        found = await self._store.command("XRANGE", log, after, "+", "COUNT", ROWS)
        return [[entry_id, _flat(fields)] for entry_id, fields in found]

    async def _every(self) -> AsyncIterator[AccountId]:
        held = await self._store.pairs("HGETALL", keys.names())
        for account in sorted({value.split()[0] for _, value in held}):
            yield AccountId(account)

    async def _check(self, head: dict[str, Any]) -> None:
        if head["schema"] != SCHEMA:
            raise BackupRefused(f"the backup has schema {head['schema']}, this sidecar knows {SCHEMA}")
        meta = dict(await self._store.pairs("HGETALL", keys.META))
        if meta.get("pepper", head["pepper"]) != head["pepper"]:
            raise BackupRefused(
                "the backup's passwords were made with another pepper: restore the keys that belong to it first"
            )

    async def _claim(self, one: _Archived) -> bool:
        names, name = keys.names(), keys.folded(one.name)
        for folded, held in await self._store.pairs("HGETALL", names):  # it may have had another name here
            if held.split()[0] == one.account and folded != name:
                await self._store.change("HDEL", names, folded)
        return await claim_name(self._store, one.name, one.account) is None

    async def _restore(self, one: _Archived, taken: str) -> int:
        for email in set(one.emails):
            await hint(self._store, email, one.account)
        operator = Actor.operator()
        reply = await transition(self._store, "restore_account", one.account, operator, data=one.data)
        kept = one.rows if reply["fresh"] == "1" else ()
        for start in range(0, len(kept), ROWS):
            rows = list(kept[start : start + ROWS])
            await transition(self._store, "restore_rows", one.account, operator, rows=rows, taken=taken)
        await transition(self._store, "restore_rows", one.account, operator, rows=[], taken=taken, done=True)
        await settle_name(self._store, one.name, one.account, "keep")
        return integer(reply["users"])


def read(path: Path) -> tuple[dict[str, Any], list[_Archived]]:
    """The file, whole and unharmed. Raises BackupRefused."""
    lines = path.read_bytes().splitlines(keepends=True)
    entries = _whole(lines)
    if entries is None:
        raise BackupRefused(f"{path} is no whole backup: it was cut short or changed")
    head, *body = entries
    archived: dict[AccountId, _Archived] = {}
    for entry in body:
        account = AccountId(entry["account"])
        if not is_account_id(account):
            raise BackupRefused(f"{path} names an account that cannot be: {account!r}")
        if "data" in entry:
            archived[account] = _Archived(account, entry["data"], ())
        else:
            one = archived[account]
            archived[account] = _Archived(account, one.data, (*one.rows, *entry["rows"]))
    return head, list(archived.values())


def _whole(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """The entries but the last, if that one vouches for them."""
    try:
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        head, end = entries[0], entries.pop()
        hashed = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
        whole = head["backup"] == FORM and end["end"] == FORM and end["sha256"] == hashed
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return entries if whole else None


def _flat(fields: Any) -> list[str]:
    return [word for pair in fields.items() for word in pair] if isinstance(fields, dict) else list(fields)


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
