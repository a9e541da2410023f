"""Code blocks of every document work: commands exist with these options, settings files load, JSON is JSON, links lead
to files, and excerpts match their files.

``.ci/run`` runs README's first two blocks, quick start and tests, each in a fresh clone.
"""

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sidecar.cli.main import VERBS, sidecar
from sidecar.config.problems import problems
from sidecar.config.settings import load
from tests.house.tables import size_of, stated_sizes

Block = tuple[str, str]
NEAR = 0.15
"""Share by which a figure of the map may differ from the tree."""


def blocks(text: str) -> list[Block]:
    """Language and content of every fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


@pytest.fixture(scope="module")
def documents(tracked: list[Path]) -> list[Path]:
    return [path for path in tracked if path.suffix == ".md"]


def commands(documents: list[Path]) -> Iterator[tuple[str, str]]:
    """Every line of a shell block that calls the program, continued lines joined."""
    for path in documents:
        for language, content in blocks(path.read_text()):
            if language in {"sh", "console", "bash"}:
                for line in content.replace("\\\n", " ").splitlines():
                    match = re.search(r"(?:^|[|;&$]\s*|bin/)sidecar( [^|;&#<>]*)", line)
                    if match:
                        yield f"{path}: {line.strip()}", match[1]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    module, _, name = VERBS[words[0]][0].partition(":")
    command, rest = getattr(importlib.import_module(module), name), words[1:]
    if isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"no {words[0]} {rest[0]}"
        return found, rest[1:]
    return command, rest


def test_the_first_two_blocks_are_start_and_tests(readme: str) -> None:
    (first, start), (second, tests), *_ = blocks(readme)
    assert (first, second) == ("sh", "sh")
    assert start.rstrip().endswith("sidecar demo")
    assert "pytest" in tests.splitlines()[-1]
    assert readme.index("## Quick start") < readme.index(start) < readme.index("## Tests") < readme.index(tests)


def test_readme_has_at_most_150_lines(readme: str) -> None:
    assert len(readme.splitlines()) <= 150, "move a section beside its code"


def test_commands_exist_with_these_options(documents: list[Path]) -> None:
    lines = list(commands(documents))
    assert len(lines) >= 10
    for line, call in lines:
        words = [word for word in shlex.split(call) if word != "..."]
        if words[0] in {"--help", "--version"}:
            continue
        command, arguments = resolve(words)
        if "--help" in arguments:
            continue
        try:
            command.make_context(words[0], list(arguments), parent=click.Context(sidecar))
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_settings_files_load(documents: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    every = [block for path in documents for block in blocks(path.read_text())]
    found = [
        content
        for language, content in every
        if language == "toml" and not re.search(r"routes|\[conditions\.|\[\[language\]\]", content)
    ]
    assert found
    secret = tmp_path / "secret"
    secret.write_text("redis://redis:6379/0")
    for number, content in enumerate(found):
        file = tmp_path / f"{number}.toml"
        file.write_text(re.sub(r'(_file = )".*"', rf'\1"{secret}"', content))
        assert problems(load({"config": str(file)}, {})) == []


def test_json_is_json(documents: list[Path]) -> None:
    for path in documents:
        for language, content in blocks(path.read_text()):
            if language == "json":
                json.loads(content)


def test_links_lead_somewhere(root: Path, documents: list[Path]) -> None:
    dead = []
    for path in documents:
        for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text()):
            file = path.parent / target if target else path
            if not file.exists() or (heading and heading not in headings(file.read_text())):
                dead.append(f"{path.relative_to(root)}: {target}#{heading}")
    assert dead == []


def test_files_of_the_map_exist(root: Path) -> None:
    """In sidecar/README.md and the decisions; relative to ``sidecar/`` or to the root."""
    missing = []
    for path in [root / "sidecar/README.md", *(root / "sidecar/decisions").glob("*.md")]:
        names = re.findall(r"(?<![\w/])(?:\w+/)+[a-z_]+\.(?:py|lua)\b", path.read_text())
        found = [name for name in names if (root / "sidecar" / name).exists() or (root / name).exists()]
        missing += [f"{path.relative_to(root)}: {name}" for name in names if name not in found]
    assert missing == []


def test_figures_of_the_map_are_near() -> None:
    """Modules and lines per package. ``python -m tests.house.tables --write`` updates them."""
    stated = stated_sizes()
    assert len(stated) > 12
    far = {
        package: (figures, size_of(package))
        for package, figures in stated.items()
        if any(abs(one - other) > max(2, other * NEAR) for one, other in zip(figures, size_of(package), strict=True))
    }
    assert far == {}


def test_each_package_is_in_the_map(root: Path) -> None:
    text = (root / "sidecar/README.md").read_text()
    folders = {path.parent.relative_to(root / "sidecar") for path in (root / "sidecar").rglob("*.py")}
    assert [f"{one}/" for one in sorted(folders) if one.parts and f"{one}/" not in text] == []


def headings(text: str) -> set[str]:
    """Return the anchors that GitHub gives to headings."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_excerpts_are_in_their_files(root: Path, documents: list[Path]) -> None:
    """Each line of a block below ``<!-- from FILE -->`` is a line of the file, in any indentation."""
    found, wrong, flags = 0, [], re.MULTILINE | re.DOTALL
    for path in documents:
        for name, content in re.findall(r"^<!-- from (\S+) -->\n```\w+\n(.*?)^```$", path.read_text(), flags):
            lines = {line.strip() for line in (root / name).read_text().splitlines()}
            wrong += [f"{path.relative_to(root)}: {line}" for line in content.splitlines() if line.strip() not in lines]
            found += 1
    assert found
    assert wrong == []
