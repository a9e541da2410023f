"""Worker: one of the processes that serve the same ports under one supervisor (server/workers/supervisor.py).

The supervisor keeps the worker's standard input open. When it closes, the worker drains and exits, so no worker
outlives a killed supervisor.
"""

import asyncio
import pickle
import signal
import struct
import sys

from sidecar.config.parsers import UnixAddress
from sidecar.config.settings import Settings
from sidecar.server.bootstrap import FAULT, StartError
from sidecar.server.lifecycle import run, say
from sidecar.server.workers.worker_context import WorkerContext, words_of

LENGTH = struct.Struct("!I")
BLOCKED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
"""Signals blocked until a worker can handle them, because they would end it."""


def parcel(settings: Settings, place: WorkerContext) -> bytes:
    """Return the supervisor's message to a worker. Pickled: both ends are this program, and the pipe is private."""
    content = pickle.dumps((settings, place))
    return LENGTH.pack(len(content)) + content


def unpack() -> tuple[Settings, WorkerContext]:
    (length,) = LENGTH.unpack(sys.stdin.buffer.read(LENGTH.size))
    settings, place = pickle.loads(sys.stdin.buffer.read(length))  # noqa: S301 - see parcel()
    return settings, place


async def dismissed() -> None:
    """Wait until the supervisor closes the pipe, on purpose or by its own exit."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def main() -> int:
    for number in BLOCKED:  # ignored until handlers exist; the pipe also requests the exit
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    try:
        settings, place = unpack()
    except (struct.error, EOFError, pickle.UnpicklingError):
        return FAULT  # the supervisor exited while writing

    def leave(problem: StartError) -> None:
        """Write the problem to a file for the supervisor, which prints it once for all workers."""
        try:
            if isinstance(place.ops, UnixAddress):
                words_of(place.ops).write_text("\n".join(problem.lines))
        except OSError:
            say(problem)

    return run(settings, place=place, until=dismissed, complain=leave)


if __name__ == "__main__":
    raise SystemExit(main())
