"""The console's files as text: nothing inline, nothing from elsewhere, nothing kept in the browser, few bytes."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.console.pages import CONSOLE, PAGES, files, html, later, modules, preloads, script, size
from tests.gateways import install

HERE = Path(__file__).resolve().parent
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTMLUnsafe|\.srcdoc\b"
    r"|\beval\(|new Function|setTimeout\(\s*[\"'`]|javascript:"
    r"|localStorage|sessionStorage|indexedDB|document\.cookie|\bcaches\.|serviceWorker"
    r"|access_token|refresh_token|postMessage|@ts-(?:ignore|nocheck|expect-error)"
)
OTHER_HOST = re.compile(r"(?:https?:)?//(?!www\.w3\.org/)[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE)
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)
LIMIT = 100_000


def sources(*suffixes: str) -> dict[str, str]:
    found = {path.name: path.read_text() for path in sorted(CONSOLE.iterdir()) if path.suffix in suffixes}
    assert found, f"no {suffixes} in {CONSOLE}"
    return found


def code(text: str) -> str:
    return COMMENT.sub("", text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_nothing_inline(page: str) -> None:
    text = html(page)
    assert re.findall(r"<(?:style|iframe|object|embed|base|form)\b", text) == []
    assert re.findall(r"\s(?:style|on[a-z]+)\s*=", text) == []
    assert [tag for tag in re.findall(r"<script\b[^>]*>", text) if 'src="/console/' not in tag] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_language_title_width_and_icon(page: str) -> None:
    text = html(page)
    assert text.startswith("<!doctype html>")
    for needed in ('<html lang="en">', "<title>", 'name="viewport"', 'name="color-scheme"', 'rel="icon"', "<noscript>"):
        assert needed in text, needed


@pytest.mark.parametrize("page", PAGES)
def test_a_page_preloads_the_modules_it_loads(page: str) -> None:
    assert preloads(page) == modules(page) - {script(page)}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_at_most_100_kb(page: str) -> None:
    assert size(page) <= LIMIT, {name: (CONSOLE / name).stat().st_size for name in files(page)}


def test_every_file_belongs_to_a_page() -> None:
    served = {path.name for path in CONSOLE.iterdir() if path.suffix in {".html", ".js", ".css", ".svg"}}
    reached = {name for page in PAGES for name in files(page) | later(page)}
    assert served - reached - {"index.html", "index.js"} == set()


def test_no_module_makes_html_or_stores_anything() -> None:
    found = {name: FORBIDDEN.findall(code(text)) for name, text in sources(".js", ".html").items()}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_no_file_names_another_host() -> None:
    found = {name: OTHER_HOST.findall(text) for name, text in sources(".js", ".html", ".css", ".svg").items()}
    assert {name: hits for name, hits in found.items() if hits} == {}


@pytest.mark.parametrize(
    "text",
    ["a.innerHTML = b", "sessionStorage.setItem(a, b)", "x = eval(y)", "// fine\nlocation = `javascript:${a}`"],
)
def test_what_is_forbidden_is_found(text: str) -> None:
    assert FORBIDDEN.search(code(text))


def tsc() -> Path:
    found = install.tsc()
    if found is None:
        reason = install.why("typescript")
        if os.environ.get("SIDECAR_TEST_CONSOLE_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def check(config: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["node", str(tsc().resolve()), "-p", str(config)], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stdout


def test_modules_have_no_type_errors() -> None:
    assert check(HERE / "tsconfig.json") == (0, "")


def test_a_type_error_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("/** @type {number} */\nexport const count = document.title;\n")
    config = json.loads((HERE / "tsconfig.json").read_text()) | {"include": ["*.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    status, output = check(tmp_path / "tsconfig.json")
    assert status != 0
    assert "TS2322" in output
