"""Analysis of lost feed entries: the known ones, and their effect on accounts, users and PEP keys (R48). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.store.integrity.journal import JournalEntry
from sidecar.store.integrity.recovered import Ranges

BEFORE_ANY: Final = 0


@dataclass(slots=True)
class UserLoss:
    """Last acknowledged role and status of a user, and the entry that set them. ``epochs``: each epoch reached, and
    whether a password change raised it. ``factors``: a second factor was added or removed."""

    role: str = ""
    status: str = ""
    entry: str = ""
    epochs: list[tuple[int, bool]] = field(default_factory=list)
    factors: bool = False

    def argument(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "status": self.status,
            "entry": self.entry,
            "epochs": [[epoch, "1" if password else "0"] for epoch, password in self.epochs],
            "factors": "1" if self.factors else "0",
        }


@dataclass(slots=True)
class AccountLoss:
    """Lost changes of an account. ``status``: its last one, empty when no lost entry changed it. ``restored``: a
    restore was lost. ``peps``: revoked keys."""

    seq: int = 0
    status: str = ""
    restored: bool = False
    users: dict[str, UserLoss] = field(default_factory=dict)
    peps: set[str] = field(default_factory=set)


def split(
    marks: Sequence[JournalEntry],
    kept: Mapping[int, str],
    oldest_kept: int | None,
    start: tuple[int, str] | None = None,
) -> tuple[int | None, list[JournalEntry]]:
    """Return the number of the last entry that the store kept, and the marks after it, which it lost.

    ``kept``: id of each entry in the store's feed, by number; ``oldest_kept``: the lowest number. ``start``: number and
    id of the entry after which the feed was followed, while it is not read back (Journal.start). The result is None
    when no entry is in both.
    """
    for place in range(len(marks) - 1, -1, -1):
        if kept.get(marks[place].n) == marks[place].entry:
            return marks[place].n, list(marks[place + 1 :])
        if start and marks[place].before == start[0] and kept.get(start[0]) == start[1]:
            return start[0], list(marks[place:])
    whole = bool(marks) and marks[0].before == BEFORE_ANY and oldest_kept in {None, 1}
    return (BEFORE_ANY if whole else None), list(marks)


def missing(base: int | None, top: int, marks: Iterable[JournalEntry]) -> Ranges:
    """Return the numbers from ``base`` to ``top`` without an entry in ``marks``; empty when all are known."""
    reached, gaps = BEFORE_ANY if base is None else base, list[tuple[int, int]]()
    for mark in sorted(marks, key=lambda mark: mark.n):
        if mark.n <= reached:
            continue
        if mark.before > reached:
            gaps.append((reached + 1, mark.before))
        reached = mark.n
    if top > reached:
        gaps.append((reached + 1, top))
    return tuple(gaps)


def by_account(marks: Iterable[JournalEntry]) -> dict[str, AccountLoss]:
    """Return the lost state by account. Later entries override earlier ones."""
    found: dict[str, AccountLoss] = {}
    for mark in sorted(marks, key=lambda mark: mark.n):
        if not mark.account or mark.kind == "data_set":
            continue
        account = found.setdefault(mark.account, AccountLoss())
        account.seq = max(account.seq, mark.seq)
        match mark.kind:
            case "account":
                account.status = mark.status
            case "restored":
                account.restored = True
            case "pep" if mark.status == "revoked":
                account.peps.add(mark.user)
            case "user" | "removed":
                _add(account.users.setdefault(mark.user, UserLoss()), mark)
            case _:  # policy, keys, created PEP keys: losing them permits nothing
                pass
    return found


def _add(user: UserLoss, mark: JournalEntry) -> None:
    user.role, user.status = mark.role or user.role, mark.status or user.status
    user.entry = mark.entry
    user.factors = user.factors or mark.factors
    if mark.kind == "user" and (not user.epochs or mark.epoch > user.epochs[-1][0]):
        user.epochs.append((mark.epoch, mark.password))


def shown(ranges: Ranges) -> str:
    """Format ranges for a message: ``51 to 53, 60``."""
    return ", ".join(f"{first} to {last}" if first < last else f"{first}" for first, last in ranges)
