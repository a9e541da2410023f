"""Documents name everything that the program has: settings, verbs, reasons, problem codes, diagnostics, metrics.

Each kind of name has one document, and a failure names that document. Names that do not exist are found in all of them.
"""

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
from tests.house.tables import TABLES, Table, metrics

SETTINGS = [spell_env(name) for name in ROWS]
SECRET_FILES = [f"{spell_env(name)}_FILE" for name, row in ROWS.items() if row.secret]
METRICS = {name.strip("`") for name, *_ in metrics()}


@pytest.fixture(scope="module")
def documents(root: Path, tracked: list[Path]) -> dict[str, str]:
    """Text of every document by its path."""
    return {str(path.relative_to(root)): path.read_text() for path in tracked if path.suffix == ".md"}


def verbs() -> list[str]:
    """Every command line that exists: ``account create``."""
    found = []
    for name, (where, _) in VERBS.items():
        module, _, attribute = where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, click.Group):
            found += [f"{name} {sub}" for sub in command.list_commands(click.Context(command))]
        else:
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ("sidecar/config/README.md", [*SETTINGS, *SECRET_FILES]),
        ("sidecar/cli/README.md", [f"sidecar {verb}" for verb in verbs()]),
        ("sidecar/gateways/README.md", [reason.value for reason in Reason]),
        ("sidecar/api/README.md", [code.value for code in Code]),
        ("sidecar/server/README.md", sorted(METRICS)),
        ("policy/README.md", [code.value for code in DiagnosticCode]),
    ],
)
def test_a_document_names_all_of_its_kind(documents: dict[str, str], document: str, names: list[str]) -> None:
    assert [f"{document}: {name}" for name in names if f"`{name}`" not in documents[document]] == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_as_generated(table: Table) -> None:
    assert table.path.read_text() == table.updated(), f"{table.document}: run python -m tests.house.tables --write"


def test_no_setting_that_does_not_exist(root: Path, tracked: list[Path]) -> None:
    """In documents, images and compositions."""
    known = {*SETTINGS, *SECRET_FILES, "SIDECAR_CONFIG"}
    found = []
    for path in tracked:
        if path.suffix in {".md", ".yml", ".yaml", ".conf", ".toml"} or path.name == "Dockerfile":
            names = set(re.findall(r"\bSIDECAR_[A-Z_]*[A-Z]\b(?!_?\*)", path.read_text(errors="replace"))) - known
            others = ("SIDECAR_TEST", "SIDECAR_GATEWAYS", "SIDECAR_PORT", "SIDECAR_SERVICE")
            found += [f"{path.relative_to(root)}: {name}" for name in names if not name.startswith(others)]
    assert found == []


def test_no_metric_that_does_not_exist(documents: dict[str, str]) -> None:
    found = []
    for document, text in documents.items():
        found += [f"{document}: {name}" for name in re.findall(r"`(sidecar_[a-z_]+)`", text) if name not in METRICS]
    assert found == []


def test_no_verb_that_does_not_exist(documents: dict[str, str]) -> None:
    known = verbs()
    groups = {verb.partition(" ")[0] for verb in known if " " in verb}
    found = []
    for document, text in documents.items():
        for first, second in re.findall(r"`sidecar ([a-z]+)(?: ([a-z-]+))?", text):
            if not {first, f"{first} {second}"} & {*known, *(f"{group} " for group in groups)}:
                found.append(f"{document}: sidecar {first} {second}")
    assert found == []


def test_every_metric_of_the_process_is_in_the_table() -> None:
    names = [f"{it.name}_total" if it.type == "counter" else it.name for it in PROCESS_COLLECTOR.collect()]
    assert set(names) <= METRICS


def test_every_metric_in_the_source_is_in_the_table(root: Path) -> None:
    names = set(
        re.findall(
            r'"(sidecar_[a-z_]+)"', "\n".join(path.read_text() for path in (root / "sidecar/telemetry").glob("*.py"))
        )
    )
    assert names
    # Prometheus' own suffixes, which the library adds.
    assert [name for name in sorted(names) if not {name, f"{name}_total", f"{name}_info"} & METRICS] == []


def test_every_security_rule_has_a_test(root: Path) -> None:
    rules = re.findall(r"^\| R(\d+) \|", (root / "SECURITY.md").read_text(), re.MULTILINE)
    assert rules == [str(number) for number in range(1, 53)]
    tests = "\n".join(path.read_text() for path in (root / "tests").rglob("test_*.py"))
    assert [number for number in rules if f"def test_R{number}_" not in tests] == []
