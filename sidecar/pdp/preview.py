"""Policy preview: effects of an edit on decisions and users, without activation (R27).

Limits: number of rules and cells, size of the response, time and memory of the child process, one preview per account
and two per sidecar. The proof against pycasbin is skipped. The child encodes the whole response and receives only the
users of the caller's account.
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
from sidecar.pdp.compile.process import CompileProcessError, Failure, run
from sidecar.pdp.compile.protocol import CompileTask, CurrentPolicy, ResourceLimits
from sidecar.pdp.compile.report import MAX_ANSWER, People
from sidecar.policy.generation import Generation
from sidecar.sources.cgroup import memory_limit

MAX_BODY: Final = 1024 * 1024
MAX_RULES: Final = 20_000
MAX_LINES: Final = 4 * MAX_RULES
"""Maximum lines per file. Counting the rules scans all lines on the loop, also those without a rule."""
PER_SIDECAR: Final = 2
ACCOUNT_SLOTS: Final = 4096
"""Number of lock files for accounts, shared by the workers. Accounts that share a file rarely preview at once."""
MAX_CELLS: Final = 100_000
"""Maximum roles × actions of an edited policy."""
MEMORY_SHARE: Final = 8
"""Divisor of the process's memory limit, per child. Two children use a quarter, plus two loaded programs."""
MOST_MEMORY: Final = 1024**3
LIMITS: Final = ResourceLimits(
    cpu_seconds=15,
    memory_bytes=min(MOST_MEMORY, memory_limit() // MEMORY_SHARE),
    seconds=30.0,
    nice=10,
    cells=MAX_CELLS,
    answer_bytes=MAX_ANSWER,
)


@dataclass(frozen=True, slots=True)
class PreviewResult:
    """Finished preview. ``body``: response of `POST /v1/policy/preview`, as JSON."""

    body: bytes


@dataclass(frozen=True, slots=True)
class PreviewBusy:
    """Preview rejected: one runs for this account, two run in the sidecar, or no process could be started."""


@dataclass(frozen=True, slots=True)
class PreviewTooLarge:
    """Preview rejected: it exceeds a limit. ``why``: a sentence."""

    why: str


class Previews:
    """Running previews. ``shared``: directory of the supervisor, for slots shared by its workers."""

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._under_way: set[AccountId] = set()

    async def preview(
        self, account: AccountId, current: Generation, edited: Mapping[str, bytes], people: People
    ) -> PreviewResult | PreviewBusy | PreviewTooLarge:
        """Preview an edit. ``edited``: changed files by bare name; the others come from ``current``.

        Raises CompileProcessError if the child failed because of a bug.
        """
        files = {**current.files, **edited}
        if any(file.count(b"\n") > MAX_LINES for file in edited.values()):
            return PreviewTooLarge(
                f"a preview takes files of at most {MAX_LINES:,} lines; `sidecar policy diff` takes any number"
            )
        if _rules(files["policy.csv"]) > MAX_RULES:
            return PreviewTooLarge(
                f"a preview takes at most {MAX_RULES:,} rules; `sidecar policy diff` takes any number"
            )
        with ExitStack() as place:
            if not self._take(account, place):
                return PreviewBusy()
            reported = {role: [dict(person) for person in holders] for role, holders in people.items()}
            task = CompileTask(files, current=CurrentPolicy.of(current), people=reported, limits=LIMITS)
            try:
                return PreviewResult(await run(task))
            except CompileProcessError as failed:
                match failed.failure:
                    case Failure.NOT_STARTED:
                        return PreviewBusy()
                    case Failure.OUT_OF_LIMITS:
                        return PreviewTooLarge(f"the preview failed: {failed}; `sidecar policy diff` has no limits")
                    case Failure.FAULT:
                        raise

    def _take(self, account: AccountId, place: ExitStack) -> bool:
        """Reserve a slot of the account and one of the sidecar until ``place`` is closed. False: none is free."""
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
    """Count the lines that can hold a rule, without parsing."""
    return len(_RULE.findall(policy))
