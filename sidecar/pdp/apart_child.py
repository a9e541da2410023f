"""The child that judges and previews policies: one task on standard input, one answer on standard output.

Run by apart.py alone. It lowers its priority and takes its limits before it looks at a rule; whatever goes wrong is an
exit status, and no word of it comes out.
"""

import gc
import os
import resource
import sys
from contextlib import suppress

import msgspec

from sidecar.pdp.letters import Finding, Limits, Task, opened
from sidecar.pdp.preview import preview
from sidecar.policy.compiler import ProofScope, compile_policy


def main() -> None:
    gc.disable()  # it is over before there is anything to collect
    task = opened(sys.stdin.buffer.read())
    _stand_back(task.limits)
    _limit(task.limits)
    sys.stdout.buffer.write(_answer(task))


def _stand_back(limits: Limits) -> None:
    if limits.spare and sys.platform == "linux":
        with suppress(OSError):  # not every sandbox has that scheduler, or lets it be chosen
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
    os.nice(19 if limits.spare else limits.nice)


def _limit(limits: Limits) -> None:
    for kind, most in ((resource.RLIMIT_CPU, limits.cpu_seconds), (resource.RLIMIT_AS, limits.memory_bytes)):
        if most:
            with suppress(ValueError, OSError):  # a stricter limit is there already
                resource.setrlimit(kind, (most, most))


def _answer(task: Task) -> bytes:
    problems = [one.diagnostic() for one in task.problems]
    if task.current is not None:
        return preview(task.current, task.files, task.people)
    compiled = compile_policy(task.files, problems=problems, proof=ProofScope.EDIT)
    return msgspec.msgpack.encode([Finding.of(found) for found in compiled.diagnostics])


if __name__ == "__main__":
    main()
