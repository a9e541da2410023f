"""The child that judges and previews policies: one task on standard input, one answer on standard output.

Run by apart.py alone, which sees to its priority. It takes its limits before it looks at a rule; whatever goes wrong is
an exit status, with Python's own words on stderr.
"""

import gc
import os
import resource
import sys
from contextlib import suppress

import msgspec

from sidecar.pdp.foresight import preview
from sidecar.pdp.letters import PROGRAM_VERSION, Ending, Finding, Judgement, Limits, Task, generation_of, opened
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import pack


def main() -> None:
    if sys.argv[1:] != [PROGRAM_VERSION]:
        os._exit(Ending.ANOTHER_PROGRAM)
    gc.disable()  # it is over before there is anything to collect
    task = opened(sys.stdin.buffer.read())
    _limit(task.limits)
    sys.stdout.buffer.write(_answer(task))


def _limit(limits: Limits) -> None:
    for kind, most in ((resource.RLIMIT_CPU, limits.cpu_seconds), (resource.RLIMIT_AS, limits.memory_bytes)):
        if most:
            with suppress(ValueError, OSError):  # a stricter limit is there already
                resource.setrlimit(kind, (most, most))


def _answer(task: Task) -> bytes:
    problems = [one.diagnostic() for one in task.problems]
    if task.current is not None:
        return preview(generation_of(task.current.packed, task.current.files), task.files, task.people)
    compiled = compile_policy(task.files, problems=problems, proof=ProofScope.EDIT)
    findings = tuple(map(Finding.of, compiled.diagnostics))
    packed = None if compiled.generation is None else pack(compiled.generation)
    return msgspec.msgpack.encode(Judgement(findings, packed))


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except MemoryError:
        os._exit(Ending.OUT_OF_MEMORY)
    os._exit(0)  # its answer is out: nobody waits for a hundred thousand values to be freed one by one
