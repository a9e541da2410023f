"""The image without a container engine: the instructions of the Dockerfile's last stage, and an environment with the
lock alone.

The environment links the distributions of this one that ``runtime.lock`` names, and nothing else: a distribution
missing in the lock cannot be imported. (.ci/run installs this environment from the locks, so versions are the locked
ones there.)
"""

import json
import re
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path("/opt/sidecar")
"""Path of the environment in the image, and in the container of these tests."""
PACKAGES = Path("/opt/packages")
"""Path at which the container mounts this environment's packages, the target of the image's links."""


@dataclass(frozen=True)
class Image:
    """Settings of the Dockerfile's last stage."""

    env: dict[str, str]
    uid: int
    gid: int
    workdir: str
    entrypoint: list[str]
    command: list[str]
    health: list[str]


def image() -> Image:
    stage = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").rpartition("\nFROM ")[2]
    said = dict(re.findall(r"^([A-Z]+) (.+)$", stage, re.MULTILINE))
    env = dict(re.findall(r"([A-Z_]+)=(\S+)", said["ENV"]))
    env["PATH"] = env["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    uid, gid = map(int, said["USER"].split(":"))
    health = json.loads(said["HEALTHCHECK"].partition("CMD ")[2])
    return Image(env, uid, gid, said["WORKDIR"], json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"]), health)


def packages() -> Path:
    return Path(sysconfig.get_path("purelib"))


def build(folder: Path) -> None:
    """Build the content of PLACE. Raise AssertionError for a locked distribution that is not installed here."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    for name in ("python", "python3", f"python{sys.version_info.major}.{sys.version_info.minor}"):
        (folder / "bin" / name).unlink(missing_ok=True)
        (folder / "bin" / name).symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    script = folder / "bin" / "sidecar"
    script.write_text(f"#!{PLACE}/bin/python\nfrom sidecar.__main__ import main\nmain()\n")
    script.chmod(0o755)
    site = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for entry in sorted(set(_locked_entries())):
        (site / entry).symlink_to(PACKAGES / entry)
    (site / "sidecar").mkdir()


def _locked_entries() -> Iterator[str]:
    """Return the names in site-packages of the distributions that runtime.lock has for this Python."""
    from packaging.markers import Marker

    text = (ROOT / ".ci" / "runtime.lock").read_text()
    for name, marker in re.findall(r"^([a-z0-9._-]+)==\S+(?: ; (.+?))? \\$", text, re.MULTILINE):
        if marker and not Marker(marker).evaluate():
            continue
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            raise AssertionError(
                f"runtime.lock names {name}, which is not installed: pip install -e '.[dev]'"
            ) from None
        yield from {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
