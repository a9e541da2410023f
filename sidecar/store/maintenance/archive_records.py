"""Archived JSON lines as typed records. Unknown, missing, duplicate and malformed parts are errors.

Every error has the line, the record, the value and the remedy. Messages never show secrets.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from sidecar.domain.ambiguous_json import no_constant, unique_members
from sidecar.domain.peps import account_of_pep
from sidecar.domain.users import AccountId
from sidecar.store.maintenance import archive_forms as forms
from sidecar.store.maintenance.archive_forms import Fields, ValueFormat
from sidecar.tokens.factor_secrets import is_factor_id
from sidecar.tokens.ids import account_of, is_account_id

MAX_ROWS: Final = 1000
"""Maximum audit rows per line; a backup writes 200."""
MAX_PEPS: Final = 100
MEMBERS: Final = ("a", "users", "factors", "invitations", "peps", "links", "seal")
"""Members of an account's data, each a list. Backups without second factors lack ``factors``."""
SHOWN: Final = 60
ANOTHER: Final = "restore another backup, or make a new one with `sidecar backup`"

Pair = tuple[str, Mapping[str, str]]
"""Id and fields of a record."""


class InvalidBackupError(Exception):
    """Raised for a file that cannot be restored here; nothing was changed. One sentence: problem, value, remedy."""


@dataclass(frozen=True, slots=True)
class ArchiveLocation:
    """Position in a backup. ``file``: a path; ``line`` counts from 1."""

    file: str
    line: int

    def refuse(self, problem: str, remedy: str = ANOTHER) -> NoReturn:
        raise InvalidBackupError(f"{self.file}:{self.line}: {problem}; nothing was changed: {remedy}")


@dataclass(frozen=True, slots=True)
class ArchivedAuditRow:
    seq: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ArchivedAccount:
    """Account of a backup. ``links``: digests of issuer and subject -> user id, with ``-`` before a denied user."""

    account: AccountId
    place: ArchiveLocation
    fields: Mapping[str, str]
    users: tuple[Pair, ...]
    invitations: tuple[Pair, ...]
    peps: tuple[Pair, ...]
    links: Mapping[str, str]
    seal: Mapping[str, str]
    factors: tuple[Pair, ...] = ()
    rows: tuple[ArchivedAuditRow, ...] = ()

    @property
    def name(self) -> str:
        return self.fields["name"]

    @property
    def emails(self) -> frozenset[str]:
        return frozenset(fields["em"] for _, fields in (*self.users, *self.invitations))

    @property
    def data(self) -> dict[str, Any]:
        """Return the argument of ``restore_account.lua``."""
        return {
            "a": flat(self.fields),
            "users": [[uid, flat(fields)] for uid, fields in self.users],
            "factors": [[factor, flat(fields)] for factor, fields in self.factors],
            "invitations": [[uid, flat(fields)] for uid, fields in self.invitations],
            "peps": [[pep, flat(fields)] for pep, fields in self.peps],
            "links": flat(self.links),
            "seal": flat(self.seal),
        }


def flat(fields: Mapping[str, str]) -> list[str]:
    return [word for pair in fields.items() for word in pair]


# JSON ----------------------------------------------------------------------------------------------------------------


def json_object(place: ArchiveLocation, line: bytes) -> dict[str, Any]:
    """Return the line's object. Duplicate members, NaN and invalid UTF-8 are errors."""
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=unique_members, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        place.refuse(f"the line is not valid JSON of a backup ({str(error)[:SHOWN]})")
    if not isinstance(value, dict):
        place.refuse(f"the line is {_kind(value)}, not an object")
    return value


def members(place: ArchiveLocation, value: Any, wanted: Mapping[str, type], owner: str) -> dict[str, Any]:
    """Return an object with exactly these members, each of exactly its type."""
    if not isinstance(value, dict):
        place.refuse(f"{owner} is {_kind(value)}, not an object")
    for name in value:
        if name not in wanted:
            place.refuse(f"{owner} has the unknown member {shown(name)}")
    for name, kind in wanted.items():
        if name not in value:
            place.refuse(f"{owner} has no member {name!r}")
        if kind is list and value[name] == {}:  # Lua may encode an empty list as an object
            value[name] = []
        if type(value[name]) is not kind:
            place.refuse(f"{owner}: {name} is {_kind(value[name])}, not {_KINDS[kind]}")
    return value


_KINDS: Final[dict[type, str]] = {
    str: "a string",
    int: "a whole number",
    float: "a fractional number",
    bool: "a boolean",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _kind(value: Any) -> str:
    return _KINDS[type(value)]


def shown(text: str) -> str:
    """Format a value for a message: one line of bounded length."""
    return ascii(text if len(text) <= SHOWN else text[:SHOWN] + "…")


# Records --------------------------------------------------------------------------------------------------------------


def account_line(place: ArchiveLocation, entry: dict[str, Any]) -> ArchivedAccount:
    """Return the account of a line ``{"account", "data"}``."""
    account = account_id(place, entry)
    entry["data"].setdefault("factors", [])
    data = members(place, entry["data"], dict.fromkeys(MEMBERS, list), account)
    fields = record(place, data["a"], forms.ACCOUNT, account)
    if fields["id"] != account:
        place.refuse(f"{account}: its record has the id {fields['id']}")
    archived = ArchivedAccount(
        account,
        place,
        fields,
        tuple(_pairs(place, data["users"], forms.USER, account, "user", account_of)),
        tuple(_pairs(place, data["invitations"], forms.INVITATION, account, "invitation", account_of)),
        tuple(_pairs(place, data["peps"], forms.PEP, account, "PEP key", account_of_pep)),
        _links(place, data["links"], account),
        record(place, data["seal"], forms.SEAL, f"{account}: the audit's seal"),
        tuple(_pairs(place, data["factors"], forms.FACTOR, account, "factor", _account_of_factor(account))),
    )
    _distinct(archived)
    return archived


def account_id(place: ArchiveLocation, entry: dict[str, Any]) -> AccountId:
    named = entry.get("account")
    if not isinstance(named, str) or not is_account_id(named):
        place.refuse(f"the line has an invalid account id: {shown(str(named))}")
    return AccountId(named)


def audit_rows(place: ArchiveLocation, account: AccountId, entries: list[Any]) -> Iterator[ArchivedAuditRow]:
    """Yield the rows of a line ``{"account", "rows"}``."""
    if len(entries) > MAX_ROWS:
        place.refuse(f"{account}: {len(entries)} audit rows in one line, more than {MAX_ROWS}")
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            place.refuse(f"{account}: an audit row is {_kind(entry)}, not an id and its fields")
        seq, dash, rest = entry[0].partition("-")
        if not (forms.is_whole(seq, 1) and dash and rest == "0"):
            place.refuse(f"{account}: an audit row has the id {shown(entry[0])}, not SEQ-0")
        yield ArchivedAuditRow(int(seq), record(place, entry[1], forms.AUDIT_ROW, f"{account}: audit row {seq}"))


def record(place: ArchiveLocation, value: Any, wanted: Fields, owner: str) -> dict[str, str]:
    """Return a hash from its flat list of names and values."""
    value = [] if value == {} else value
    if not isinstance(value, list):
        place.refuse(f"{owner} is {_kind(value)}, not a list")
    if len(value) % 2:
        place.refuse(f"{owner} is a list of {len(value)} items, not of pairs")
    found: dict[str, str] = {}
    for name, text in zip(value[::2], value[1::2], strict=True):
        if not isinstance(name, str) or name not in wanted:
            place.refuse(f"{owner} has the unknown field {shown(str(name))}")
        if name in found:
            place.refuse(f"{owner}: the field {name} occurs twice")
        found[name] = _value(place, text, wanted[name], f"{owner}: {name}")
    for name, form in wanted.items():
        if form.required and name not in found:
            place.refuse(f"{owner} has no field {name}")
    return found


def _value(place: ArchiveLocation, text: Any, form: ValueFormat, owner: str) -> str:
    if not isinstance(text, str):
        place.refuse(f"{owner} is {_kind(text)}, not a string")
    if not form.holds(text):
        value = "" if form.secret else f"{shown(text)}, "
        place.refuse(f"{owner} is {value}not {form.says}")
    return text


def _pairs(
    place: ArchiveLocation, entries: list[Any], wanted: Fields, account: AccountId, noun: str, home: Any
) -> Iterator[Pair]:
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            place.refuse(f"{account}: a {noun} is {_kind(entry)}, not an id and its fields")
        if home(entry[0]) != account:
            place.refuse(f"{account} has a {noun} {shown(entry[0])}: invalid, or an id of another account")
        yield entry[0], record(place, entry[1], wanted, f"{noun} {entry[0]}")


def _account_of_factor(account: AccountId) -> Callable[[str], AccountId | None]:
    """Return a check of factor ids. They contain no account; `_distinct` checks their users."""
    return lambda factor: account if is_factor_id(factor) else None


def _links(place: ArchiveLocation, value: list[Any], account: AccountId) -> dict[str, str]:
    owner = f"{account}: a link"
    if len(value) % 2 or not all(isinstance(word, str) for word in value):
        place.refuse(f"{owner} is not a pair of strings")
    found: dict[str, str] = {}
    for link, user in zip(value[::2], value[1::2], strict=True):
        if not forms.is_link(link):
            place.refuse(f"{owner} has the key {shown(link)}, not digests of issuer and subject")
        if account_of(user.removeprefix("-")) != account:
            place.refuse(f"{owner} leads to {shown(user)}: invalid, or an id of another account")
        if link in found:
            place.refuse(f"{owner} of one subject occurs twice: {link[:8]}…")
        found[link] = user
    return found


def _distinct(archived: ArchivedAccount) -> None:
    """Reject duplicate ids, key names and subjects of one issuer, and too many PEP keys."""
    place, account = archived.place, archived.account
    ids = [uid for uid, _ in (*archived.users, *archived.invitations)]
    linked = [f"{link[:64]} {user}" for link, user in archived.links.items() if not user.startswith("-")]
    for noun, values in (
        ("the user", ids),
        ("the PEP key", [pep for pep, _ in archived.peps]),
        ("the PEP key's name", [fields["name"] for _, fields in archived.peps]),
        ("a subject of one issuer for one user", linked),
        ("the factor", [factor for factor, _ in archived.factors]),
    ):
        if (twice := _doubled(values)) is not None:
            place.refuse(f"{account}: {noun} {shown(twice)} occurs twice")
    for pep, fields in archived.peps:
        if fields["id"] != pep:
            place.refuse(f"PEP key {pep}: its record has the id {fields['id']}")
    users = {uid for uid, _ in archived.users}
    for factor, fields in archived.factors:
        if fields["u"] not in users:
            place.refuse(f"the factor {factor} belongs to {shown(fields['u'])}, who is no user of {account}")
    if len(archived.peps) > MAX_PEPS:
        place.refuse(f"{account} has {len(archived.peps)} PEP keys, more than {MAX_PEPS}")


def _doubled(values: list[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
