"""Embedded store: a real Redis as a child process, on a private Unix socket. Acknowledged writes are durable.

Three locks in ``STATE_DIR/store`` assign the roles. The kernel releases a lock when its process exits.

- ``owner``: held by the process that runs the server.
- ``running``: held by the server, which inherits the open file, so that two servers never write one data set.
- ``guests``: shared by the processes that use the server of another one.

On Linux the kernel ends the server with its owner; elsewhere the next owner ends it first. The folder must belong to
the sidecar's user and is private to it.
"""

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sidecar.store.embedded.server_binary import ServerBinary, find_server
from sidecar.store.errors import StoreMismatchError, StoreUnavailableError

FOLDER: Final = "store"
"""Folder in the state directory."""
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 8.0
JOIN_PATIENCE: Final = 2.0
"""Seconds that a stopping owner waits for guests: long enough for a command, not for a sidecar."""
POLL: Final = 0.02
SOCKET_PATH_LIMIT: Final = 100
"""Maximum bytes of the socket's path. sun_path holds 108 on Linux and 104 on macOS, with the final NUL."""

_LAUNCH: Final = (  # runs in a separate Python: a fork of a process with threads is unsafe
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))\n"  # PR_SET_PDEATHSIG: ends with the thread that spawned it
    "if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])\n"
)


_ONCE: Final = Retry(NoBackoff(), 0)


@dataclass(slots=True)
class EmbeddedServer:
    """Role of one process in the embedded store. ``url`` does not change with the owner.

    ``on_restart`` is called when `watch` has started the server.
    """

    folder: Path
    url: str
    binary: ServerBinary | None
    on_restart: Callable[[], None] = lambda: None
    _owner: int | None = None
    _shared_lock: int | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def owner(self) -> bool:
        """Report whether this process runs the server."""
        return self._owner is not None

    @classmethod
    async def acquire(
        cls, state_dir: Path, *, binary: ServerBinary | None = None, patience: float = START_TIMEOUT
    ) -> "EmbeddedServer":
        """Join the running server, or start one. ``patience``: seconds until it must respond.

        Call from a thread that lives as long as the server should. Raises StoreMismatchError (no server program, folder
        of another user) or StoreUnavailableError (the server does not start).
        """
        folder = _private_folder(state_dir)
        socket = _socket_path(folder)
        server = cls(folder, f"unix://{quote(str(socket))}", binary)
        try:
            await server._enter(time.monotonic() + patience)
        except BaseException:
            await server.stop()
            raise
        return server

    async def watch(self, interval: float = 0.1) -> None:
        """Restart the server when it exits, and take over when its owner exits. Runs until cancelled."""
        while True:
            await asyncio.sleep(interval)
            alive = self._process is not None and self._process.poll() is None
            try:
                if not alive and self._take_ownership():
                    await self._run(time.monotonic() + START_TIMEOUT)
                    self.on_restart()
            except (StoreUnavailableError, StoreMismatchError, OSError):
                # No free descriptor, a full disk, a missing folder: retried at the next iteration. Until then the store
                # is out, as every response reports.
                continue

    async def stop(self) -> None:
        """Stop the server and wait for its exit (owner), or leave it (guest). Loses no acknowledged write."""
        self._leave()
        alone = None if self._process is None else await self._wait_for_guests()
        if self._process is not None:
            await _end(self._process)
            self._process = None
        for descriptor in (self._owner, alone):  # held until the server has exited, against new guests and owners
            if descriptor is not None:
                os.close(descriptor)
        self._owner = None

    async def _enter(self, deadline: float) -> None:
        while not await self._join_or_own(deadline):
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"the embedded store of {self.folder}, run by another process, does not answer"
                )
            await asyncio.sleep(POLL)

    async def _join_or_own(self, deadline: float) -> bool:
        if self._take_ownership():
            await self._run(deadline)
            return True
        if self._shared_lock is None:
            self._shared_lock = _lock(self.folder / "guests", fcntl.LOCK_SH)
        return self._shared_lock is not None and await asyncio.to_thread(_answers, self._socket)

    def _take_ownership(self) -> bool:
        if self._owner is None:
            self._owner = _lock(self.folder / "owner", fcntl.LOCK_EX)
        if self._owner is not None:
            self._leave()
        return self._owner is not None

    def _leave(self) -> None:
        if self._shared_lock is not None:
            os.close(self._shared_lock)
            self._shared_lock = None

    @property
    def _socket(self) -> Path:
        return _socket_path(self.folder)

    async def _run(self, deadline: float) -> None:
        """Start the server after any earlier one has exited, and wait until it responds."""
        while (running := _lock(self.folder / "running", fcntl.LOCK_EX)) is None:
            await asyncio.to_thread(_dismiss, self._socket)  # its owner was killed; acknowledged writes are in the file
            if time.monotonic() > deadline:
                raise StoreUnavailableError(f"an earlier server of {self.folder} does not exit: stop it by hand")
            await asyncio.sleep(POLL)
        try:
            self.binary = self.binary or find_server()
            self._process = _spawn(self.binary.path, self.folder, self._socket, running)
        finally:
            os.close(running)  # the server holds the lock until it exits
        while not await asyncio.to_thread(_answers, self._socket):
            if self._process.poll() is not None:
                self._process = None
                raise StoreUnavailableError(f"the embedded store does not start: {_last_line(self.folder / 'log')}")
            if time.monotonic() > deadline:
                await _end(self._process)
                self._process = None
                raise StoreUnavailableError(f"the embedded store of {self.folder} does not start in time")
            await asyncio.sleep(POLL)

    async def _wait_for_guests(self) -> int | None:
        """Return the lock that excludes guests; None when a guest remains after JOIN_PATIENCE."""
        patience = time.monotonic() + JOIN_PATIENCE
        while time.monotonic() < patience:
            if (alone := _lock(self.folder / "guests", fcntl.LOCK_EX)) is not None:
                return alone
            await asyncio.sleep(POLL)
        return None


def _spawn(binary: Path, folder: Path, socket: Path, running: int) -> "subprocess.Popen[bytes]":
    words = [str(binary), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(folder)]
    words += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]
    words += ["--maxmemory-policy", "noeviction"]
    if sys.platform == "linux":
        words = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *words]
    log = folder / "log"
    if log.exists():
        log.replace(folder / "log.1")
    with log.open("wb") as output:  # a file, because an unread pipe would fill and block the server
        return subprocess.Popen(  # noqa: S603 (no shell, our own words)
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(running,),
            start_new_session=True,  # Ctrl-C reaches only the sidecar, which drains and then stops the server
            cwd=folder,
        )


async def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()  # every write was synced before it was acknowledged
            process.wait()
        await asyncio.sleep(POLL / 4)


def _answers(socket: Path) -> bool:
    """Report whether a server responds, with its data loaded."""
    try:
        with redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0, retry=_ONCE) as client:
            client.ping()
    except (redis.RedisError, OSError):
        return False
    return True


def _dismiss(socket: Path) -> None:
    """Shut down a server whose owner has exited."""
    try:
        with redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0, retry=_ONCE) as client:
            client.shutdown(nosave=True)
    except (redis.RedisError, OSError):
        return


def _lock(path: Path, kind: int) -> int | None:
    """Open and lock the file. Returns None when another process holds the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _private_folder(state_dir: Path) -> Path:
    folder = state_dir.absolute() / FOLDER
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            raise StoreMismatchError(
                f"{folder} belongs to another user (uid {found.st_uid}): choose another SIDECAR_STATE_DIR"
            )
        folder.chmod(0o700)
    except OSError as error:
        raise StoreMismatchError(
            f"the embedded store cannot use {folder}: {error.strerror}: set SIDECAR_STATE_DIR to a folder it may "
            "write, or SIDECAR_REDIS_URL to a Redis"
        ) from None
    return folder


def _socket_path(folder: Path) -> Path:
    """Return the socket's path in the folder. Too long a path is replaced by a private one, recorded in the folder."""
    socket = folder / "s"
    if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT:
        return socket
    note = folder / "socket"
    while True:
        try:
            remembered = Path(note.read_text(encoding="utf-8"))
            found = remembered.parent.lstat()
            if found.st_uid == os.geteuid() and found.st_mode & 0o7777 == 0o700:
                return remembered
        except (OSError, ValueError):
            pass
        try:
            private = Path(tempfile.mkdtemp(prefix="sidecar-"))
        except OSError as error:
            raise StoreMismatchError(
                f"{socket} is too long for a socket's path, and no temporary directory can be written "
                f"({error.strerror}): set SIDECAR_STATE_DIR to a shorter path"
            ) from None
        draft = folder / f"socket.{os.getpid()}"
        draft.write_text(str(private / "s"), encoding="utf-8")
        draft.replace(note)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return str(error)
    found = [line.strip() for line in lines if line.strip()]
    return f"{found[-1] if found else 'no output'} (more in {log})"
