"""The embedded store: a real Redis as our child, on a Unix socket that only we can reach, keeping what it acknowledges.

Three locks in ``STATE_DIR/store`` say who is who, and the kernel drops each with the process that holds it:
``owner`` is held by the one process that runs the server; ``running`` by the server itself (it inherits the open file),
so two servers never write one data set, whoever died how; ``guests`` is shared by those who use another's server.
On Linux the server ends with its owner, by the kernel's hand; elsewhere the next owner ends it first. Refuses to write
beside a server that lives, and to use a folder that others can read.
"""

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sidecar.store.embedded.server_binary import ServerBinary, find_server
from sidecar.store.errors import StoreRefused, StoreUnavailable

FOLDER: Final = "store"
"""In the state directory."""
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 8.0
GUEST_PATIENCE: Final = 2.0
"""How long an owner that wants to stop waits for guests: long enough for another command line, not for a sidecar."""
POLL: Final = 0.02
SOCKET_PATH_LIMIT: Final = 100
"""sun_path holds 108 bytes on Linux and 104 on macOS, with the final NUL."""

_LAUNCH: Final = (  # runs in a small Python of its own: forking with our threads would not be safe
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))\n"  # PR_SET_PDEATHSIG: ends with the thread that spawned it
    "if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])\n"
)


_ONCE: Final = Retry(NoBackoff(), 0)


@dataclass(slots=True)
class EmbeddedServer:
    """One process's part in the embedded store. ``url`` stays the same when the owner changes."""

    folder: Path
    url: str
    binary: ServerBinary | None
    _owner: int | None = None
    _guest: int | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def owner(self) -> bool:
        return self._owner is not None

    @classmethod
    async def acquire(
        cls, state_dir: Path, *, binary: ServerBinary | None = None, patience: float = START_TIMEOUT
    ) -> "EmbeddedServer":
        """The running server, or one that we start. Call it from a thread that lives as long as the server should.

        Raises StoreRefused (no server program, a folder that is not ours) or StoreUnavailable (it does not start).
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
        """Run beside the sidecar: start the server again when it dies, take over when its owner does."""
        while True:
            await asyncio.sleep(interval)
            alive = self._process is not None and self._process.poll() is None
            try:
                if not alive and self._take_ownership():
                    await self._run(time.monotonic() + START_TIMEOUT)
            except (StoreUnavailable, StoreRefused, OSError):
                # No descriptor left, a full disk, a folder that is gone: tried again at the next turn. Until then the
                # store is out, and every answer says so.
                continue

    async def stop(self) -> None:
        """The owner ends the server and waits until it has; a guest leaves. Nothing acknowledged is lost."""
        self._leave()
        alone = None if self._process is None else await self._wait_for_guests()
        if self._process is not None:
            await _end(self._process)
            self._process = None
        for descriptor in (self._owner, alone):  # nobody joins, and nobody takes over, before the server has ended
            if descriptor is not None:
                os.close(descriptor)
        self._owner = None

    async def _enter(self, deadline: float) -> None:
        while not await self._join_or_own(deadline):
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the embedded store of {self.folder}, run by another process, does not answer")
            await asyncio.sleep(POLL)

    async def _join_or_own(self, deadline: float) -> bool:
        if self._take_ownership():
            await self._run(deadline)
            return True
        if self._guest is None:
            self._guest = _lock(self.folder / "guests", fcntl.LOCK_SH)
        return self._guest is not None and await asyncio.to_thread(_answers, self._socket)

    def _take_ownership(self) -> bool:
        if self._owner is None:
            self._owner = _lock(self.folder / "owner", fcntl.LOCK_EX)
        if self._owner is not None:
            self._leave()
        return self._owner is not None

    def _leave(self) -> None:
        if self._guest is not None:
            os.close(self._guest)
            self._guest = None

    @property
    def _socket(self) -> Path:
        return _socket_path(self.folder)

    async def _run(self, deadline: float) -> None:
        """Start the server, once no earlier one writes here, and wait until it answers."""
        while (running := _lock(self.folder / "running", fcntl.LOCK_EX)) is None:
            await asyncio.to_thread(
                _dismiss, self._socket
            )  # an earlier owner was killed; what it acknowledged is in the file
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"an earlier server of {self.folder} does not end: end it by hand")
            await asyncio.sleep(POLL)
        try:
            self.binary = self.binary or find_server()
            self._process = _spawn(self.binary.path, self.folder, self._socket, running)
        finally:
            os.close(running)  # the server holds it now, for as long as it lives
        while not await asyncio.to_thread(_answers, self._socket):
            if self._process.poll() is not None:
                self._process = None
                raise StoreUnavailable(f"the embedded store does not start: {_last_line(self.folder / 'log')}")
            if time.monotonic() > deadline:
                await _end(self._process)
                self._process = None
                raise StoreUnavailable(f"the embedded store of {self.folder} does not come up in time")
            await asyncio.sleep(POLL)

    async def _wait_for_guests(self) -> int | None:
        """The lock that keeps further guests out; None when one would not go."""
        patience = time.monotonic() + GUEST_PATIENCE
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
    with log.open("wb") as output:  # a file: a pipe that nobody reads would fill and hang the server
        return subprocess.Popen(  # noqa: S603 (no shell, our own words)
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(running,),
            start_new_session=True,  # a Ctrl-C is for us: we drain first, then stop it
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
    """Does a server answer here, its data loaded?"""
    try:
        with redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0, retry=_ONCE) as client:
            client.ping()
    except (redis.RedisError, OSError):
        return False
    return True


def _dismiss(socket: Path) -> None:
    """Ask a server whose owner is dead to end."""
    try:
        with redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0, retry=_ONCE) as client:
            client.shutdown(nosave=True)
    except (redis.RedisError, OSError):
        return


def _lock(path: Path, kind: int) -> int | None:
    """The open, locked file; None when somebody else holds it."""
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
            raise StoreRefused(
                f"{folder} belongs to another user (uid {found.st_uid}): choose another SIDECAR_STATE_DIR"
            )
        folder.chmod(0o700)
    except OSError as error:
        raise StoreRefused(
            f"the embedded store cannot use {folder}: {error.strerror}: set SIDECAR_STATE_DIR to a folder it may "
            "write, or SIDECAR_REDIS_URL to a Redis"
        ) from None
    return folder


def _socket_path(folder: Path) -> Path:
    """In the folder; where its path is too long for a socket, in a private one whose place the folder remembers."""
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
            raise StoreRefused(
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
    said = [line.strip() for line in lines if line.strip()]
    return f"{said[-1] if said else 'it said nothing'} (more in {log})"
