"""Shadow of a candidate, as ``policy apply --shadow`` waits for it and prints it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import click

from sidecar.cli.output import answer_no, print_table
from sidecar.pdp.shadow import ShadowTotal, total_of
from sidecar.store.generation_records import MarkState, PolicyCandidate
from sidecar.store.policy_generations import PolicyGenerations, PolicyState

INTERVAL: Final = 0.5
LATE_SECONDS: Final = 10.0
"""Time for the last reports after the end of the shadow."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """Result of a shadow. ``silent``: live sidecars without a final report, of which nothing is known (R42)."""

    generation: str
    total: ShadowTotal
    silent: tuple[str, ...]

    @property
    def is_unchanged(self) -> bool:
        """Return whether every sidecar has reported, and no decision would change or is unclear."""
        return not (self.total.changed or self.total.unclear or self.silent)


def require_current(found: PolicyState, candidate: PolicyCandidate) -> PolicyCandidate:
    """Return the stored candidate. Raises CliError if it is another one, or was withdrawn."""
    if found.candidate is None or found.candidate.attempt != candidate.attempt:
        raise answer_no("another application replaced this one: nothing was changed; run the command again")
    return found.candidate


async def shadowed(generations: PolicyGenerations, candidate: PolicyCandidate) -> Shadowed:
    """Wait for the end of the shadow, and for the reports of all live sidecars."""
    while True:
        found = await generations.look()
        stored = require_current(found, candidate)
        reports = await generations.shadow_reports(candidate)
        done = {sidecar for sidecar, report in reports.items() if report["done"]}
        live = [mark.id for mark in found.marks if mark.state is not MarkState.SILENT]
        silent = tuple(sidecar for sidecar in live if sidecar not in done)
        left = stored.shadow_until / 1000 - time.time()
        if left <= 0 and (not silent or left < -LATE_SECONDS):
            return Shadowed(candidate.terms.id, total_of(reports.values()), silent)
        await asyncio.sleep(min(INTERVAL, max(left, 0.05)))


def print_shadow(total: ShadowTotal) -> None:
    """Print what a candidate would change."""
    rows = [
        (
            *one.cell,
            "deny" if one.opens else "allow",
            "allow" if one.opens else "deny",
            one.times,
            ", ".join(list(one.users)[:3]),
        )
        for one in total.changes
    ]
    if rows:
        print_table(("role", "section", "action", "from", "to", "times", "users"), rows)
    unclear = f", {total.unclear} unclear (needs)" if total.unclear else ""
    click.echo(f"{total.decisions} decisions in the shadow, {total.changed} would change{unclear}")
