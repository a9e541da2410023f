"""Run README's two commands as they stand, each in a fresh clone: `readme.py start|tests REPOSITORY [--as-root]`.

`start` waits for the demo, runs its three curl lines, wants 200, 403, 401, ends it, and looks for anything left behind.
`tests` runs the second block and passes its exit status on. Both run with umask 002 and, when root asks, as a
throw-away user with a HOME of its own, as the first user of Ubuntu or Red Hat would; `--as-root` stays root.
"""

# ruff: noqa: S603, S607, T201 - it runs what README says, and tells

import grp
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WITHIN = 120.0
WANTED = ["200", "403", "401"]


@dataclass(frozen=True)
class User:
    """Who runs README's commands. ``uid`` None: whoever runs this."""

    home: Path
    uid: int | None = None
    umask: int = 0o002

    @property
    def options(self) -> dict[str, Any]:
        """For subprocess."""
        if self.uid is None:
            return {"umask": self.umask, "env": clean()}
        names = {"HOME": str(self.home), "USER": f"ci{self.uid}", "LOGNAME": f"ci{self.uid}"}
        ids = {"user": self.uid, "group": self.uid, "extra_groups": []}
        return {"umask": self.umask, "env": {**clean(), **names}, **ids}

    def owns(self, folder: Path) -> None:
        for path in (folder, *folder.rglob("*")) if self.uid is not None else ():
            os.chown(path, self.uid, self.uid, follow_symlinks=False)


def main() -> int:
    which, repository, *as_root = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="sidecar-readme-") as folder:
        user = user_for(Path(folder), as_root=bool(as_root))
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", repository, str(clone)], check=True, umask=user.umask)
        user.owns(Path(folder))
        block = re.findall(r"^```sh\n(.*?)^```$", (clone / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        status = start(clone, block[0], user) if which == "start" else tests(clone, block[1], user)
        left = git(clone, user, "status", "--porcelain")
        if left:
            print(f"not ignored by git:\n{left}")
        return status or bool(left)


def user_for(folder: Path, *, as_root: bool) -> User:
    if os.geteuid() != 0:
        return User(folder)
    if as_root:
        return User(folder, umask=0o022)
    known = {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    user = User(folder, next(uid for uid in range(61_000, 65_000) if uid not in known))
    user.owns(folder)
    found = subprocess.run(
        ["python3.11", "-m", "venv", "--help"], cwd=folder, capture_output=True, check=False, **user.options
    )
    if found.returncode:
        sys.exit("an ordinary user finds no python3.11 with venv on PATH: put one where others than root may run it")
    print(f"as uid {user.uid} with umask {user.umask:03o}")
    return user


def tests(clone: Path, command: str, user: User) -> int:
    begun = time.monotonic()
    status = subprocess.run(["bash", "-ec", command], cwd=clone, check=False, **user.options).returncode
    print(f"README's tests: exit {status} after {time.monotonic() - begun:.0f} s from a fresh clone")
    return status


def start(clone: Path, command: str, user: User) -> int:
    begun = time.monotonic()
    said = clone.parent / "said"
    with said.open("wb") as out:
        # A session of its own, as a terminal's: the signal goes to all of it, as Ctrl-C would.
        demo = subprocess.Popen(["bash", "-ec", command], cwd=clone, stdout=out, start_new_session=True, **user.options)
        try:
            lines = wait_for_lines(said, demo, begun)
            print(f"three lines after {time.monotonic() - begun:.0f} s from a fresh clone")
            answers = [curl(line) for line in lines]
        finally:
            stopped = stop(demo)
    print(f"answers {answers}, wanted {WANTED}; exit {stopped}")
    return int(answers != WANTED or stopped != 0)


def wait_for_lines(said: Path, demo: "subprocess.Popen[bytes]", begun: float) -> list[str]:
    while time.monotonic() - begun < WITHIN:
        lines = [line for line in said.read_text().splitlines() if line.startswith("curl ")]
        if len(lines) >= len(WANTED) and said.read_text().endswith("\n"):
            return lines
        if demo.poll() is not None:
            sys.exit(f"the demo ended with {demo.returncode}:\n{said.read_text()}")
        time.sleep(0.1)
    sys.exit(f"no three curl lines within {WITHIN:.0f} s:\n{said.read_text()}")


def curl(line: str) -> str:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def stop(demo: "subprocess.Popen[bytes]") -> int:
    if demo.poll() is None:
        os.killpg(demo.pid, signal.SIGINT)
    try:
        return demo.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(demo.pid, signal.SIGKILL)
        return demo.wait()


def git(clone: Path, user: User, *words: str) -> str:
    words = ("git", *words)
    return subprocess.run(words, cwd=clone, capture_output=True, text=True, check=True, **user.options).stdout


def clean() -> dict[str, str]:
    """As a user's shell: nothing of the gate's own environment."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SIDECAR_", "VIRTUAL"))}


if __name__ == "__main__":
    sys.exit(main())
