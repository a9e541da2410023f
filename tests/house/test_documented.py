"""What the program knows, its documents name: settings, verbs, reasons, problem codes, diagnostics, metrics."""

import importlib
import re
from pathlib import Path

import click
import pytest
from prometheus_client import PROCESS_COLLECTOR

from sidecar.cli.main import VERBS
from sidecar.config.settings import ROWS
from sidecar.config.sources import spell_env
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code
from sidecar.policy.diagnostics import DiagnosticCode


@pytest.fixture(scope="module")
def documents(root: Path) -> str:
    files = [root / name for name in ("README.md", "sidecar/README.md", "policy/README.md")]
    return "\n".join(file.read_text() for file in files if file.exists())


def verbs() -> list[str]:
    """Every command line that there is: ``account create``."""
    found = []
    for name, (where, _) in VERBS.items():
        module, _, attribute = where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, click.Group):
            found += [f"{name} {sub}" for sub in command.list_commands(click.Context(command))]
        else:
            found.append(name)
    return found


def missing(names: list[str], text: str) -> list[str]:
    return [name for name in names if f"`{name}`" not in text]


def test_every_setting(documents: str) -> None:
    assert missing([spell_env(name) for name in ROWS], documents) == []
    assert missing([f"{spell_env(name)}_FILE" for name, row in ROWS.items() if row.secret], documents) == []


def test_defaults_are_those_of_the_table(documents: str) -> None:
    rows = dict(re.findall(r"^\| `(SIDECAR_[A-Z_]+)` \| (.*?) \|", documents, re.MULTILINE))
    stated = {name: row.default for name, row in ROWS.items() if isinstance(row.default, str) and row.default}
    wrong = {
        name: rows.get(spell_env(name))
        for name, default in stated.items()
        if rows.get(spell_env(name)) != f"`{default}`"
    }
    assert wrong == {}


def test_no_setting_that_is_not_there(root: Path, tracked: list[Path]) -> None:
    """In documents, images and compositions: a name that the sidecar would refuse."""
    known = {spell_env(name) for name in ROWS} | {"SIDECAR_CONFIG"}
    known |= {f"{spell_env(name)}_FILE" for name, row in ROWS.items() if row.secret}
    found = []
    for path in tracked:
        if path.suffix in {".md", ".yml", ".yaml", ".conf", ".toml"} or path.name == "Dockerfile":
            names = set(re.findall(r"\bSIDECAR_[A-Z_]*[A-Z]\b(?!_?\*)", path.read_text(errors="replace"))) - known
            others = ("SIDECAR_TEST", "SIDECAR_GATEWAYS", "SIDECAR_PORT", "SIDECAR_SERVICE")
            found += [f"{path.relative_to(root)}: {name}" for name in names if not name.startswith(others)]
    assert found == []


def test_every_verb(documents: str) -> None:
    spelled = [verb for verb in verbs() if f"sidecar {verb}" not in documents]
    assert spelled == []


def test_every_reason(documents: str) -> None:
    assert missing([reason.value for reason in Reason], documents) == []


def test_every_problem_code(documents: str) -> None:
    assert missing([code.value for code in Code], documents) == []


def test_every_diagnostic(documents: str) -> None:
    assert missing([code.value for code in DiagnosticCode], documents) == []


def test_every_security_rule_has_a_test(root: Path) -> None:
    rules = re.findall(r"^\| R(\d+) \|", (root / "SECURITY.md").read_text(), re.MULTILINE)
    assert rules == [str(number) for number in (*range(1, 34), *range(46, 53))]
    tests = "\n".join(path.read_text() for path in (root / "tests").rglob("test_*.py"))
    assert [number for number in rules if f"def test_R{number}_" not in tests] == []


def test_every_metric(root: Path, documents: str) -> None:
    source = (root / "sidecar/telemetry/metrics.py").read_text()
    names = sorted(set(re.findall(r'"(sidecar_[a-z_]+)"', source)))
    documented = set(re.findall(r"`(sidecar_[a-z_]+)`", documents))
    assert names
    # Prometheus' own suffixes, which the library adds.
    assert [name for name in names if not {name, f"{name}_total", f"{name}_info"} & documented] == []


def test_every_metric_of_the_process(documents: str) -> None:
    names = [f"{it.name}_total" if it.type == "counter" else it.name for it in PROCESS_COLLECTOR.collect()]
    assert missing(names, documents) == []
