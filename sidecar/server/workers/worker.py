"""Worker: one of the processes that serve the same ports under one supervisor (server/workers/supervisor.py).

Standard input stays open as long as the worker shall live; when it closes, the worker drains and ends, so that no
worker outlives a supervisor that was killed.
"""

import asyncio
import pickle
import signal
import struct
import sys

from sidecar.config.parsers import UnixAddress
from sidecar.config.settings import Settings
from sidecar.server.bootstrap import FAULT, StartProblem
from sidecar.server.lifecycle import run, say
from sidecar.server.workers.worker_context import Place, words_of

LENGTH = struct.Struct("!I")
HELD = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
"""What is blocked when a worker begins, for it would end it."""


def parcel(settings: Settings, place: Place) -> bytes:
    """What the supervisor writes. Pickled: both ends are this program, and the pipe is nobody else's."""
    content = pickle.dumps((settings, place))
    return LENGTH.pack(len(content)) + content


def unpack() -> tuple[Settings, Place]:
    (length,) = LENGTH.unpack(sys.stdin.buffer.read(LENGTH.size))
    settings, place = pickle.loads(sys.stdin.buffer.read(length))  # noqa: S301 - see parcel()
    return settings, place


async def dismissed() -> None:
    """Waits until the supervisor closes the pipe: it wants our end, or has ended itself."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def main() -> int:
    for number in HELD:  # until there is somebody to act on them; our end is asked for through the pipe as well
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    try:
        settings, place = unpack()
    except (struct.error, EOFError, pickle.UnpicklingError):
        return FAULT  # the supervisor ended while it wrote

    def leave(problem: StartProblem) -> None:
        """To the supervisor, which says it once for all."""
        try:
            if isinstance(place.ops, UnixAddress):
                words_of(place.ops).write_text("\n".join(problem.lines))
        except OSError:
            say(problem)

    return run(settings, place=place, until=dismissed, complain=leave)


if __name__ == "__main__":
    raise SystemExit(main())
