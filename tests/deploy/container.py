"""A container without an engine: started in its own namespaces by ``unshare``, with a task as JSON on standard input.

Makes a root of tmpfs with the system's programs, the image and the volumes, and makes it read-only. Starts the sidecar
in it with the manifest's user, environment and arguments. Runs the task's steps, and prints the observations as JSON.
Every process here ends with the namespace.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
POD_ADDRESS = "127.0.0.2"
"""A non-loopback address: the kubelet and Prometheus connect from outside the pod."""


def sh(*words: str) -> None:
    subprocess.run(words, check=True)


class Container:
    """One container. ``task``: see tests/deploy/test_manifests.py."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.root = Path(task["scratch"]) / "root"
        self.processes: list[subprocess.Popen[bytes]] = []

    def build(self) -> None:
        sh("ip", "link", "set", "lo", "up")
        sh("mount", "--make-rprivate", "/")
        self.root.mkdir()
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "none", str(self.root))
        for name in SYSTEM:
            self._system(Path(name))
        for source, target in self.task["bind"].items():
            self.bind(source, target, read_only=True)
        self._proc_and_dev()
        etc = self.root / "etc"
        etc.mkdir(exist_ok=True)
        for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
            if Path("/etc", name).exists():
                shutil.copy(f"/etc/{name}", etc / name)
        (etc / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.task["hosts"])))
        for volume in self.task["volumes"]:
            self._volume(volume)
        self._inside(self.task["workdir"]).mkdir(parents=True, exist_ok=True)
        if self.task["read_only"]:
            sh("mount", "-o", "remount,ro", str(self.root))
        os.chroot(self.root)
        os.chdir("/")

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _system(self, path: Path) -> None:
        if path.is_symlink():
            self._inside(str(path)).symlink_to(path.readlink())
        elif path.is_dir():
            self.bind(str(path), str(path), read_only=True)

    def bind(self, source: str, target: str, *, read_only: bool) -> None:
        inside = self._inside(target)
        if Path(source).is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        else:
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        sh("mount", "--bind", source, str(inside))
        if read_only:
            sh("mount", "-o", "remount,bind,ro", str(inside))

    def _proc_and_dev(self) -> None:
        (self.root / "proc").mkdir()
        sh("mount", "-t", "proc", "none", str(self.root / "proc"))
        for name in ("null", "zero", "urandom", "random"):
            self.bind(f"/dev/{name}", f"/dev/{name}", read_only=False)

    def _volume(self, volume: dict[str, Any]) -> None:
        """Mount a directory of the test, or a tmpfs."""
        if volume["source"] is not None:
            self.bind(volume["source"], volume["at"], read_only=volume["read_only"])
            return
        inside = self._inside(volume["at"])
        inside.mkdir(parents=True, exist_ok=True)
        sh("mount", "-t", "tmpfs", "-o", f"mode={volume['mode']},gid={volume['gid']}", "none", str(inside))

    # Steps -----------------------------------------------------------------------------------------------------------

    def begin(self, words: list[str], *, own: bool = True) -> subprocess.Popen[bytes]:
        task = self.task
        who: dict[str, Any] = {"user": task["uid"], "group": task["gid"], "extra_groups": task["groups"]} if own else {}
        process = subprocess.Popen(
            words, env=task["env"], cwd=task["workdir"] if own else "/", stdout=2, umask=0o022 if own else -1, **who
        )
        self.processes.append(process)
        return process

    def run(self, words: list[str]) -> int:
        return self.begin(words).wait(60)

    def mounted_with_fs_group(self, gid: int) -> None:
        """Set the modes as the kubelet does at each mount of a writable volume."""
        for volume in self.task["volumes"]:
            if volume["persistent"]:
                for folder, _, files in os.walk(volume["at"]):
                    self._open(Path(folder), gid, 0o2770)
                    for name in files:
                        self._open(Path(folder, name), gid, 0o660)

    @staticmethod
    def _open(path: Path, gid: int, bits: int) -> None:
        os.chown(path, -1, gid)
        path.chmod(stat.S_IMODE(path.stat().st_mode) | bits)

    def serve(self) -> dict[str, Any]:
        """Start, probe until every probe succeeds or the sidecar has exited, stop. Return the observations."""
        process = self.begin(self.task["command"])
        seen: dict[str, Any] = {}
        for name, probe in self.task["probes"].items():
            seen[name] = self._until(process, lambda probe=probe: self._probe(probe))
        seen["ports"] = {name: self._connects(port) for name, port in self.task["ports"].items()}
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        seen["status"] = process.wait(30)
        return seen

    def _until(self, process: subprocess.Popen[bytes], probe: Callable[[], object]) -> object:
        deadline = time.monotonic() + 60
        while (answer := probe()) not in (0, 200) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return answer

    def _probe(self, probe: dict[str, Any]) -> object:
        if "exec" in probe:
            return self.run(probe["exec"])
        connection = http.client.HTTPConnection(POD_ADDRESS, probe["port"], timeout=5)
        try:
            connection.request("GET", probe["path"], headers={"Host": f"10.244.1.7:{probe['port']}"})
            return connection.getresponse().status
        except OSError as error:
            return type(error).__name__
        finally:
            connection.close()

    @staticmethod
    def _connects(port: int) -> bool:
        try:
            socket.create_connection((POD_ADDRESS, port), timeout=5).close()
        except OSError:
            return False
        return True


def main() -> None:
    container = Container(json.loads(sys.stdin.read()))
    container.build()
    seen: list[Any] = []
    for step in container.task["steps"]:
        match step:
            case {"server": words}:
                container.begin(words, own=False)
            case {"run": words}:
                seen.append(container.run(words))
            case {"fs_group": gid}:
                container.mounted_with_fs_group(gid)
            case "serve":
                seen.append(container.serve())
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
