"""One worker: ``python -m sidecar.serve.worker``. What it needs comes through standard input, from its supervisor.

Standard input stays open as long as the supervisor lives; when it closes, the worker drains and ends, so that no worker
outlives a supervisor that was killed.
"""

import asyncio
import os
import pickle
import signal
import struct
import sys

from sidecar.serve.bootstrap import Sidecar
from sidecar.serve.lifecycle import run
from sidecar.serve.place import Place
from sidecar.serve.settings import Settings

LENGTH = struct.Struct("!I")


def parcel(settings: Settings, place: Place) -> bytes:
    """What the supervisor writes. Pickled: both ends are this program, and the pipe is nobody else's."""
    content = pickle.dumps((settings, place))
    return LENGTH.pack(len(content)) + content


def unpack() -> tuple[Settings, Place]:
    (length,) = LENGTH.unpack(sys.stdin.buffer.read(LENGTH.size))
    settings, place = pickle.loads(sys.stdin.buffer.read(length))  # noqa: S301 - see parcel()
    return settings, place


async def watch_supervisor(_sidecar: Sidecar) -> None:
    """Ask ourselves to end when the pipe does."""
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _supervisor_gone)


def _supervisor_gone() -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is somebody to re-read: it would end us
    settings, place = unpack()
    return run(settings, place=place, started=watch_supervisor)


if __name__ == "__main__":
    raise SystemExit(main())
