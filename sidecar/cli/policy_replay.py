"""``sidecar policy replay``: a decision log against the files of now. Which past answers would be others?"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import click

from sidecar.cli.output import NO, OK, complain, json_option, say_json, say_table, wrong
from sidecar.cli.policy_files import draft_of, files_options, source_from
from sidecar.policy.decide import decide
from sidecar.policy.generation import Generation
from sidecar.vocabulary.decision import Reason

OF_THE_POLICY = {Reason.ALLOWED, Reason.NO_RULE, Reason.EXPLICIT_DENY, Reason.UNKNOWN_SECTION, Reason.UNKNOWN_ACTION}
"""Answers that the table gave. The others (tokens, paths, outages) say nothing of the rules."""

SHOWN_USERS = 20


@dataclass(slots=True)
class Changed:
    """One cell that would be answered otherwise, and how often it was asked."""

    role: str
    section: str
    action: str
    opens: bool
    times: int = 0
    first: str = ""
    last: str = ""
    users: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Replay:
    """What was read: answers of the policy, others, lines that are no decision, and the cells that would differ."""

    judged: int = 0
    others: int = 0
    unreadable: int = 0
    changed: dict[tuple[str, str, str, bool], Changed] = field(default_factory=dict)


@click.command()
@click.argument("log", metavar="LOG")
@files_options
@json_option
def replay(log: str, as_json: bool, **flags: str | None) -> int:
    """Answer every decision of LOG again (JSON lines; - is standard input), with the policy files of now.

    Exit status 1 when an answer would be another. The role is the one that the user had when the log was written.
    """
    generation = draft_of(source_from(flags))
    with _opened(log) as lines:
        result = run(lines, generation)
    changed = sorted(result.changed.values(), key=lambda c: (not c.opens, -c.times, c.role, c.section, c.action))
    if as_json:
        say_json([_as_dict(change) for change in changed])
    else:
        rows = [
            (c.role, c.section, c.action, *_words(c), c.times, ", ".join(list(c.users)[:3]), c.last) for c in changed
        ]
        if rows:
            say_table(("role", "section", "action", "from", "to", "times", "users", "last"), rows)
        click.echo(
            f"{result.judged} answers judged, {sum(c.times for c in changed)} would differ; {result.others} others"
        )
    if result.unreadable:
        complain(f"warning: {result.unreadable} lines of {log} are not JSON")
    return NO if changed else OK


def run(lines: Iterable[str], generation: Generation) -> Replay:
    """Reads once, front to back; keeps a line per cell, not per decision."""
    result = Replay()
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            result.unreadable += 1
            continue
        if isinstance(record, dict) and record.get("kind", "decision") == "decision":
            _judge(record, generation, result)
    return result


def _judge(record: dict[str, object], generation: Generation, result: Replay) -> None:
    role, section, action = (str(record.get(name) or "") for name in ("role", "section", "action"))
    decided = record.get("decision")
    if record.get("reason") not in OF_THE_POLICY or not role or not isinstance(decided, bool):
        result.others += 1
        return
    result.judged += 1
    now = decide(generation, role, section, action).allowed
    if now is decided:
        return
    change = result.changed.setdefault((role, section, action, now), Changed(role, section, action, now))
    change.times += 1
    change.last = str(record.get("time") or "")
    change.first = change.first or change.last
    if len(change.users) < SHOWN_USERS:
        change.users[str(record.get("user") or "")] = None


def _words(change: Changed) -> tuple[str, str]:
    return ("deny", "allow") if change.opens else ("allow", "deny")


def _as_dict(change: Changed) -> dict[str, object]:
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
    if log == "-":
        yield sys.stdin
        return
    try:
        with open(log, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - the name as it was given
            yield file
    except OSError as error:
        raise wrong(f"{log}: {error.strerror}") from error
