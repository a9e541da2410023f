"""What an edit would change, for whom, before anybody makes it (R27). Nothing here is ever put in force.

Costs are bounded: rules, cells and the answer; a child process with limits of time and memory, one at a time for an
account and two in a sidecar; never the proof against pycasbin. The child writes the whole answer; it knows only the
people of the caller's account.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from sidecar.domain.users import AccountId
from sidecar.pdp.compile import file_semaphore
from sidecar.pdp.compile.process import ChildFailed, Failure, run
from sidecar.pdp.compile.protocol import Current, Limits, Task
from sidecar.pdp.compile.report import MAX_ANSWER, People
from sidecar.policy.generation import Generation
from sidecar.sources.cgroup import memory_limit

MAX_BODY: Final = 1024 * 1024
MAX_RULES: Final = 20_000
MAX_LINES: Final = 4 * MAX_RULES
"""Of a file: those that hold no rule are counted as well, on the loop."""
PER_SIDECAR: Final = 2
ACCOUNT_SLOTS: Final = 4096
"""Files that stand for accounts among several workers; two accounts that share one seldom ask at once."""
MAX_CELLS: Final = 100_000
"""Roles × actions of an edited policy."""
MEMORY_SHARE: Final = 8
"""A child gets this part of the memory that the process may use: both at once a quarter, and two loaded programs."""
MOST_MEMORY: Final = 1024**3
LIMITS: Final = Limits(
    cpu_seconds=15,
    memory_bytes=min(MOST_MEMORY, memory_limit() // MEMORY_SHARE),
    seconds=30.0,
    nice=10,
    cells=MAX_CELLS,
    answer_bytes=MAX_ANSWER,
)


@dataclass(frozen=True, slots=True)
class Previewed:
    """``body``: the answer of `POST /v1/policy/preview`, as JSON."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Busy:
    """This account has a preview under way, or the sidecar has its two, or the machine has no process to spare."""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """More than a preview may cost. ``why``: a sentence."""

    why: str


class Previews:
    """The previews under way. ``shared``: the folder of a supervisor whose workers count together."""

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._under_way: set[AccountId] = set()

    async def preview(
        self, account: AccountId, current: Generation, edited: Mapping[str, bytes], people: People
    ) -> Previewed | Busy | TooLarge:
        """``edited``: the files that differ, by bare name; the others are those in force."""
        files = {**current.files, **edited}
        if any(file.count(b"\n") > MAX_LINES for file in edited.values()):
            return TooLarge(
                f"a preview takes files of at most {MAX_LINES:,} lines; `sidecar policy diff` takes any number"
            )
        if _rules(files["policy.csv"]) > MAX_RULES:
            return TooLarge(f"a preview takes at most {MAX_RULES:,} rules; `sidecar policy diff` takes any number")
        with ExitStack() as place:
            if not self._take(account, place):
                return Busy()
            told = {role: [dict(person) for person in holders] for role, holders in people.items()}
            task = Task(files, current=Current.of(current), people=told, limits=LIMITS)
            try:
                return Previewed(await run(task))
            except ChildFailed as failed:
                match failed.failure:
                    case Failure.NOT_STARTED:
                        return Busy()
                    case Failure.OUT_OF_LIMITS:
                        return TooLarge(f"this cannot be previewed: {failed}; `sidecar policy diff` has no limits")
                    case Failure.FAULT:
                        raise

    def _take(self, account: AccountId, place: ExitStack) -> bool:
        """One place for the account and one of the sidecar's, until ``place`` is closed."""
        if account in self._under_way or len(self._under_way) >= PER_SIDECAR:
            return False
        if self._shared is not None:
            own = f"preview-of-{crc32(account.encode()) % ACCOUNT_SLOTS:03x}"
            for names in ((own,), [f"preview-{number}" for number in range(PER_SIDECAR)]):
                slot = file_semaphore.take(self._shared, names)
                if slot is None:
                    return False
                place.enter_context(slot)
        self._under_way.add(account)
        place.callback(self._under_way.discard, account)
        return True


_RULE: Final = re.compile(rb"^[^\S\n]*+[^\s#]", re.MULTILINE)


def _rules(policy: bytes) -> int:
    """Lines that can hold a rule; counted without understanding any."""
    return len(_RULE.findall(policy))
