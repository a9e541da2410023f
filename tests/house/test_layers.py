"""Imports between packages: import-linter's contracts, and the pure packages without a server or a store."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PURE = ("policy", "tokens", "domain")

REFUSING = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"aiohttp", "redis", "grpc", "click", "structlog", "prometheus_client", "argon2"}:
            raise ImportError(f"{name} has no business here")

sys.meta_path.insert(0, Refuse())
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
"""


def test_contracts_are_kept(root: Path) -> None:
    if find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed: it is part of the [dev] extra")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_need_no_server_and_no_store(root: Path, package: str) -> None:
    command = [sys.executable, "-c", REFUSING, f"sidecar.{package}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
