"""Compiles policies off the event loop: small ones in a low-priority thread, large ones in a child process.

A thread shares the interpreter with the checks: compiling 20,000 rules in one raised their p99 from 2 ms to 220 ms.
Therefore a child compiles large policies (tests, warnings, the proof against pycasbin) and builds all previews. It is
spawned, not forked. It has a lower priority and an environment without secrets, and is killed when no caller waits.
Its response holds the findings and, without errors, the proven table as one array. Building the table again in a thread
took 0.2 s for 20,000 rules.
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
    CompileResponse,
    CompileTask,
    ExitStatus,
    ResourceLimits,
    encode_task,
    generation_of,
)
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, path_of
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import PolicyFiles
from sidecar.telemetry.app_log import logger

LARGE: Final = 64 * 1024
"""Total bytes of the files above which a child is worth its start-up cost (0.25 s of another core)."""

SWITCH_SECONDS: Final = 0.00005
"""Longest time the thread holds the interpreter while a check waits. Python's default is 5 ms."""

LONGEST_COMPLAINT: Final = 300

PATIENCE: Final = 5.0
"""Seconds for a child that uses idle CPU time only. 20,000 rules take 1.5 s on a free core."""

PROGRAM: Final = ("-s", "-P", "-m", "sidecar.pdp.compile.main")
"""-P: ignore modules in the working directory, which may contain a policy."""

OUT_OF_LIMITS: Final = (ExitStatus.OUT_OF_MEMORY, -signal.SIGXCPU, -signal.SIGKILL)
"""Exit statuses of a child that exceeded its limits. The kernel also sends SIGKILL when memory runs out."""

_log = logger("policy")

T = TypeVar("T")


class Failure(Enum):
    """Cause of a missing response: the machine, the task, or a bug."""

    NOT_STARTED = auto()
    OUT_OF_LIMITS = auto()
    FAULT = auto()


class CompileProcessError(Exception):
    """Failure of a child to return a response. The message is one sentence."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class CompileResult:
    """Compile result. ``generation`` is None iff the diagnostics contain an error."""

    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]


async def compile_files(files: PolicyFiles, current: Generation | None = None) -> CompileResult:
    """Compile policy files, with the proof scope of an edit (R28). ``current``: the active generation.

    A failed child becomes a diagnostic. It is not retried in this process, because the same failure would end the
    sidecar. Raises ValueError if the child's table does not belong to these files.
    """
    if sum(map(len, files.files.values())) < LARGE:
        return await asyncio.to_thread(_low_priority, lambda: _compile_here(files))
    try:
        answer = await run(CompileTask(dict(files.files), files.diagnostics))
    except CompileProcessError as failure:
        return CompileResult(None, (not_compiled(f"the compile process failed: {failure}"),))
    return await asyncio.to_thread(_low_priority, lambda: _opened(answer, files.files, current))


def _opened(answer: bytes, files: Mapping[str, bytes], current: Generation | None) -> CompileResult:
    response = msgspec.msgpack.decode(answer, type=CompileResponse)
    diagnostics = response.findings
    if response.packed is None or any(one.is_error for one in diagnostics):
        return CompileResult(None, diagnostics)
    return CompileResult(generation_of(response.packed, files, like=current), diagnostics)


def not_compiled(message: str) -> Diagnostic:
    code = DiagnosticCode.POLICY_TOO_LARGE
    return Diagnostic(
        code.severity, code, path_of("policy.csv"), 1, 1, message, "check the available memory, then send SIGHUP"
    )


def _compile_here(files: PolicyFiles) -> CompileResult:
    compiled = compile_policy(files.files, problems=files.diagnostics, proof=ProofScope.EDIT)
    return CompileResult(compiled.generation, compiled.diagnostics)


def _low_priority(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread beside a busy loop: short switch interval, and no garbage collection pauses."""
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
"""Environment variables of the child. Sidecar settings are excluded, because they may hold the store's password."""


async def run(task: CompileTask) -> bytes:
    """Run a task in a child and return its response. Raises CompileProcessError.

    The child ends with its response, at its limits, or when the caller is cancelled. It first uses idle CPU time only.
    A busy machine may have none, so after `PATIENCE` a new child starts with a regular CPU share.
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
        raise CompileProcessError(f"it took longer than {limits.seconds:g} seconds", Failure.OUT_OF_LIMITS) from None


async def _once(task: CompileTask) -> bytes:
    child = _Child()
    try:
        ended = await asyncio.to_thread(child.answer, task)
    except OSError as error:
        raise CompileProcessError(f"it could not be started: {error.strerror}", Failure.NOT_STARTED) from None
    finally:
        child.end()
    if ended.status != 0:
        raise _failed(ended, task.limits)
    return ended.answer


class _Ended(NamedTuple):
    status: int
    answer: bytes
    complaint: bytes


def _failed(ended: _Ended, limits: ResourceLimits) -> CompileProcessError:
    if ended.status in OUT_OF_LIMITS:
        return CompileProcessError("time or memory limit exceeded", Failure.OUT_OF_LIMITS)
    if ended.status == ExitStatus.TOO_MANY_CELLS:
        return CompileProcessError(f"roles × actions exceed {limits.cells:,} cells", Failure.OUT_OF_LIMITS)
    if ended.status == ExitStatus.ANOTHER_PROGRAM:
        return CompileProcessError(
            "the installed version differs from the running one: restart the sidecar", Failure.FAULT
        )
    lines = ended.complaint.decode(errors="replace").splitlines() or [""]
    _log.error("compile process failed", status=ended.status, stderr=lines[-1][:LONGEST_COMPLAINT])
    return CompileProcessError(f"exit status {ended.status}; see the sidecar's log", Failure.FAULT)


class _Child:
    """Child process, started and read in a thread. uvloop forks on the loop, which stops all checks while the kernel
    copies the page tables (11 ms for 200 MB). `subprocess` avoids the copy."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def answer(self, task: CompileTask) -> _Ended:
        """Start the child, send the task and read the response. Call this in a thread. Raises OSError,
        CompileProcessError."""
        with subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, *PROGRAM, PROGRAM_VERSION],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # read last: a traceback fits into the pipe's buffer
            env=_environment(),
            # Own process group: only the sidecar receives the terminal's Ctrl-C. Not an own session: Linux divides CPU
            # time among sessions first (autogroup), so the child would get as much as the whole sidecar.
            process_group=0,
        ) as process:
            self._process = process
            _lower_priority(process.pid, task.limits)
            if self._ended:
                process.kill()
            assert process.stdin is not None  # noqa: S101 - all three are pipes
            assert process.stdout is not None  # noqa: S101
            assert process.stderr is not None  # noqa: S101
            with suppress(BrokenPipeError), process.stdin as paper:  # the child exited; its status is the reason
                for piece in encode_task(task):
                    paper.write(piece)
            most = task.limits.answer_bytes
            answer = process.stdout.read(most + 1 if most else -1)
            if most and len(answer) > most:
                process.kill()
                raise CompileProcessError(f"its response exceeds {most:,} bytes", Failure.OUT_OF_LIMITS)
            complaint = process.stderr.read()
        return _Ended(process.returncode, answer, complaint)

    def end(self) -> None:
        """Kill the child if it still runs. Its thread reaps it. Call this on the loop."""
        self._ended = True
        if self._process is not None:
            self._process.kill()


def _lower_priority(child: int, limits: ResourceLimits) -> None:
    """Lower the child's priority immediately, because its imports take 0.2 s."""
    with suppress(OSError):  # the child may have exited
        if limits.spare and sys.platform == "linux":
            with suppress(OSError):  # some sandboxes lack or deny this scheduler
                os.sched_setscheduler(child, os.SCHED_IDLE, os.sched_param(0))
                return
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, child, 19 if limits.spare else min(19, ours + limits.nice))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}
