"""Counts of a decision log: which role used which cell, and which denials came how often.

Memory grows with cells, users and kinds of denials, never with lines. Lines of other programs and of other policies are
skipped, each with a reason.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sidecar.domain.decision import Reason
from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Cell
from sidecar.policy.generation import Generation

MAX_DENIALS: Final = 10_000
"""Maximum kinds of denials. A request may name any section, so their number is not bounded by the policy."""

SHOWN_USERS: Final = 20

_REASONS: Final = frozenset(reason.value for reason in Reason) | {"not_yours"}
_OF_RULES: Final = frozenset({Reason.NO_RULE.value, Reason.EXPLICIT_DENY.value})
_OF_NEEDS: Final = frozenset({Reason.STEP_UP_REQUIRED.value, Reason.CONDITION_UNMET.value})
_OF_NAMES: Final = frozenset({Reason.UNKNOWN_SECTION.value, Reason.UNKNOWN_ACTION.value})
_OF_CELLS: Final = _OF_RULES | _OF_NEEDS | _OF_NAMES | {"not_yours"}

NOT_JSON: Final = "not JSON"
NO_DECISION: Final = "no decision of a sidecar"


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """Fields of a decision that usage is counted from. Other fields of the line are ignored."""

    decision: bool
    reason: str
    kind: str = "decision"
    time: str = ""
    endpoint: str = ""
    account: str = ""
    user: str = ""
    role: str = ""
    section: str = ""
    action: str = ""
    generation: str = ""
    unmet: tuple[str, ...] = ()
    sampled: float | None = None


_DECODER: Final = msgspec.json.Decoder(LogLine)


def parse(line: bytes) -> LogLine | str:
    """Return the decision of a line, or the reason why it holds none."""
    try:
        found = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_DECISION if _is_json(line) else NOT_JSON
    if found.kind != "decision" or found.reason not in _REASONS:
        return NO_DECISION
    return found


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


@dataclass(slots=True)
class UserCount:
    """Use by one user. ``role``: the newest in the log. ``used``: section and action."""

    account: str
    role: str = ""
    last: str = ""
    used: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class DenialCount:
    """One kind of denial. ``users``: at most `SHOWN_USERS` of those that were denied."""

    times: int = 0
    first: str = ""
    last: str = ""
    users: dict[str, None] = field(default_factory=dict)
    unmet: dict[str, None] = field(default_factory=dict)

    def add(self, line: LogLine) -> None:
        self.times += 1
        self.first = min(self.first or line.time, line.time)
        self.last = max(self.last, line.time)
        if line.user and len(self.users) < SHOWN_USERS:
            self.users[line.user] = None
        if len(self.unmet) < SHOWN_USERS:
            self.unmet.update(dict.fromkeys(line.unmet))


@dataclass(slots=True)
class UsageCounts:
    """Counts over all lines so far, in the cells of one policy.

    ``unmet``: cells that a need denied. Their users may do it after a step-up. ``former``: allows of cells that the
    policy now denies. ``others``: decisions that depend on no cell, by reason.
    """

    policy: Generation
    decisions: int = 0
    allows: Counter[Cell] = field(default_factory=Counter)
    unmet: Counter[Cell] = field(default_factory=Counter)
    former: Counter[Cell] = field(default_factory=Counter)
    users: dict[str, UserCount] = field(default_factory=dict)
    denials: dict[tuple[str, str, str, str], DenialCount] = field(default_factory=dict)
    further_denials: int = 0
    others: Counter[str] = field(default_factory=Counter)
    generations: Counter[str] = field(default_factory=Counter)
    first: str = ""
    last: str = ""
    sampled: int = 0
    share: float = 1.0

    def add(self, line: LogLine) -> str | None:
        """Count a decision. Return the reason why it is skipped, or None."""
        of_a_cell = line.reason == Reason.ALLOWED.value or line.reason in _OF_CELLS
        if of_a_cell and (strange := self._of_another_policy(line)) is not None:
            return strange
        if line.decision and line.sampled is not None:
            self.sampled += 1
            self.share = min(self.share, line.sampled)
        if not of_a_cell:
            self.others[line.reason] += 1
            return None
        self.decisions += 1
        self.generations[line.generation] += 1
        self.first = min(self.first or line.time, line.time)
        self.last = max(self.last, line.time)
        self._count(line)
        return None

    def add_member(self, user: str, account: str, role: str) -> None:
        """Add a user, with the present role, also if no line names the user."""
        self.users.setdefault(user, UserCount(account)).role = role

    def _of_another_policy(self, line: LogLine) -> str | None:
        if line.role not in self.policy.roles:
            return f"of another policy: role {line.role[:64]!r} is not in this one"
        if line.reason in _OF_NAMES or self.policy.cells.find(line.role, line.section, line.action) is not None:
            return None
        return f"of another policy: {f'{line.section}/{line.action}'[:128]!r} is not in this one"

    def _count(self, line: LogLine) -> None:
        cell = (line.role, line.section, line.action)
        user = self._user(line)
        allowed = decide(self.policy, *cell).allowed
        if line.decision:
            (self.allows if allowed else self.former)[cell] += 1
            if user is not None:
                user.used.add(cell[1:])
            return
        if line.reason in _OF_NEEDS:
            self.unmet[cell] += 1
        if line.reason in _OF_RULES and allowed:
            return  # allowed since
        key = (*cell, line.reason)
        if key not in self.denials and len(self.denials) >= MAX_DENIALS:
            self.further_denials += 1
            return
        self.denials.setdefault(key, DenialCount()).add(line)

    def _user(self, line: LogLine) -> UserCount | None:
        if not line.user:
            return None
        user = self.users.get(line.user)
        if user is None:
            user = self.users[line.user] = UserCount(line.account)
        if line.time >= user.last:
            user.role, user.last = line.role, line.time
        return user
