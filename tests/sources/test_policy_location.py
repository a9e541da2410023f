"""Diagnostics for operators name the configured folder; the compiler and the API write `policy/…`."""

from pathlib import Path

import pytest

from sidecar.policy.diagnostics import FILES, Diagnostic, DiagnosticCode, Severity, path_of
from sidecar.sources.policy_location import PolicyLocation

HERE = PolicyLocation(Path("infra/rules"), Path("infra/casbin.conf"))


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_configured_name(name: str) -> None:
    expected = "infra/casbin.conf" if name == "model.conf" else f"infra/rules/{name}"
    assert HERE.name_of(path_of(name)) == expected
    assert HERE.name_of(f"{path_of(name)}:12") == f"{expected}:12"


def test_the_folder_itself_and_other_files() -> None:
    assert HERE.name_of("policy") == "infra/rules"
    assert HERE.name_of("policy/other.csv") == "policy/other.csv"
    assert HERE.name_of("elsewhere.csv:3") == "elsewhere.csv:3"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("declare [conditions.x] in policy/conditions.toml", "declare [conditions.x] in infra/rules/conditions.toml"),
        ("see policy/policy.csv:12", "see infra/rules/policy.csv:12"),
        ("chmod go-w other/policy/policy.csv", "chmod go-w other/policy/policy.csv"),
        ("chmod go-w /srv/policy/policy.csv", "chmod go-w /srv/policy/policy.csv"),
        ("policy/policy.csv.bak", "policy/policy.csv.bak"),
        ("a policy/rule", "a policy/rule"),
    ],
)
def test_messages_and_hints_name_it_too(text: str, shown: str) -> None:
    one = Diagnostic(Severity.ERROR, DiagnosticCode.TAB, "policy/needs.csv", 1, 2, text, text)
    assert HERE.shown(one) == Diagnostic(
        Severity.ERROR, DiagnosticCode.TAB, "infra/rules/needs.csv", 1, 2, shown, shown
    )


def test_the_default_folder_stays_as_it_is() -> None:
    one = Diagnostic(Severity.ERROR, DiagnosticCode.TAB, "policy/needs.csv", 1, 2, "in policy/policy.csv", "")
    assert PolicyLocation(Path("policy"), Path("model.conf")).shown(one) == one
