"""Fork server for sidecars and command lines: one process has loaded the program, and forks for each.

A fork is a real process with its own number, environment and files, and signals end it. Only Python's start and half a
second of imports are done once per run. Tests of a process's start and end run without it (``own=True``). Linux alone:
on other systems a fork without an exec is not safe.
"""

import array
import atexit
import gc
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

AVAILABLE = sys.platform == "linux"
ROOT = Path(__file__).resolve().parents[2]
LARGEST = 1 << 17
"""Bytes of a request: its environment above all."""


class Child:
    """The part of ``subprocess.Popen`` that the tests use. The exit status arrives through a pipe, because the process
    is the fork server's child.
    """

    def __init__(self, pid: int, ended: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._read(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"sidecar {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            self.returncode = int(os.read(self._ended, 16) or b"-9")
            os.close(self._ended)
        return self.returncode


class ForkServer:
    """The process that has loaded the program."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.live.forkserver", str(theirs.fileno())],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        atexit.register(self.close)

    def start(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        out: IO[bytes],
        err: IO[bytes],
        stdin: IO[bytes] | None = None,
    ) -> Child:
        """Start ``sidecar WORDS`` in the checkout."""
        ended, told = os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            files = [(stdin or nothing).fileno(), out.fileno(), err.fileno(), told]
            request = json.dumps({"words": list(words), "env": dict(env)}).encode()
            socket.send_fds(self._ours, [request], files)
            os.close(told)
            pid = self._ours.recv(16)
            assert pid, "the fork server has exited; its output is above"
            return Child(int(pid), ended)

    def run(
        self, words: Sequence[str], env: Mapping[str, str], text: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(text.encode())
            given.seek(0)
            child = self.start(words, env, out, err, given)
            try:
                status = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
            said = [_all(out), _all(err)]
        return subprocess.CompletedProcess(["sidecar", *words], status, *said)

    def close(self) -> None:
        """End the process and its children."""
        self._ours.close()
        self._process.wait(20)


def _all(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


_the_one: list[ForkServer] = []


def fork_server() -> ForkServer:
    """Return this run's fork server; the first call starts it."""
    if not _the_one:
        _the_one.append(ForkServer())
    return _the_one[0]


# In the process that forks --------------------------------------------------------------------------------------------


def _serve(door: socket.socket) -> None:
    """Fork for every request, report how each child ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest handles Ctrl-C and ends it
    _load()
    gc.collect()
    gc.freeze()  # as a sidecar does at its start, so that a child has few objects to scan
    bell, rope = os.pipe()
    os.set_blocking(rope, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    pipes: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([door, bell], [], [])
        if bell in ready:
            os.read(bell, 4096)
            _bury(pipes)
        if door not in ready:
            continue
        content, files, _, _ = socket.recv_fds(door, LARGEST, 4)
        if not content:
            break
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            door.close()
            _become(json.loads(content), files, [bell, rope, *pipes.values()])
        for file in files[:3]:
            os.close(file)
        pipes[pid] = files[3]
        door.send(str(pid).encode())
    for pid in pipes:
        os.kill(pid, signal.SIGKILL)


def _load() -> None:
    """Load the modules that verbs load on demand."""
    from sidecar.cli.main import VERBS

    for where, _ in VERBS.values():
        import_module(where.partition(":")[0])
    for name in ("sidecar.server.lifecycle", "sidecar.server.admin_context"):
        import_module(name)


def _bury(pipes: dict[int, int]) -> None:
    while pipes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        os.write(pipes[pid], str(os.waitstatus_to_exitcode(status)).encode())
        os.close(pipes.pop(pid))


def _become(request: dict[str, Any], files: "list[int] | array.array[int]", others: list[int]) -> None:
    """Run ``python -m sidecar WORDS`` to its end."""
    from sidecar.cli.main import run
    from sidecar.http import request_id

    request_id._process = secrets.token_hex(6).encode()  # one per process, made when the module is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in (*files, *others):
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["sidecar", *request["words"]]
    status = run(request["words"])
    # The interpreter's steps at exit, without the deallocation of every object.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
