"""Policy work that may not keep a check waiting: done in a child process, or in a thread that keeps giving way.

A thread shares the interpreter with the checks: compiling 20,000 rules in one raised their p99 from 2 ms to 220. So the
judging of a large policy (tests, warnings, the proof against pycasbin) and every preview run in a child: spawned, never
forked from here, at a lower priority, with an environment that holds no secret, and dead when it is not waited for
any more. What comes back over its pipe are findings and, when there is no error among them, the very table that was
proved, as one array: building it here again took a thread of the sidecar a fifth of a second for 20,000 rules.
"""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from sidecar.pdp.compile.protocol import (
    PROGRAM_VERSION,
    Ending,
    Finding,
    Judgement,
    Limits,
    Task,
    generation_of,
    letter,
)
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, path_of
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles
from sidecar.telemetry.app_log import logger

LARGE: Final = 64 * 1024
"""Bytes of all files from which a child is worth its start (a quarter of a second of another core)."""

SWITCH_SECONDS: Final = 0.00005
"""How long the thread keeps the interpreter when a check wants it. Python's default is 5 ms."""

LONGEST_COMPLAINT: Final = 300

PATIENCE: Final = 5.0
"""Seconds for a child that has only what others leave it. 20,000 rules take one and a half where a core is free."""

PROGRAM: Final = ("-s", "-P", "-m", "sidecar.pdp.compile.main")
"""-P: no module is taken from the working folder, which is where a policy may lie."""

OUT_OF_LIMITS: Final = (Ending.OUT_OF_MEMORY, -signal.SIGXCPU, -signal.SIGKILL)
"""How a child ends that wanted more than it may have; SIGKILL is the kernel's too, where memory runs out."""

_log = logger("policy")

T = TypeVar("T")


class Failure(Enum):
    """Whose fault it is that a child gave no answer: the machine's, the task's or ours."""

    NOT_STARTED = auto()
    OUT_OF_LIMITS = auto()
    FAULT = auto()


class ChildFailed(Exception):
    """The child gave no answer. One sentence."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Judged:
    """``generation`` is None iff an error is among the diagnostics."""

    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]


async def judge(files: PolicyFiles, current: Generation | None = None) -> Judged:
    """Compile what was read, with the proof of an edit (R28). A child that fails is a finding, never tried again here:
    what ended it would end the sidecar. ``current``: the generation in force. Raises ValueError when the child's table
    is none of these files."""
    if sum(map(len, files.files.values())) < LARGE:
        return await asyncio.to_thread(_gently, lambda: _judge_here(files))
    problems = tuple(map(Finding.of, files.diagnostics))
    try:
        answer = await run(Task(dict(files.files), problems))
    except ChildFailed as failure:
        return Judged(None, (not_judged(f"the process that judges large policies gave no answer: {failure}"),))
    return await asyncio.to_thread(_gently, lambda: _opened(answer, files.files, current))


def _opened(answer: bytes, files: Mapping[str, bytes], current: Generation | None) -> Judged:
    judgement = msgspec.msgpack.decode(answer, type=Judgement)
    diagnostics = tuple(one.diagnostic() for one in judgement.findings)
    if judgement.packed is None or any(one.is_error for one in diagnostics):
        return Judged(None, diagnostics)
    return Judged(generation_of(judgement.packed, files, like=current), diagnostics)


def not_judged(message: str) -> Diagnostic:
    code = DiagnosticCode.POLICY_TOO_LARGE
    return Diagnostic(code.severity, code, path_of("policy.csv"), 1, 1, message, "look at memory, then send SIGHUP")


def _judge_here(files: PolicyFiles) -> Judged:
    compiled = compile_policy(files.files, problems=files.diagnostics, proof=ProofScope.EDIT)
    return Judged(compiled.generation, compiled.diagnostics)


def _gently(work: Callable[[], T]) -> T:
    """In a thread beside a busy loop: the interpreter is handed over soon, no collection stops everybody meanwhile."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()
        sys.setswitchinterval(usual)


# -- the child ---------------------------------------------------------------------------------------------------------

_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
"""Nothing of ours: the settings may hold the store's password."""


async def run(task: Task) -> bytes:
    """The child's answer. It ends with its answer, at its limits, or when nobody waits for it any more.

    At first it has only what no check wants of the processor. A machine that has nothing to spare would never get to
    an edit in that way, so after `PATIENCE` it begins again with a share of its own.
    """
    limits = task.limits
    deadline = asyncio.get_running_loop().time() + limits.seconds
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(PATIENCE, limits.seconds)):
                return await _once(replace(task, limits=replace(limits, spare=True)))
        async with asyncio.timeout_at(deadline):
            return await _once(task)
    except TimeoutError:
        raise ChildFailed(f"it took more than {limits.seconds:g} seconds", Failure.OUT_OF_LIMITS) from None


async def _once(task: Task) -> bytes:
    child = _Child()
    try:
        ended = await asyncio.to_thread(child.answer, task)
    except OSError as error:
        raise ChildFailed(f"it could not be started: {error.strerror}", Failure.NOT_STARTED) from None
    finally:
        child.end()
    if ended.status != 0:
        raise _failed(ended, task.limits)
    return ended.answer


class _Ended(NamedTuple):
    status: int
    answer: bytes
    complaint: bytes


def _failed(ended: _Ended, limits: Limits) -> ChildFailed:
    if ended.status in OUT_OF_LIMITS:
        return ChildFailed("it ran out of its time or memory", Failure.OUT_OF_LIMITS)
    if ended.status == Ending.TOO_MANY_CELLS:
        return ChildFailed(f"roles × actions make more than {limits.cells:,} cells", Failure.OUT_OF_LIMITS)
    if ended.status == Ending.ANOTHER_PROGRAM:
        return ChildFailed("the program on the disk is not the one that runs: restart the sidecar", Failure.FAULT)
    lines = ended.complaint.decode(errors="replace").splitlines() or [""]
    _log.error("the process that judges policies failed", status=ended.status, said=lines[-1][:LONGEST_COMPLAINT])
    return ChildFailed(f"it ended with status {ended.status}; the sidecar's log has more", Failure.FAULT)


class _Child:
    """One child, started and heard out in a thread: uvloop forks on the loop, which stops all checks for as long as the
    kernel copies the page tables (11 ms for 200 MB); `subprocess` has the kernel copy nothing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def answer(self, task: Task) -> _Ended:
        """In a thread."""
        with subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, *PROGRAM, PROGRAM_VERSION],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # read at the end: a traceback fits into the pipe
            env=_environment(),
            # A Ctrl-C of the terminal is ours to act on. Not a session of its own: Linux shares the processor out among
            # sessions first (autogroup), and there the child would have as much as all of us.
            process_group=0,
        ) as process:
            self._process = process
            _stand_back(process.pid, task.limits)
            if self._ended:
                process.kill()
            assert process.stdin is not None  # noqa: S101 - all three are pipes
            assert process.stdout is not None  # noqa: S101
            assert process.stderr is not None  # noqa: S101
            with suppress(BrokenPipeError), process.stdin as paper:  # it has ended: its status says how
                for piece in letter(task):
                    paper.write(piece)
            most = task.limits.answer_bytes
            answer = process.stdout.read(most + 1 if most else -1)
            if most and len(answer) > most:
                process.kill()
                raise ChildFailed(f"its answer is over {most:,} bytes", Failure.OUT_OF_LIMITS)
            complaint = process.stderr.read()
        return _Ended(process.returncode, answer, complaint)

    def end(self) -> None:
        """On the loop. Kill it, unless it is over; its thread takes it off the kernel's list."""
        self._ended = True
        if self._process is not None:
            self._process.kill()


def _stand_back(child: int, limits: Limits) -> None:
    """From its first moment: what it imports takes a fifth of a second."""
    with suppress(OSError):  # it may be over already
        if limits.spare and sys.platform == "linux":
            with suppress(OSError):  # not every sandbox has that scheduler, or lets it be chosen
                os.sched_setscheduler(child, os.SCHED_IDLE, os.sched_param(0))
                return
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, child, 19 if limits.spare else min(19, ours + limits.nice))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}
