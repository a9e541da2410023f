"""The console's files as text: which modules a page loads, and how much of them."""

import re
from collections.abc import Iterator
from pathlib import Path

CONSOLE = Path(__file__).resolve().parents[2] / "sidecar" / "console"
PAGES = ("sign-in", "invitation", "forgot", "reset", "step-up", "users", "account-settings", "policy", "audit")
SIGNED_IN = ("users", "account-settings", "policy", "audit")
IMPORT = re.compile(
    r"""^\s*(?:import|export)\b[^"';]*?\bfrom\s+["']([^"']+)["']|^\s*import\s+["']([^"']+)["']""", re.MULTILINE
)
LATER = re.compile(r"""=> import\("\./([^"]+)"\)""")
LATER_STYLE = re.compile(r"""\bstyles\("([^"]+\.css)"\)""")
CALL = re.compile(r"""\b(?:send|exchange)\(\s*"(POST|PUT|PATCH|DELETE)",\s*([`"])(.*?)\2""", re.DOTALL)


def html(page: str) -> str:
    return (CONSOLE / f"{page}.html").read_text()


def script(page: str) -> str:
    """Return the file name of the page's own module."""
    found = re.findall(r'<script type="module" src="/console/([^"]+)">', html(page))
    assert len(found) == 1, (page, found)
    return str(found[0])


def imports(module: str) -> set[str]:
    """Return the modules that this one imports, by file name."""
    text = (CONSOLE / module).read_text()
    return {Path(first or second).name for first, second in IMPORT.findall(text)}


def modules(page: str) -> set[str]:
    """Return every module that the page loads before it runs, its own included."""
    return _reached({script(page)})


def later(page: str) -> set[str]:
    """Return every module and style sheet that the page loads when it is first needed."""
    texts = [(CONSOLE / module).read_text() for module in modules(page)]
    begun = {name for text in texts for name in LATER.findall(text)}
    sheets = {name for text in texts for name in LATER_STYLE.findall(text)}
    return (_reached(begun) | sheets) - files(page)


def _reached(begun: set[str]) -> set[str]:
    found, open_ = set[str](), set(begun)
    while open_:
        module = open_.pop()
        found.add(module)
        open_ |= imports(module) - found
    return found


def preloads(page: str) -> set[str]:
    return set(re.findall(r'<link rel="modulepreload" href="/console/([^"]+)">', html(page)))


def files(page: str) -> set[str]:
    """Return every file of the page: HTML, styles, icon and modules."""
    linked = set(re.findall(r'<link rel="(?:stylesheet|icon)" href="/console/([^"]+)"', html(page)))
    return {f"{page}.html"} | linked | modules(page)


def size(page: str) -> int:
    return sum((CONSOLE / name).stat().st_size for name in files(page))


def calls() -> Iterator[tuple[str, str]]:
    """Yield the method and path of each change that a module can send; ``{}`` for a part that varies."""
    for path in sorted(CONSOLE.glob("*.js")):
        for method, _, target in CALL.findall(path.read_text()):
            called = re.sub(r"\$\{[^}]*\}", "{}", target)
            yield method, re.sub(r"^\{\}", "/v1/users/{}", called)  # `${path(member)}/…`
