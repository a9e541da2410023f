"""``sidecar version``: the version, and what else tells one installed program from another."""

import json
import shutil
from pathlib import Path
from typing import Any

import sidecar
from sidecar.cli.version import build_id
from sidecar.store.maintenance.startup_checks import SCHEMA

PACKAGE = Path(sidecar.__file__).parent


def test_version_in_one_line_and_in_full(cli: Any) -> None:
    assert cli("version").out == f"policy-sidecar {sidecar.__version__}\n"
    told = json.loads(cli("version", "--json").out)
    assert list(told) == ["version", "build", "schema", "policy_dialect", "python", "casbin"]
    assert (told["version"], told["schema"], told["policy_dialect"]) == (sidecar.__version__, int(SCHEMA), 1)
    assert told["build"] == build_id(PACKAGE)


def test_the_build_follows_from_the_code_alone(tmp_path: Path) -> None:
    """A wheel has copies of the policy, and an installed one compiled modules; neither is another build."""
    copy = tmp_path / "sidecar"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert build_id(copy) == build_id(PACKAGE)
    (copy / "templates" / "policy").mkdir(exist_ok=True)
    (copy / "templates" / "policy" / "policy.csv").write_text("p\n")
    (copy / "templates" / "model.conf").write_text("x\n")
    (copy / "cli" / "__pycache__").mkdir()
    (copy / "cli" / "__pycache__" / "main.pyc").write_bytes(b"x")
    assert build_id(copy) == build_id(PACKAGE)
    script = copy / "store" / "scripts" / "record.lua"
    script.write_text(script.read_text() + "\n")
    assert build_id(copy) != build_id(PACKAGE)
