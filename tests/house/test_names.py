"""Names in sidecar/: unique class names, exceptions that end in Error, no forbidden words (CONTRIBUTING.md, Style).

Names in tests/: short enough to read.
"""

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

FORBIDDEN = frozenset(
    re.findall(
        r"[a-z]+",
        """
    afternoon anybody asked asking asks barred believe births bury crew desk door doors errand everybody
    forgive founding funeral given grave guest healing judge judged judgement judgements judges judging
    keepers knock landing lane lanes letter letters lodger logbook nobody nursery outsider rehearsal said
    shelf soil somebody stand standing stranger tally tell tells told town vitals whom
        """,
    )
)
"""Pictures and personifications that once were identifiers here."""

WORDS_LEFT = {"sidecar/config": "lane"}
"""Forbidden words that a package or module still uses. Delete a word here when the last use is renamed."""

NAMES_LEFT = {
    "letters": "letters of the alphabet, in tokens/ids.py",
}
"""Identifiers with a forbidden word that may be used anywhere, and why."""

WIRE = {
    "Account": "component of the OpenAPI document",
    "Decision": "AuthZEN's word, in the API and in the domain",
    "Grant": "component of the OpenAPI document",
    "Invited": "component of the OpenAPI document",
    "Member": "component of the OpenAPI document",
    "PasswordChanged": "component of the OpenAPI document",
    "Resource": "AuthZEN's word, in the API and in the domain",
    "Review": "component of the OpenAPI document",
    "Revocation": "component of the OpenAPI document",
    "Role": "component of the OpenAPI document",
    "Roster": "component of the OpenAPI document",
    "Seats": "component of the OpenAPI document",
    "Session": "component of the OpenAPI document",
    "Sessions": "component of the OpenAPI document",
    "Subject": "AuthZEN's word, in the API and in the domain",
}
"""Classes of a schemas module that may share their name with one other class, and why."""

SHARED = {"Identity": "client/ imports no other package; both are the identity that a check returns"}
"""Class names that may occur in two packages, and why."""

TEST_NAME_LENGTH = 60
ADVISORIES = re.compile(r"test(_CVE_\d{4}_\d+|_GHSA(_[a-z0-9]{4}){3})+")
"""Name of a test that consists of advisory ids alone, which may be longer."""


@dataclass(frozen=True)
class ClassName:
    """A class definition: its module below sidecar/, its name, and the names of its bases."""

    module: PurePosixPath
    name: str
    bases: tuple[str, ...]


def classes(module: PurePosixPath, source: str) -> Iterator[ClassName]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield ClassName(module, node.name, tuple(ast.unparse(base) for base in node.bases))


def repeated(found: Iterable[ClassName]) -> dict[str, list[str]]:
    """Return public class names that occur in several packages, with their modules.

    Private classes are local to their module. A schemas module may repeat the names in WIRE.
    """
    modules = defaultdict(set)
    for one in found:
        on_the_wire = one.module.stem.endswith("schemas") and one.name in WIRE
        if not one.name.startswith("_") and not on_the_wire and one.name not in SHARED:
            modules[one.name].add(one.module)
    return {
        name: sorted(map(str, places))
        for name, places in modules.items()
        if len({place.parent for place in places}) > 1
    }


def misnamed_exceptions(found: Iterable[ClassName]) -> set[str]:
    """Return exception classes without the suffix Error. Subclasses of click's exceptions follow click's style."""
    raised = {
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    known, wrong = list(found), set[str]()
    grown = True
    while grown:
        grown = False
        for one in known:
            bases = [base.rpartition(".")[2] for base in one.bases if not base.startswith("click.")]
            if one.name not in raised and any(
                base in raised or base.endswith(("Error", "Exception")) for base in bases
            ):
                raised.add(one.name)
                grown = True
                if not one.name.endswith("Error"):
                    wrong.add(one.name)
    return wrong


def identifiers(source: str) -> Iterator[tuple[str, int]]:
    """Yield every name that the module defines, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno


def words(identifier: str) -> set[str]:
    """Split at underscores and capitals."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)}


def forbidden(path: str, source: str) -> list[str]:
    """Return the identifiers of a module below sidecar/ that have a forbidden word."""
    left = {
        word for place, found in WORDS_LEFT.items() if f"sidecar/{path}".startswith(place) for word in found.split()
    }
    named = [(PurePosixPath(path).stem, 1), *identifiers(source)]
    return [
        f"{path}:{line} {name}" for name, line in named if name not in NAMES_LEFT and words(name) & FORBIDDEN - left
    ]


def long_test_names(path: str, source: str) -> list[str]:
    return [
        f"{path}:{node.lineno} {node.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name) > TEST_NAME_LENGTH
        and not ADVISORIES.fullmatch(node.name)
    ]


@pytest.fixture(scope="module")
def modules(root: Path) -> dict[PurePosixPath, str]:
    paths = sorted((root / "sidecar").rglob("*.py"))
    return {PurePosixPath(path.relative_to(root / "sidecar")): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def named(modules: dict[PurePosixPath, str]) -> list[ClassName]:
    return [one for module, source in modules.items() for one in classes(module, source)]


def test_test_names_have_at_most_60_characters(root: Path) -> None:
    paths = sorted((root / "tests").rglob("*.py"))
    assert paths, "no tests found"
    found = [long_test_names(str(path.relative_to(root)), path.read_text(encoding="utf-8")) for path in paths]
    assert [name for names in found for name in names] == []


def test_a_class_name_occurs_in_one_package(named: list[ClassName]) -> None:
    assert repeated(named) == {}


def test_exceptions_end_in_error(named: list[ClassName]) -> None:
    assert misnamed_exceptions(named) == set()


def test_no_identifier_has_a_forbidden_word(modules: dict[PurePosixPath, str]) -> None:
    assert [found for module, source in modules.items() for found in forbidden(str(module), source)] == []


def test_exceptions_to_the_forbidden_words_are_used(modules: dict[PurePosixPath, str]) -> None:
    uses = [(f"sidecar/{module}", name) for module, source in modules.items() for name, _ in (*identifiers(source),)]
    unused = {
        (place, word)
        for place, left in WORDS_LEFT.items()
        for word in left.split()
        if not any(module.startswith(place) and word in words(name) for module, name in uses)
    }
    assert unused == set()
    assert NAMES_LEFT.keys() <= {name for _, name in uses}


def test_a_repeated_class_name_is_found() -> None:
    def defined(module: str, name: str = "Session") -> ClassName:
        return ClassName(PurePosixPath(module), name, ())

    store, identity, wire = defined("store/sessions.py"), defined("identity/sessions.py"), defined("http/schemas.py")
    assert repeated([store, identity]) == {"Session": ["identity/sessions.py", "store/sessions.py"]}
    assert repeated([store, wire]) == {}
    assert repeated([store, identity, wire]) == {"Session": ["identity/sessions.py", "store/sessions.py"]}
    assert repeated([defined("store/a.py", "Lease"), defined("http/schemas.py", "Lease")]).keys() == {"Lease"}
    assert repeated([defined("store/a.py", "_Lease"), defined("pdp/a.py", "_Lease")]) == {}


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("class StoreGone(Exception): ...", {"StoreGone"}),
        ("class Lost(StoreError): ...\nclass StoreError(errors.RedisError): ...", {"Lost"}),
        ("class Base(OSError): ...\nclass Deeper(Base): ...", {"Base", "Deeper"}),
        ("class Stop(click.ClickException): ...", set()),
        ("class StoreError(Exception): ...\nclass Session(Struct): ...", set()),
    ],
)
def test_a_misnamed_exception_is_found(source: str, wrong: set[str]) -> None:
    assert misnamed_exceptions(classes(PurePosixPath("a.py"), source)) == wrong


@pytest.mark.parametrize(
    "source",
    [
        "def bury(worker): ...",
        "async def _bury_all(): ...",
        "class Shelf: ...",
        "class HTTPShelf: ...",
        "def keep(nursery): ...",
        "def keep(*, the_nursery=None): ...",
        "TOWN = 1",
        "somebody_else: str = ''",
        "self._errand = None",
        "for errand in jobs: ...",
        "import town_hall as town",
    ],
)
def test_a_forbidden_word_is_found(source: str) -> None:
    assert forbidden("module.py", source) != []


def test_a_module_with_a_forbidden_word_is_found() -> None:
    assert forbidden("store/shelf.py", "") == ["store/shelf.py:1 shelf"]


def test_a_forbidden_word_is_free_only_where_it_is_left() -> None:
    assert forbidden("config/settings.py", "fast_lane = 1") == []
    assert forbidden("config/settings.py", "door = 1") == ["config/settings.py:1 door"]
    assert forbidden("store/users.py", "letters = fast_lane = 1") == ["store/users.py:1 fast_lane"]


@pytest.mark.parametrize("source", ["standard = understand = outstanding = 1", "'nursery'", "shelf.read()"])
def test_other_words_are_free(source: str) -> None:
    assert forbidden("module.py", source) == []


ADVISORY_IDS = "test" + "_CVE_2019_9901_GHSA_6384_m2mw_rf54" * 2
LIMIT_NAME = "test_R4_" + "a" * 52


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (LIMIT_NAME, False),
        (LIMIT_NAME + "a", True),
        (ADVISORY_IDS, False),
        (ADVISORY_IDS + "_opens_nothing", True),
        ("helper_" + LIMIT_NAME, False),
    ],
)
@pytest.mark.parametrize("definition", ["def {}(): ...", "async def {}(): ...", "class TestIt:\n    def {}(self): ..."])
def test_a_long_test_name_is_found(name: str, found: bool, definition: str) -> None:
    assert bool(long_test_names("a.py", definition.format(name))) is found
