"""Faults of the data as a closed list, and the check of one account: snapshot in, findings out.

Pure (import-linter: no I/O).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sidecar.domain.users import ADMINISTRATOR, AccountId, Status
from sidecar.store.codec import integer, items, pairs, proofs_of, seconds
from sidecar.tokens.factor_secrets import is_factor_id

DELETED: Final = "deleted"


class ConsistencyFault(StrEnum):
    """Kinds of faults, each a broken guarantee. USERS_HELD and OVER_CAP are notes: a lowered cap removes no user."""

    MEMBER_WITHOUT_RECORD = "member_without_record"
    RECORD_WITHOUT_MEMBER = "record_without_member"
    BAD_RECORD = "bad_record"
    NO_ADMINISTRATOR = "no_administrator"
    UNDECLARED_ROLE = "undeclared_role"
    ADMINISTRATORS_DIFFER = "administrators_differ"
    EMAIL_TWICE = "email_twice"
    EMAIL_INDEX = "email_index"
    EMAIL_HINT = "email_hint"
    INVITATION_WITHOUT_RECORD = "invitation_without_record"
    SESSION_WITHOUT_RECORD = "session_without_record"
    TOO_MANY_SESSIONS = "too_many_sessions"
    FACTOR_WITHOUT_RECORD = "factor_without_record"
    FACTOR_WITHOUT_USER = "factor_without_user"
    PEP_WITHOUT_RECORD = "pep_without_record"
    LINK_WITHOUT_USER = "link_without_user"
    NAME_INDEX = "name_index"
    AUDIT_GAP = "audit_gap"
    FEED_COUNT = "feed_count"
    NO_EXPIRY = "no_expiry"
    UNFINISHED_RESTORE = "unfinished_restore"
    OVER_CAP = "over_cap"
    LOST_CHANGES = "lost_changes"
    USERS_HELD = "users_held"


REPAIRABLE: Final = frozenset(
    {
        ConsistencyFault.MEMBER_WITHOUT_RECORD,
        ConsistencyFault.ADMINISTRATORS_DIFFER,
        ConsistencyFault.EMAIL_INDEX,
        ConsistencyFault.EMAIL_HINT,
        ConsistencyFault.INVITATION_WITHOUT_RECORD,
        ConsistencyFault.PEP_WITHOUT_RECORD,
        ConsistencyFault.LINK_WITHOUT_USER,
        ConsistencyFault.NAME_INDEX,
    }
)
"""Faults of indexes, which can be rebuilt from the records. Records are never changed."""


@dataclass(frozen=True, slots=True)
class ConsistencyFinding:
    """Fault found. ``where``: an account or a key. ``detail``: a sentence for the operator."""

    fault: ConsistencyFault
    where: str
    detail: str

    @property
    def repairable(self) -> bool:
        return self.fault in REPAIRABLE

    @property
    def is_note(self) -> bool:
        return self.fault in {ConsistencyFault.OVER_CAP, ConsistencyFault.USERS_HELD}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Account at one instant, as returned by ``fsck_account.lua``."""

    account: AccountId
    reported: Mapping[str, Any]

    @property
    def fields(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.reported["a"]
        return found

    @property
    def deleted(self) -> bool:
        return self.fields.get("st") == DELETED

    @property
    def users(self) -> list[Mapping[str, Any]]:
        """Return the members with a record."""
        return [user for user in items(self.reported["users"]) if "st" in user]

    @property
    def invited(self) -> int:
        """Return the number of invitations that have not expired: each holds a seat."""
        return sum(live == "1" for _, _, live in items(self.reported["invitations"]))

    @property
    def invited_as(self) -> Iterator[tuple[str, str]]:
        """Yield user id and role of each invitation that has not expired."""
        yield from ((uid, role) for uid, role in items(self.reported["invited_as"]))

    @property
    def emails(self) -> Iterator[tuple[str, str]]:
        """Yield e-mail and user id of members and of invitations that have not expired."""
        for user in self.users:
            yield user["em"], user["id"]
        for uid, email, live in items(self.reported["invitations"]):
            if live == "1" and email:
                yield email, uid

    @property
    def hinted(self) -> Iterator[str]:
        """Yield the e-mails that need a hint: also of expired invitations, until these are cleared."""
        for email, _ in self.emails:
            yield email
        for _, email, live in items(self.reported["invitations"]):
            if live != "1" and email:
                yield email


def findings_of(snapshot: Snapshot) -> Iterator[ConsistencyFinding]:
    """Yield all faults within the account."""
    for fault, detail in (
        *_members(snapshot),
        *_records(snapshot),
        *_administrators(snapshot),
        *_emails(snapshot),
        *_invitations(snapshot),
        *_sessions(snapshot),
        *_factors(snapshot),
        *_audit(snapshot),
    ):
        yield ConsistencyFinding(fault, snapshot.account, detail)


def _members(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    for user in items(snapshot.reported["users"]):
        if "st" not in user:
            yield ConsistencyFault.MEMBER_WITHOUT_RECORD, f"{user['id']} is a member without a record"
    for pep, present in items(snapshot.reported["peps"]):
        if present != "1":
            yield ConsistencyFault.PEP_WITHOUT_RECORD, f"{pep} is a key without a record"
    known = {user["id"] for user in snapshot.users}
    for _, link in pairs(snapshot.reported["links"]):
        if (uid := link.removeprefix("-")) not in known:
            yield (
                ConsistencyFault.LINK_WITHOUT_USER,
                f"an external subject is linked to {uid} or denied for it, but no such user exists",
            )
    used = len(snapshot.users) + snapshot.invited
    cap = integer(snapshot.fields.get("cap", 0))
    if not snapshot.deleted and used > cap:
        yield ConsistencyFault.OVER_CAP, f"{used} seats are used of {cap}"


def _records(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    seq = integer(snapshot.fields.get("seq", 0))
    for user in snapshot.users:
        epoch, password_epoch = integer(user.get("tv", 0)), integer(user.get("pwtv", 0))
        if not 1 <= password_epoch <= epoch:
            yield ConsistencyFault.BAD_RECORD, f"{user['id']} has epoch {epoch} and password epoch {password_epoch}"
        if integer(user.get("rv", 0)) > seq:
            yield ConsistencyFault.BAD_RECORD, f"{user['id']} has change {user.get('rv')}, above the account's {seq}"
        if user["st"] not in {Status.ACTIVE, Status.SUSPENDED}:
            yield ConsistencyFault.BAD_RECORD, f"{user['id']} has the status {user['st']!r}"
        if not user.get("role") or not user.get("em") or "pw" not in user:
            yield ConsistencyFault.BAD_RECORD, f"{user['id']} lacks a role, an e-mail or a password"


def administers(user: Mapping[str, Any]) -> bool:
    """Return whether the user is an active Account Administrator without a pending review (R48)."""
    return user["st"] == Status.ACTIVE and user["role"] == ADMINISTRATOR and "hold" not in user


def _administrators(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    truth = {user["id"] for user in snapshot.users if administers(user)}
    held = sum("hold" in user for user in snapshot.users)
    if held:
        yield ConsistencyFault.USERS_HELD, f"{held} users wait for a review: `sidecar user review` lists them"
    if not truth and not snapshot.deleted and not held:
        yield ConsistencyFault.NO_ADMINISTRATOR, "no active user is an Account Administrator"
    kept = set(items(snapshot.reported["admins"]))
    if kept != truth:
        differ = ", ".join(sorted(kept ^ truth))
        yield ConsistencyFault.ADMINISTRATORS_DIFFER, f"the index of administrators differs for {differ}"


def _emails(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    entries = list(snapshot.emails)
    twice = {email for email, times in Counter(email for email, _ in entries).items() if times > 1}
    for email in sorted(twice):
        users = ", ".join(sorted(uid for other, uid in entries if other == email))
        yield ConsistencyFault.EMAIL_TWICE, f"{users} have the same e-mail"
    index = dict(pairs(snapshot.reported["em"]))
    truth = dict(entries)
    waiting = {uid for uid, _, _ in items(snapshot.reported["invitations"])}
    for email, uid in truth.items():
        if email not in index:
            yield ConsistencyFault.EMAIL_INDEX, f"the e-mail of {uid} is not in the index"
    for email, uid in index.items():
        expired = email not in truth and uid in waiting  # and not cleared yet
        if truth.get(email) != uid and not expired and email not in twice:
            yield ConsistencyFault.EMAIL_INDEX, f"the index has an e-mail for {uid} that its record lacks"


def _invitations(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    members = {user["id"] for user in items(snapshot.reported["users"])}
    for uid, email, live in items(snapshot.reported["invitations"]):
        if live == "1" and not email:
            yield ConsistencyFault.INVITATION_WITHOUT_RECORD, f"{uid} holds a seat without an invitation"
        if uid in members:
            yield ConsistencyFault.BAD_RECORD, f"{uid} is invited and a member"


def _sessions(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    for user in snapshot.users:
        sessions = items(user["sessions"])
        if len(sessions) > 20:
            yield ConsistencyFault.TOO_MANY_SESSIONS, f"{user['id']} has {len(sessions)} live sessions"
        if sessions and user["st"] != Status.ACTIVE:
            yield ConsistencyFault.BAD_RECORD, f"{user['id']} is {user['st']} and has live sessions"
        for sid, owner, epoch, at, proofs in sessions:
            if not _are_facts(at, proofs):
                yield ConsistencyFault.BAD_RECORD, f"{sid} of {user['id']} has malformed proofs"
            if owner != user["id"] or epoch != user["tv"]:
                yield (
                    ConsistencyFault.SESSION_WITHOUT_RECORD,
                    f"{sid} of {user['id']} has another user, has another epoch or is missing",
                )


def _factors(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    for user in snapshot.users:
        factors = items(user["factors"])
        for factor, counts, owner, sealed, step, count in factors:
            if owner != user["id"] or sealed != "1":
                detail = f"{factor} of {user['id']} has another user, has no secret or is missing: {_RESET}"
                yield ConsistencyFault.FACTOR_WITHOUT_RECORD, detail
            elif not _is_factor(factor, counts, step, count):
                yield ConsistencyFault.BAD_RECORD, f"{factor} of {user['id']} is malformed: {_RESET}"
        if len(factors) > MAX_FACTORS:
            yield ConsistencyFault.BAD_RECORD, f"{user['id']} has {len(factors)} second factors"
        if not factors and integer(user["codes"]):
            detail = f"{user['id']} has recovery codes without a second factor"
            yield ConsistencyFault.FACTOR_WITHOUT_RECORD, detail


MAX_FACTORS: Final = 20
_RESET: Final = "`sidecar user reset-factors` removes the factors"


def _is_factor(factor: str, counts: str, step: str, count: str) -> bool:
    """Return whether a factor can be used: an id, the time from which it counts, and the step or the counter."""
    used = {"totp": step, "passkey": count}.get(factor.partition("_")[0], "")
    return is_factor_id(factor) and counts.isdecimal() and used.isdecimal()


def _are_facts(at: str, proofs: str) -> bool:
    """Return whether the facts of a session can be read. A session without any has proven nothing."""
    try:
        seconds(at or 0)
        proofs_of(proofs)
    except (KeyError, TypeError, ValueError):
        return False
    return True


def _audit(snapshot: Snapshot) -> Iterator[tuple[ConsistencyFault, str]]:
    length, first, last = snapshot.reported["log"]
    rows = integer(snapshot.fields.get("rows", 0))
    if not length:
        if rows:
            yield ConsistencyFault.AUDIT_GAP, f"the audit counts {rows} rows and has none"
        return
    start, end = int(first.partition("-")[0]), int(last.partition("-")[0])
    if end != rows:
        yield ConsistencyFault.AUDIT_GAP, f"the audit counts {rows} rows and ends at {end}"
    if end - start + 1 != integer(length):
        yield ConsistencyFault.AUDIT_GAP, f"the audit has {integer(length)} rows between {start} and {end}"
