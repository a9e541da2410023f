"""``sidecar policy replay``: compares the decisions of a log with the current policy files."""

import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import click
import msgspec

from sidecar.cli.output import NO, OK, json_option, print_error, print_json, print_table, usage_error
from sidecar.cli.policy.decision_logs import reject_packed
from sidecar.cli.policy.policy_source import draft_of, files_options, source_from
from sidecar.domain.decision import KnownFacts, Reason
from sidecar.policy.generation import Generation
from sidecar.policy.usage.replayed import OF_THE_POLICY, replayed

OF_ROUTES = {Reason.PUBLIC, Reason.UNMATCHED_PATH, Reason.AMBIGUOUS_PATH, Reason.NOT_YOURS}
"""Reasons of the routes. They depend on path and method, and a decision log holds neither."""

REASONS = frozenset(reason.value for reason in Reason)

SHOWN_USERS = 20


@dataclass(slots=True)
class ChangedDecision:
    """A cell with another decision, and the number of its requests."""

    role: str
    section: str
    action: str
    opens: bool
    times: int = 0
    first: str = ""
    last: str = ""
    users: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class SkippedLines:
    """Number of lines that were not replayed for one reason, and the first of them."""

    reason: str
    times: int = 0
    first: int = 0

    def add(self, line: int) -> None:
        self.times, self.first = self.times + 1, self.first or line

    def __str__(self) -> str:
        return f"line {self.first}: {self.reason} ({self.times} lines)"


@dataclass(slots=True)
class Replay:
    """Counts of policy decisions and of other decisions by reason; numbers of other lines; and the changed cells.

    ``unclear``: requests of cells that now have needs, about which the logged facts say too little.
    """

    replayed: int = 0
    unclear: int = 0
    others: Counter[str] = field(default_factory=Counter)
    foreign: "SkippedLines" = field(default_factory=lambda: SkippedLines("no decision"))
    unreadable: "SkippedLines" = field(default_factory=lambda: SkippedLines("not JSON"))
    changed: dict[tuple[str, str, str, bool], ChangedDecision] = field(default_factory=dict)


@click.command()
@click.argument("log", metavar="LOG")
@files_options
@json_option
def replay(log: str, as_json: bool, **flags: str | None) -> int:
    """Replay every decision of LOG (JSON lines; - is standard input) with the current policy files.

    Exit status 1 when a decision would differ, 2 when LOG holds no decision of a policy. The role is the logged one. In
    a cell that now has needs, the logged methods and age decide. A request about which they say too little is counted
    as "cannot tell": numbers of networks and hours have a meaning in one generation alone. Routes are not replayed,
    because the log holds no paths; `policy diff` compares them.
    """
    generation = draft_of(source_from(flags))
    with _opened(log) as lines:
        result = run(lines, generation)
    if not result.replayed:
        raise usage_error(f"{log} holds no decision of the policy{_what_instead(result)}")
    changed = sorted(result.changed.values(), key=lambda c: (not c.opens, -c.times, c.role, c.section, c.action))
    if as_json:
        print_json([_as_dict(change) for change in changed])
    else:
        rows = [
            (c.role, c.section, c.action, *_words(c), c.times, ", ".join(list(c.users)[:3]), c.last) for c in changed
        ]
        if rows:
            print_table(("role", "section", "action", "from", "to", "times", "users", "last"), rows)
        differing = sum(c.times for c in changed)
        unclear = f" {result.unclear} cannot tell (needs);" if result.unclear else ""
        click.echo(f"{result.replayed} decisions replayed, {differing} would differ;{unclear} {_others(result)}")
    _warn(log, result, as_json=as_json)
    return NO if changed else OK


def _others(result: Replay) -> str:
    """Return the number of decisions outside the table, by reason."""
    reasons = ", ".join(f"{reason} {times}" for reason, times in result.others.most_common())
    return f"{result.others.total()} others ({reasons})" if reasons else "0 others"


def _what_instead(result: Replay) -> str:
    """Return the contents of a log without any policy decision."""
    found = [_others(result)] if result.others else []
    found += [str(one) for one in (result.foreign, result.unreadable) if one.times]
    return f": {', '.join(found) or 'it is empty'}"


def _warn(log: str, result: Replay, *, as_json: bool) -> None:
    """Print the skipped lines on stderr. With --json, the reasons too, because stdout has no room for them."""
    if as_json and result.unclear:
        print_error(f"cannot tell: {result.unclear} requests of cells that now have needs")
    if as_json and result.others:
        print_error(f"not replayed: {_others(result)}")
    if result.others.keys() & OF_ROUTES:
        print_error("routes are not replayed: a decision log holds no paths; sidecar policy diff compares routes")
    for skipped in (result.foreign, result.unreadable):
        if skipped.times:
            print_error(f"warning: {log}: {skipped}")


def run(lines: Iterable[str], generation: Generation) -> Replay:
    """Replay the lines in one pass. Memory grows with the cells, not with the decisions."""
    result = Replay()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            result.unreadable.add(number)
            continue
        if not isinstance(record, dict) or record.get("kind", "decision") != "decision":
            result.foreign.add(number)
            continue
        if not _replay(record, generation, result):
            result.foreign.add(number)
    return result


def _replay(record: dict[str, object], generation: Generation, result: Replay) -> bool:
    """Replay one record. Returns False for a record of another program, which may have any form."""
    reason, decided = record.get("reason"), record.get("decision")
    role, section, action = (record.get(name) or "" for name in ("role", "section", "action"))
    if not isinstance(reason, str) or reason not in REASONS or not isinstance(decided, bool):
        return False
    if reason not in OF_THE_POLICY:
        result.others[reason] += 1
        return True
    if not (isinstance(role, str) and isinstance(section, str) and isinstance(action, str) and role):
        return False
    result.replayed += 1
    cell = (role, section, action)
    now = replayed(
        generation, cell, reason=Reason(reason), decided=decided, by=record.get("generation"), facts=_facts(record)
    )
    if now is None:
        result.unclear += 1
    if now is None or now is decided:
        return True
    change = result.changed.setdefault((role, section, action, now), ChangedDecision(role, section, action, now))
    change.times += 1
    change.last = str(record.get("time") or "")
    change.first = change.first or change.last
    if len(change.users) < SHOWN_USERS:
        change.users[str(record.get("user") or "")] = None
    return True


def _facts(record: dict[str, object]) -> KnownFacts | None:
    try:
        return msgspec.convert(record.get("classes"), KnownFacts | None)
    except msgspec.ValidationError:
        return None


def _words(change: ChangedDecision) -> tuple[str, str]:
    return ("deny", "allow") if change.opens else ("allow", "deny")


def _as_dict(change: ChangedDecision) -> dict[str, object]:
    before, after = _words(change)
    return {
        "role": change.role,
        "section": change.section,
        "action": change.action,
        "from": before,
        "to": after,
        "times": change.times,
        "users": list(change.users),
        "first": change.first,
        "last": change.last,
    }


@contextmanager
def _opened(log: str) -> Iterator[TextIO]:
    """Open the log. Invalid UTF-8 is replaced, so that only its own line counts as no decision."""
    try:
        if log == "-":
            yield _standard_input()
            return
        with open(log, "rb") as file:  # noqa: PTH123 - the name as it was given
            reject_packed(file.peek(8), log, "replay")
            yield io.TextIOWrapper(file, encoding="utf-8", errors="replace")
    except OSError as error:
        raise usage_error(f"{log}: {error.strerror}") from error


def _standard_input() -> TextIO:
    stdin: TextIO = sys.stdin
    if isinstance(stdin, io.TextIOWrapper):
        stdin.reconfigure(encoding="utf-8", errors="replace")
    return stdin
