"""Run README's two commands as they stand, each in a fresh clone: `readme.py start|tests REPOSITORY`.

`start` waits for the demo, runs its three curl lines, wants 200, 403, 401, ends it, and looks for anything left behind.
`tests` runs the second block and passes its exit status on.
"""

# ruff: noqa: S603, S607, T201 - it runs what README says, and tells

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WITHIN = 120.0
WANTED = ["200", "403", "401"]


def main() -> int:
    which, repository = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="sidecar-readme-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", repository, str(clone)], check=True)
        block = re.findall(r"^```sh\n(.*?)^```$", (clone / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        status = start(clone, block[0]) if which == "start" else tests(clone, block[1])
        left = git(clone, "status", "--porcelain")
        if left:
            print(f"not ignored by git:\n{left}")
        return status or bool(left)


def tests(clone: Path, command: str) -> int:
    begun = time.monotonic()
    status = subprocess.run(["bash", "-ec", command], cwd=clone, check=False, env=clean()).returncode
    print(f"README's tests: exit {status} after {time.monotonic() - begun:.0f} s from a fresh clone")
    return status


def start(clone: Path, command: str) -> int:
    begun = time.monotonic()
    said = clone.parent / "said"
    with said.open("wb") as out:
        # A session of its own, as a terminal's: the signal goes to all of it, as Ctrl-C would.
        demo = subprocess.Popen(["bash", "-ec", command], cwd=clone, stdout=out, env=clean(), start_new_session=True)
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


def git(clone: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=clone, capture_output=True, text=True, check=True).stdout


def clean() -> dict[str, str]:
    """As a user's shell: nothing of the gate's own environment."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SIDECAR_", "VIRTUAL"))}


if __name__ == "__main__":
    sys.exit(main())
