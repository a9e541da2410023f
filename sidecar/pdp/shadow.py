"""Shadow of a candidate: decisions of this sidecar that the candidate would change (R45).

Batches of recorded checks are compared, after their responses. A repeated decision is compared once, and then counted.
The counts are kept per account: what an account reads of them is its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.policy.generation import Generation
from sidecar.policy.usage.replayed import OF_THE_POLICY, Cell, replayed
from sidecar.telemetry.check_recorder import LogEntryTemplate

MAX_USERS: Final = 20
MAX_CHANGES: Final = 1000
"""Changed cells per account and sidecar; the checks of further ones are counted together."""
MAX_KNOWN: Final = 20_000


@dataclass(slots=True)
class ShadowChange:
    """Checks of one account that would be decided otherwise. ``opens``: the candidate allows them."""

    account: str
    cell: Cell
    opens: bool
    times: int = 0
    users: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class ShadowCounts:
    """Counts of one shadow. ``unclear``: checks in cells with needs that the known facts do not decide."""

    generation: Generation
    decisions: int = 0
    unclear: int = 0
    more: int = 0
    changes: dict[tuple[str, Cell, bool], ShadowChange] = field(default_factory=dict)
    _known: dict[int, tuple[LogEntryTemplate, bool | None]] = field(default_factory=dict)

    def count(self, kinds: Sequence[LogEntryTemplate]) -> None:
        """Count a batch of checks. The hook of `CheckRecorder`."""
        known = self._known
        for kind in kinds:
            found = known.get(id(kind))
            if found is None:
                found = kind, self._allows(kind)
                if len(known) >= MAX_KNOWN:
                    known.clear()
                known[id(kind)] = found  # with the template, so that its id is of no other one
            self._add(*found)

    def _allows(self, kind: LogEntryTemplate) -> bool | None:
        """Return the candidate's decision; None if it is unknown."""
        decision = kind.decision
        if decision.user is None or decision.reason not in OF_THE_POLICY:
            return decision.allowed
        cell = (decision.user.role, decision.section, decision.action)
        return replayed(
            self.generation,
            cell,
            reason=decision.reason,
            decided=decision.allowed,
            by=decision.generation,
            facts=decision.known,
        )

    def _add(self, kind: LogEntryTemplate, allows: bool | None) -> None:
        decision = kind.decision
        user = decision.user
        if user is None or decision.reason not in OF_THE_POLICY:
            return
        self.decisions += 1
        if allows is None:
            self.unclear += 1
        elif allows is not decision.allowed:
            cell = (user.role, decision.section, decision.action)
            key = (user.account, cell, allows)
            change = self.changes.get(key)
            if change is None:
                if len(self.changes) >= MAX_CHANGES:
                    self.more += 1
                    return
                change = self.changes[key] = ShadowChange(user.account, cell, allows)
            change.times += 1
            if len(change.users) < MAX_USERS:
                change.users[user.id] = None

    def report(self, *, done: bool) -> dict[str, Any]:
        """Return the counts for the store. ``done``: the shadow has ended here."""
        changes = [[one.account, *one.cell, one.opens, one.times, list(one.users)] for one in self.changes.values()]
        return {
            "decisions": self.decisions,
            "unclear": self.unclear,
            "more": self.more,
            "changes": changes,
            "done": done,
        }


@dataclass(frozen=True, slots=True)
class ShadowTotal:
    """Counts of several sidecars. ``changes`` are sorted: opened ones first, then by number."""

    decisions: int
    unclear: int
    more: int
    changes: tuple[ShadowChange, ...]

    @property
    def changed(self) -> int:
        return self.more + sum(one.times for one in self.changes)


def total_of(reports: Iterable[Mapping[str, Any]], *, account: str | None = None) -> ShadowTotal:
    """Return the sum of reports, per role, section, action and direction. ``account``: count its checks alone (R45)."""
    found: dict[tuple[Cell, bool], ShadowChange] = {}
    decisions = unclear = more = 0
    for report in reports:
        decisions, unclear, more = decisions + report["decisions"], unclear + report["unclear"], more + report["more"]
        for of, role, section, action, opens, times, users in report["changes"]:
            if account is not None and of != account:
                continue
            cell = (role, section, action)
            change = found.setdefault((cell, opens), ShadowChange(account or "", cell, opens))
            change.times += times
            room = MAX_USERS - len(change.users)
            change.users.update(dict.fromkeys(users[: max(0, room)]))
    changes = sorted(found.values(), key=lambda one: (not one.opens, -one.times, one.cell))
    return ShadowTotal(decisions, unclear, more, tuple(changes))
