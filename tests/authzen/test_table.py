"""The conformance table and the tests reference each other completely."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def defined() -> set[str]:
    return {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_the_table_and_the_specification_tests_match() -> None:
    named = set(re.findall(r"`(test_\w+)`", (HERE / "README.md").read_text()))
    assert named <= defined()
    assert {name for name in defined() if name.startswith("test_AZ_")} <= named
