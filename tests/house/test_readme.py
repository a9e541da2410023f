"""README's blocks are taken at their word: commands exist with these options, settings files load, JSON is JSON.

The two first blocks, quick start and tests, are run as they stand by ``.ci/run``, each in a fresh clone.
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
from sidecar.config.settings import load, problems

Block = tuple[str, str]


def blocks(text: str) -> list[Block]:
    """Language and content of every fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


def commands(root: Path) -> Iterator[tuple[str, str]]:
    """Every line of a shell block that calls the program, continued lines joined."""
    for path in [*root.glob("*.md"), *root.glob("policy/*.md"), *root.glob("sidecar/*.md")]:
        for language, content in blocks(path.read_text()):
            if language in {"sh", "console", "bash"}:
                for line in content.replace("\\\n", " ").splitlines():
                    match = re.search(r"(?:^|[|;&$]\s*|bin/)sidecar( [^|;&#<>]*)", line)
                    if match:
                        yield f"{path.name}: {line.strip()}", match[1]


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


def test_commands_exist_with_these_options(root: Path) -> None:
    lines = list(commands(root))
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


def test_settings_files_load(readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [content for language, content in blocks(readme) if language == "toml" and "routes" not in content]
    assert found
    secret = tmp_path / "secret"
    secret.write_text("redis://redis:6379/0")
    for number, content in enumerate(found):
        file = tmp_path / f"{number}.toml"
        file.write_text(re.sub(r'(_file = )".*"', rf'\1"{secret}"', content))
        assert problems(load({"config": str(file)}, {})) == []


def test_json_is_json(root: Path) -> None:
    for path in [*root.glob("*.md"), *root.glob("policy/*.md")]:
        for language, content in blocks(path.read_text()):
            if language == "json":
                json.loads(content)


def test_links_lead_somewhere(root: Path, tracked: list[Path]) -> None:
    dead = []
    for path in (path for path in tracked if path.suffix == ".md"):
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
        dead += [f"{path.relative_to(root)}: {target}" for target in targets if not (path.parent / target).exists()]
    assert dead == []
