"""``sidecar version``: versions of the program and of its runtime."""

import hashlib
import platform
from importlib import metadata
from pathlib import Path

import click

import sidecar
from sidecar.cli.output import json_option, print_json
from sidecar.policy.dialect import DIALECT

_PACKED = ("templates/policy", "templates/model.conf")
"""Copies that only the wheel has: files of the repository beside the package."""


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version.

    With --json also "build", a digest of the program's files, "schema" of the store, and "policy_dialect", the version
    of the language of the policy files.
    """
    if as_json:
        from sidecar.store.maintenance.startup_checks import SCHEMA

        print_json(
            {
                "version": sidecar.__version__,
                "build": build_id(Path(sidecar.__file__).parent),
                "schema": int(SCHEMA),
                "policy_dialect": DIALECT,
                "python": platform.python_version(),
                "casbin": metadata.version("pycasbin"),
            }
        )
    else:
        click.echo(f"policy-sidecar {sidecar.__version__}")


def build_id(package: Path) -> str:
    """Return the SHA-256 over names and bytes of the package's files: equal for equal code, however installed."""
    hashed = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        if "__pycache__" in path.parts or not path.is_file() or name.startswith(_PACKED):
            continue
        for part in (name.encode(), path.read_bytes()):
            hashed.update(len(part).to_bytes(8, "big"))
            hashed.update(part)
    return hashed.hexdigest()
