"""Runs pure functions of the console's modules in Node."""

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CONSOLE = Path(__file__).parents[2] / "sidecar" / "console"
NODE = shutil.which("node")

_PROGRAM = """
import { readFileSync } from "node:fs";
const [folder, names] = process.argv.slice(1);
const modules = {};
for (const name of names.split(",")) Object.assign(modules, await import(`${folder}/${name}`));
const { calls, body } = JSON.parse(readFileSync(0, "utf8"));
const each = () => calls.map(([name, args]) => modules[name](...args));
const found = body ? new Function("m", "data", body)(modules, calls) : each();
process.stdout.write(JSON.stringify(found, (_, value) => value ?? null));
"""


@functools.cache
def _modules() -> tuple[Path, "tempfile.TemporaryDirectory[str]"]:
    """Return a copy of the modules that every version of Node reads as ES modules, and its owner."""
    owner = tempfile.TemporaryDirectory(prefix="console-")
    folder = Path(owner.name)
    for module in CONSOLE.glob("*.js"):
        shutil.copy(module, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder, owner


def call(module: str, calls: list[tuple[str, list[Any]]], *, zone: str = "UTC") -> list[Any]:
    """Return the result of each call ``(function, arguments)`` of a module, in one process. ``zone``: time zone."""
    found: list[Any] = _node(module, {"calls": calls}, zone)
    return found


def run(modules: str, body: str, data: Any) -> Any:
    """Return what the JavaScript ``body`` returns. It has ``m``, all exports of ``modules``, and ``data``."""
    return _node(modules, {"calls": data, "body": body}, "UTC")


def _node(modules: str, given: dict[str, Any], zone: str) -> Any:
    assert NODE, "node is not on PATH; install Debian's package nodejs"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", _PROGRAM, _modules()[0].as_uri(), modules],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": zone},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
