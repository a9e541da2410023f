"""One module for untrusted text: functions of quadratic cost are called in sidecar/domain/text.py alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT_MODULE = ROOT / "sidecar" / "domain" / "text.py"
FORBIDDEN = frozenset({"normalize", "is_normalized", "casefold"})
"""Under any name of the module or the text: as an attribute, an import, or a string that is looked up."""

CODECS = frozenset({"idna", "punycode"})
"""Python's own codecs are quadratic, too; e-mail domains use the idna package, after a limit on length."""

OPERATORS = frozenset({("sidecar/config/urls.py", "idna")})
"""Trusted text: the host name of a setting."""


def calls(source: str) -> Iterator[tuple[str, int]]:
    """Yield every forbidden name that `source` uses, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in FORBIDDEN:
                yield name, node.lineno
            case ast.ImportFrom(module="unicodedata", names=names):
                yield from ((one.name, node.lineno) for one in names if one.name in FORBIDDEN | {"*"})
            case ast.Constant(value=str(text)) if text in FORBIDDEN | CODECS:
                yield text, node.lineno


def test_R16_untrusted_text_is_transformed_within_bounds_alone() -> None:
    modules = sorted((ROOT / "sidecar").rglob("*.py"))
    assert TEXT_MODULE in modules
    others = [module for module in modules if module != TEXT_MODULE]
    found = [(str(module.relative_to(ROOT)), *use) for module in others for use in calls(module.read_text())]
    strange = [f"{path}:{line} {name}" for path, name, line in found if (path, name) not in OPERATORS]
    assert not strange, f"call sidecar.domain.text instead: {', '.join(strange)}"


@pytest.mark.parametrize(
    "source",
    [
        "unicodedata.normalize('NFC', name)",
        "from unicodedata import normalize",
        "from unicodedata import normalize as n",
        "from unicodedata import *",
        "import unicodedata as u; u.is_normalized('NFC', name)",
        "name.casefold()",
        "map(str.casefold, names)",
        "sorted(names, key=operator.methodcaller('casefold'))",
        "getattr(unicodedata, 'normalize')",
        "name.encode('idna')",
    ],
)
def test_the_rule_sees_every_way_around_it(source: str) -> None:
    assert list(calls(source))


def test_the_rule_sees_nothing_else() -> None:
    assert not list(calls("from sidecar.domain import text\nname = text.normalise(name, text.Form.NFC, 100)"))
