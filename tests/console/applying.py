"""Responses about a policy that is being applied, which a page reads instead of the sidecar's."""

from typing import Any

from tests.console.visitor import Visitor

GENERATION = "5e1ec7ed" + "0" * 24
UNTIL = "2999-11-30T18:30:00Z"


def progress(ready: int = 1, sidecars: int = 2, until: str | None = UNTIL, *changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidate": GENERATION,
        "ready": ready,
        "sidecars": sidecars,
        "until": until,
        "changes": list(changes),
    }


def change(users: list[str], times: int = 3, *, action: str = "view", opens: bool = True) -> dict[str, Any]:
    """Return a changed decision of marketers in Billing."""
    before, after = ("deny", "allow") if opens else ("allow", "deny")
    cell = {"role": "marketer", "section": "billing", "action": action}
    return {**cell, "from": before, "to": after, "times": times, "users": users}


NONE = {"candidate": None, "ready": 0, "sidecars": 0, "until": None, "changes": []}


class Candidate:
    """The candidate that the pages of a browser read. ``reads``: number of their requests."""

    def __init__(self, visitor: Visitor, shown: dict[str, Any]) -> None:
        self.shown, self.reads = shown, 0
        visitor.page.route("**/v1/policy/shadow", self._answer)

    def _answer(self, route: Any) -> None:
        self.reads += 1
        route.fulfill(json=self.shown, status=self.shown.get("status", 200))
