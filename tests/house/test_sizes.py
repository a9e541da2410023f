"""Size limits: a module of 300 lines, a function of 40, a bounded number of modules per package."""

import ast
from collections import Counter
from pathlib import Path

MODULE_LINES = 300
FUNCTION_LINES = 40
PACKAGE_MODULES = 32


def modules(root: Path) -> list[Path]:
    return sorted((root / "sidecar").rglob("*.py"))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: signature and docstring are documentation."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_modules_are_short(root: Path) -> None:
    lengths = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in modules(root)}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_functions_are_short(root: Path) -> None:
    long = {}
    for path in modules(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > FUNCTION_LINES:
                long[f"{path.relative_to(root)}:{node.lineno} {node.name}"] = body_lines(node)
    assert long == {}


def test_packages_are_small(root: Path) -> None:
    packages = Counter(path.parent.relative_to(root).as_posix() for path in modules(root) if path.name != "__init__.py")
    assert {package: files for package, files in packages.items() if files > PACKAGE_MODULES} == {}


def test_every_module_has_a_docstring(root: Path) -> None:
    silent = [
        str(path.relative_to(root)) for path in modules(root) if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
