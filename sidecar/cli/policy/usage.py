"""``sidecar policy usage``: rights that no user needed, by decision logs, and a tighter policy."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import OK, json_option, plain, print_error, print_json, print_table, usage_error
from sidecar.cli.policy.decision_logs import LogReader
from sidecar.cli.policy.diff import say_difference
from sidecar.cli.policy.file_writer import write_file
from sidecar.cli.policy.policy_source import Source, draft_of, source_of
from sidecar.config.parsers import InvalidValueError, duration
from sidecar.config.settings import Settings
from sidecar.policy.diff import Difference
from sidecar.policy.usage.counts import UsageCounts
from sidecar.policy.usage.proposal import NoProposalError, TighterPolicy, propose
from sidecar.policy.usage.report import PersonUsage, UsageReport, report

SHOWN: Final = 50
"""Rows per table. ``--json`` prints all."""

SHOWN_PERMISSIONS: Final = 5
MAX_AGE: Final = 3650 * 86_400
OFTEN: Final = 10


def _since(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=duration(1, MAX_AGE)(text))
    except InvalidValueError as error:
        raise usage_error(f'--since "{text}": {error}') from None


@click.command()
@click.argument("logs", metavar="LOG…", nargs=-1, required=True)
@settings_options(STORE)
@click.option("--account", metavar="ACCOUNT", help="Also the users of this account without a line in the logs.")
@click.option("--since", callback=_since, metavar="AGE", help="Ignore older lines: 90d, 12h.")
@click.option("--endpoint", "endpoints", multiple=True, metavar="NAME", help="Only this endpoint; may be repeated.")
@click.option(
    "--often", type=click.IntRange(min=1), default=OFTEN, show_default=True, help="Equal denials from which to list."
)
@click.option("--write", "target", metavar="FILE", help="Write the tighter policy.csv to FILE.")
@json_option
def usage(
    logs: tuple[str, ...],
    account: str | None,
    since: datetime | None,
    endpoints: tuple[str, ...],
    often: int,
    target: str | None,
    as_json: bool,
    **flags: str | None,
) -> int:
    """Report the rights that no user needed, by decision logs (JSON lines; - is standard input).

    Lists rules, cells and sections without an allow, the permissions that a user never used, and frequent denials with
    the roles that are allowed them. Proposes a tighter policy.csv, in which every allow of the logs stays one. It
    keeps the rights that an administrator must have, and those of the sidecar's own endpoints, which no decision log
    holds. Exit status 0, and 2 when no log holds a decision of this policy. Only --account reads the store.
    """
    settings = settings_from(flags)
    source = source_of(settings)
    counts = UsageCounts(draft_of(source))
    skipped = LogReader(counts, since, endpoints).read(logs)
    if account is not None:
        _add_members(counts, settings, account)
    proposal, why_not = _proposal(counts, source)
    found = report(counts, often, proposal, skipped)
    if target is not None:
        if proposal is None:
            raise usage_error(f"--write {target}: no proposal: {why_not}")
        write_file(Path(target), proposal.text.encode())
    found = _named(found, source)
    if as_json:
        print_json(found)
    else:
        _print(found, counts, why_not)
    _warn(found, counts)
    return OK


def _add_members(counts: UsageCounts, settings: Settings, account: str) -> None:
    """Add the users of the account, with their roles of now. Only this reads the store."""
    from sidecar.cli.policy.subjects import members_of

    for record in members_of(settings, account):
        counts.add_member(record.id, record.account, record.role)


def _proposal(counts: UsageCounts, source: Source) -> tuple[TighterPolicy | None, str]:
    """Return the proposal with the names of the user's files, or the reason why there is none."""
    try:
        found = propose(counts)
    except NoProposalError as error:
        return None, str(error)
    return replace(found, other_files=tuple(map(source.shown, found.other_files))), ""


def _named(found: UsageReport, source: Source) -> UsageReport:
    """Return the report with the names of the user's files."""
    unused = replace(
        found.unused,
        rules=[replace(one, rule=source.name_of(one.rule)) for one in found.unused.rules],
        cells=[replace(one, rule=source.name_of(one.rule) if one.rule else None) for one in found.unused.cells],
    )
    return replace(found, unused=unused)


# -- text --------------------------------------------------------------------------------------------------------------


def _print(found: UsageReport, counts: UsageCounts, why_not: str) -> None:
    click.echo(plain(f"{counts.decisions} decisions from {counts.first} to {counts.last}, {len(counts.users)} users"))
    unused = found.unused
    _table(
        "rules without an allowed user", ("rule", "text", "cells"), [(r.rule, r.text, r.cells) for r in unused.rules]
    )
    _table(
        "cells without an allowed user",
        ("role", "section", "action", "rule"),
        [(c.role, c.section, c.action, c.rule) for c in unused.cells],
    )
    _table("sections without a visitor", ("section",), [(section,) for section in unused.sections])
    _table("users with unused permissions", ("user", "role", "unused", "permissions"), map(_person, found.people))
    _table(
        "denials that came often",
        ("times", "role", "section", "action", "reason", "allowed roles", "meant"),
        [
            (
                d.times,
                d.role,
                d.section,
                d.action,
                d.reason,
                ", ".join(d.roles) or "none",
                d.meant or ", ".join(d.unmet),
            )
            for d in found.denials
        ],
    )
    _print_proposal(found.proposal, why_not)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    listed = list(rows)
    click.echo(f"\n{title}: {len(listed) or 'none'}")
    if listed:
        print_table(columns, listed[:SHOWN])
    if len(listed) > SHOWN:
        click.echo(f"and {len(listed) - SHOWN} more; --json lists them")


def _person(person: PersonUsage) -> tuple[object, ...]:
    further = ", …" if len(person.unused) > SHOWN_PERMISSIONS else ""
    return person.user, person.role, len(person.unused), ", ".join(person.unused[:SHOWN_PERMISSIONS]) + further


def _print_proposal(proposal: TighterPolicy | None, why_not: str) -> None:
    if proposal is None:
        click.echo(plain(f"\nno proposal: {why_not}"))
        return
    if not proposal.changes:
        click.echo("\nno proposal: policy.csv allows nothing that could be taken away")
        return
    click.echo("\nproposed policy.csv")
    for line in proposal.difference.splitlines():
        click.echo(plain(line))
    say_difference(Difference(proposal.changes, proposal.routes))
    for finding in proposal.other_files:
        click.echo(plain(f"also edit: {finding}"))


def _warn(found: UsageReport, counts: UsageCounts) -> None:
    """Print on stderr how far the logs can be trusted."""
    if found.sampled is not None:
        share = f"{found.sampled.decisions} allows of these logs are a sample (allows={found.sampled.allows:g})"
        print_error(f"warning: {share}: {found.sampled.cannot_show}")
    others = counts.decisions - counts.generations[counts.policy.id]
    if others:
        named = ", ".join(one for one, _ in counts.generations.most_common(4) if one != counts.policy.id) or "unnamed"
        print_error(f"{others} decisions are of other generations ({named}), counted in the cells of this one")
    if counts.former:
        print_error(f"{counts.former.total()} allows are of cells that this policy denies")
    if counts.others:
        reasons = ", ".join(f"{reason} {times}" for reason, times in counts.others.most_common())
        print_error(f"{counts.others.total()} decisions depend on no rule ({reasons})")
    if counts.further_denials:
        print_error(f"warning: {counts.further_denials} denials of further kinds are not listed")
    for one in found.skipped:
        print_error(f"skipped: {one.file}:{one.line}: {one.reason} ({one.lines} lines)")
