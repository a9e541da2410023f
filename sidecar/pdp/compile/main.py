"""Child process that compiles and previews policies: one task on standard input, one response on standard output.

Only process.py starts it and sets its priority. The child sets its limits before it parses a rule. A failure is an exit
status, with Python's own message on stderr.
"""

import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from sidecar.pdp.compile.protocol import (
    PROGRAM_VERSION,
    CompileResponse,
    CompileTask,
    ExitStatus,
    ResourceLimits,
    decode_task,
    generation_of,
)
from sidecar.pdp.compile.report import TooManyCellsError, preview
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import pack


def main() -> None:
    if sys.argv[1:] != [PROGRAM_VERSION]:
        os._exit(ExitStatus.ANOTHER_PROGRAM)
    gc.disable()  # the process is too short-lived for collection to pay
    task = decode_task(sys.stdin.buffer.read())
    _limit(task.limits)
    sys.stdout.buffer.write(_answer(task))


def _limit(limits: ResourceLimits) -> None:
    memory = limits.memory_bytes and limits.memory_bytes + _address_space()
    for kind, most in ((resource.RLIMIT_CPU, limits.cpu_seconds), (resource.RLIMIT_AS, memory)):
        if most:
            with suppress(ValueError, OSError):  # a stricter limit is already set
                resource.setrlimit(kind, (most, most))


def _address_space() -> int:
    """Return the bytes of address space of the loaded program. They depend on libc and machine, not on the task."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (OSError, ValueError):  # not Linux
        return 0


def _answer(task: CompileTask) -> bytes:
    if task.current is not None:
        current = generation_of(task.current.packed, task.current.files)
        return preview(current, task.files, task.people, most_cells=task.limits.cells)
    compiled = compile_policy(task.files, problems=task.problems, proof=ProofScope.EDIT)
    packed = None if compiled.generation is None else pack(compiled.generation)
    return msgspec.msgpack.encode(CompileResponse(compiled.diagnostics, packed))


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except MemoryError:
        os._exit(ExitStatus.OUT_OF_MEMORY)
    except TooManyCellsError:
        os._exit(ExitStatus.TOO_MANY_CELLS)
    os._exit(0)  # the response is written: skip freeing a hundred thousand values
