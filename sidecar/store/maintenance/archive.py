"""Reader of backups: decodes the whole file strictly and validates it by the rules of `fsck` before any write.

The closing hash detects a truncated or damaged file. It is not secret, so it does not make the content trustworthy.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.maintenance.archive_records import (
    ArchivedAccount,
    ArchivedAuditRow,
    ArchiveLocation,
    InvalidBackupError,
    account_id,
    account_line,
    audit_rows,
    flat,
    json_object,
    members,
    shown,
)
from sidecar.store.maintenance.consistency_checks import ConsistencyFault, Snapshot, administers, findings_of

FORM: Final = "sidecar-backup/1"
MAX_LINE: Final = 256 * 1024 * 1024
"""Maximum bytes of one line: an account of half a million users."""
_MAX_TAKEN: Final = 253_402_300_799_999
_MAX_PEPPER: Final = 512

AT_THE_SOURCE: Final = "run `sidecar fsck` on the source store, then make a new backup"
DECLARE: Final = "declare the role in roles.toml, or name the policy that has it with --policy-dir"


@dataclass(frozen=True, slots=True)
class ArchiveHead:
    """Head of a backup. ``taken``: Unix milliseconds. ``pepper``: identity of the digests' pepper, may be empty."""

    schema: str
    taken: int
    pepper: str


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """Validation rules from outside the store. ``roles``: declared by the policy; None skips their validation.

    ``is_written(mailbox, email)``: True if ``mailbox``, the delivery address, is a written form of ``email``."""

    is_normal: Callable[[str], bool] = lambda _email: True
    is_written: Callable[[str, str], bool] = lambda _mailbox, _email: True
    roles: Collection[str] | None = None


def read(path: Path, rules: ArchiveRules | None = None) -> tuple[ArchiveHead, list[ArchivedAccount]]:
    """Read and validate the whole file. Raises InvalidBackupError, OSError."""
    lines = _whole(path)
    head = _head(ArchiveLocation(str(path), 1), lines[0])
    archived = _accounts(path, lines[1:-1])
    end = ArchiveLocation(str(path), len(lines))
    closing = members(end, json_object(end, lines[-1]), {"end": str, "accounts": int, "sha256": str}, "the last line")
    if closing["accounts"] != len(archived):
        end.refuse(f"the last line counts {closing['accounts']} accounts, the file has {len(archived)}")
    validate(archived, rules or ArchiveRules(), head.taken)
    return head, archived


def _whole(path: Path) -> list[bytes]:
    """Return the lines. Raises InvalidBackupError unless the last line has the hash of the lines before it."""
    lines: list[bytes] = []
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 1):
            lines.append(line)
            if len(line) > MAX_LINE:
                ArchiveLocation(str(path), len(lines)).refuse(f"the line has more than {MAX_LINE:,} bytes")
    hashed = hashlib.sha256()
    for line in lines[:-1]:
        hashed.update(line)
    try:
        head, end = (json_object(ArchiveLocation(str(path), 0), line) for line in (lines[0], lines[-1]))
        whole = len(lines) > 1 and head["backup"] == FORM == end["end"] and end["sha256"] == hashed.hexdigest()
    except (InvalidBackupError, KeyError, IndexError):
        whole = False
    if not whole or not lines[-1].endswith(b"\n"):
        raise InvalidBackupError(f"{path} is not a complete backup: it was truncated or changed")
    return lines


def _head(place: ArchiveLocation, line: bytes) -> ArchiveHead:
    wanted = {"backup": str, "schema": str, "taken": int, "pepper": str}
    head = members(place, json_object(place, line), wanted, "the head")
    if not 0 <= head["taken"] <= _MAX_TAKEN:
        place.refuse(f"the head: taken is {head['taken']}, not a time in Unix milliseconds")
    if len(head["pepper"]) > _MAX_PEPPER or not head["pepper"].isprintable():
        place.refuse(f"the head: pepper is not one line of at most {_MAX_PEPPER} characters")
    return ArchiveHead(head["schema"], head["taken"], head["pepper"])


def _accounts(path: Path, lines: list[bytes]) -> list[ArchivedAccount]:
    archived: dict[AccountId, ArchivedAccount] = {}
    rows: list[ArchivedAuditRow] = []
    latest: ArchivedAccount | None = None
    for number, line in enumerate(lines, 2):
        place = ArchiveLocation(str(path), number)
        entry = json_object(place, line)
        if "rows" in entry:
            members(place, entry, {"account": str, "rows": list}, "the line")
            if latest is None or account_id(place, entry) != latest.account:
                place.refuse(f"audit rows of {shown(entry['account'])} do not follow that account")
            rows += audit_rows(place, latest.account, entry["rows"])
            continue
        if latest is not None:
            archived[latest.account] = replace(latest, rows=tuple(rows))
        members(place, entry, {"account": str, "data": dict}, "the line")
        latest, rows = account_line(place, entry), []
        if latest.account in archived:
            place.refuse(f"the account {latest.account} occurs twice")
    if latest is not None:
        archived[latest.account] = replace(latest, rows=tuple(rows))
    return list(archived.values())


# Validation ----------------------------------------------------------------------------------------------------------


def validate(archived: Iterable[ArchivedAccount], rules: ArchiveRules, taken: int) -> None:
    """Raise InvalidBackupError for the first account that would be faulty in a store. ``taken``: Unix milliseconds."""
    names: dict[str, AccountId] = {}
    for one in archived:
        for problem, remedy in (*_beyond(one, rules, taken), *_audit(one)):
            one.place.refuse(problem, remedy)
        for finding in findings_of(snapshot(one)):
            if not finding.is_note:
                one.place.refuse(f"{one.account}: {finding.detail} ({finding.fault.value})", AT_THE_SOURCE)
        for problem, remedy in _mailboxes(one, rules):
            one.place.refuse(problem, remedy)
        other = names.setdefault(keys.folded(one.name), one.account)
        if other != one.account:
            one.place.refuse(f"{one.account} has the name {shown(one.name)}, which {other} has", AT_THE_SOURCE)


def snapshot(one: ArchivedAccount) -> Snapshot:
    """Return the account as `fsck` finds it after a restore: indexes are built from records, sessions are dropped."""
    rows = [row.seq for row in one.rows]
    users = [
        {**fields, "id": uid, "pw": "1", "sessions": [], "factors": _factors_of(one, uid), "codes": "0"}
        for uid, fields in one.users
    ]
    return Snapshot(
        one.account,
        {
            "a": {**one.fields, "rows": str(rows[-1]) if rows else one.fields["rows"]},
            "users": users,
            "invitations": [[uid, fields["em"], "1"] for uid, fields in one.invitations],
            "peps": [[pep, "1"] for pep, _ in one.peps],
            "admins": [user["id"] for user in users if administers(user)],
            "em": [w for uid, fields in (*one.users, *one.invitations) for w in (fields["em"], uid)],
            "links": flat(one.links),
            "log": [len(rows), f"{rows[0]}-0" if rows else "", f"{rows[-1]}-0" if rows else ""],
        },
    )


def _factors_of(one: ArchivedAccount, uid: str) -> list[list[str]]:
    return [
        [factor, fields["counts"], uid, "1", fields.get("step", ""), fields.get("count", "")]
        for factor, fields in one.factors
        if fields["u"] == uid
    ]


Problem = tuple[str, str]
"""Sentence and its remedy."""


def _beyond(one: ArchivedAccount, rules: ArchiveRules, taken: int) -> Iterator[Problem]:
    """Yield violations of rules unknown to `fsck`.

    The role of an expired invitation is not validated, because a policy may have dropped it."""
    seq = int(one.fields["seq"])
    expired = {uid for uid, fields in one.invitations if int(fields["exp"]) <= taken}
    for uid, fields in (*one.users, *one.invitations):
        if not rules.is_normal(fields["em"]):
            yield f"{uid}: em is {shown(fields['em'])}, not an e-mail address in its normal form", AT_THE_SOURCE
        if rules.roles is not None and fields["role"] not in rules.roles and uid not in expired:
            yield f"{uid} has the role {shown(fields['role'])}, which the policy does not declare", DECLARE
    for owner, fields in (*one.invitations, *one.peps):
        if int(fields["rv"]) > seq:
            yield f"{owner} has change {fields['rv']}, above the account's {seq}", AT_THE_SOURCE


def _mailboxes(one: ArchivedAccount, rules: ArchiveRules) -> Iterator[Problem]:
    """Yield users with a mailbox, the delivery address, that is not a written form of their e-mail, the identifier."""
    for uid, fields in (*one.users, *one.invitations):
        if not rules.is_written(fields.get("mb", fields["em"]), fields["em"]):
            yield f"{uid}: mb is {shown(fields['mb'])}, not a written form of {shown(fields['em'])}", AT_THE_SOURCE


def _audit(one: ArchivedAccount) -> Iterator[Problem]:
    """Yield gaps between rows, and a seal outside the rows (R32): later rows would never be exported."""
    numbers = [row.seq for row in one.rows]
    for before, after in pairwise(numbers):
        if after != before + 1:
            yield (
                f"{one.account}: audit row {after} follows row {before} ({ConsistencyFault.AUDIT_GAP.value})",
                AT_THE_SOURCE,
            )
            return
    last = numbers[-1] if numbers else 0
    if last < int(one.fields["rows"]):
        counted = one.fields["rows"]
        yield (
            f"{one.account}: the audit counts {counted} rows and ends at {last} ({ConsistencyFault.AUDIT_GAP.value})",
            AT_THE_SOURCE,
        )
    if one.seal.keys() not in ({}.keys(), {"n", "hash"}, {"n", "hash", "anchor_n", "anchor"}):
        yield f"{one.account}: the audit's seal lacks a number or a hash", AT_THE_SOURCE
        return
    sealed, anchor = int(one.seal.get("n", 0)), int(one.seal.get("anchor_n", 0))
    first = numbers[0] if numbers else 1
    if not anchor <= sealed <= last or first > sealed + 1:
        yield f"{one.account}: the audit is sealed at {sealed}, its rows are {first} to {last}", AT_THE_SOURCE
