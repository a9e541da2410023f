"""The repository has no file that is specific to one machine or registry, or tracked by accident."""

import re
from pathlib import Path

TOP = {
    *("model.conf", "policy", "sidecar", "tests"),
    *("pyproject.toml", "docker-compose.yml", "README.md", "Dockerfile", "CHANGELOG.md", "SECURITY.md"),
    *("CONTRIBUTING.md", "LICENSE", "action.yml"),
}
"""Names that design and tools need at the top; dotfiles are allowed in addition."""

# Concatenated, so that this file does not match itself.
MACHINES = [rf"/{folder}/" for folder in ("work", "root", "home/[a-z]", "opt/venv", "Users/[a-z]")]
REGISTRIES = [
    *(r"py" + r"pi\.org", r"pythonhosted" + r"\.org", r"npm" + r"js\.(org|com)", r"deb" + r"ian\.org"),
    *("index" + "-url", "find" + "-links", "trusted" + "-host"),
]
FORBIDDEN = re.compile("|".join([*MACHINES, *REGISTRIES]))


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None  # test data in other encodings


def test_top_level_holds_what_belongs_there(root: Path, tracked: list[Path]) -> None:
    names = {path.relative_to(root).parts[0] for path in tracked}
    assert {name for name in names if name not in TOP and not name.startswith(".")} == set()


def test_no_machine_and_no_registry_is_named(root: Path, tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        text = text_of(path) or ""
        found += [f"{path.relative_to(root)}: {match[0]}" for match in FORBIDDEN.finditer(text)]
    assert found == []


def test_nothing_built_is_tracked(root: Path, tracked: list[Path]) -> None:
    built = re.compile(r"(^|/)(__pycache__|\.venv|dist|build|[^/]*\.egg-info|\.[a-z]+_cache|\.hypothesis)/|\.py[co]$")
    assert [path for path in tracked if built.search(path.relative_to(root).as_posix())] == []


def test_no_private_key_is_tracked(tracked: list[Path]) -> None:
    header = "-----BEGIN " + "PRIVATE KEY-----\nM"
    assert [path for path in tracked if header in (text_of(path) or "")] == []


def test_text_files_end_in_one_newline(tracked: list[Path]) -> None:
    ours = [path for path in tracked if path.suffix in {".py", ".md", ".toml", ".lua", ".yml", ".yaml", ".conf"}]
    odd = [path for path in ours if "/bad/" not in path.as_posix() and "/suspicious/" not in path.as_posix()]
    texts = {path: path.read_text() for path in odd}
    assert [path for path, text in texts.items() if text and (not text.endswith("\n") or text.endswith("\n\n"))] == []
