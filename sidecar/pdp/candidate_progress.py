"""Progress of an application: the answers of the sidecars, and what its shadow has counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.pdp.shadow import ShadowTotal, total_of
from sidecar.store.generation_records import MarkState, PolicyCandidate, SidecarMark
from sidecar.store.policy_generations import PolicyGenerations


@dataclass(frozen=True, slots=True)
class CandidateProgress:
    """PolicyCandidate with the answers and the shadow reports, by sidecar."""

    candidate: PolicyCandidate
    marks: tuple[SidecarMark, ...]
    reports: Mapping[str, Mapping[str, Any]]

    @property
    def ready(self) -> int:
        return sum(mark.state is MarkState.READY for mark in self.marks)

    @property
    def total(self) -> ShadowTotal:
        """Return the counts over all accounts, for operators."""
        return total_of(self.reports.values())

    def of_account(self, account: str) -> ShadowTotal:
        """Return the counts of one account (R45)."""
        return total_of(self.reports.values(), account=account)

    def described(self) -> dict[str, Any]:
        """Return the progress for ``/status``."""
        found: dict[str, Any] = {
            "generation": self.candidate.terms.id,
            "note": self.candidate.terms.note,
            "sidecars": [{"id": mark.id, "state": mark.state, "reason": mark.reason} for mark in self.marks],
        }
        if self.candidate.shadow_until:
            found["shadow"] = {"until": self.candidate.shadow_until / 1000, **described(self.total)}
        return found


def described(total: ShadowTotal) -> dict[str, Any]:
    """Return counts as JSON members."""
    changes = [
        {
            "role": role,
            "section": section,
            "action": action,
            "from": "deny" if one.opens else "allow",
            "to": "allow" if one.opens else "deny",
            "times": one.times,
            "users": list(one.users),
        }
        for one in total.changes
        for role, section, action in [one.cell]
    ]
    return {
        "decisions": total.decisions,
        "changed": total.changed,
        "unclear": total.unclear,
        "changes": changes,
    }


async def progress_of(generations: PolicyGenerations) -> CandidateProgress | None:
    """Return the progress of the current application, None without one. Raises StoreUnavailableError."""
    found = await generations.look()
    if found.candidate is None:
        return None
    reports = await generations.shadow_reports(found.candidate) if found.candidate.shadow_until else {}
    return CandidateProgress(found.candidate, found.marks, reports)
