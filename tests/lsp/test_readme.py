"""Settings of editors in policy/README.md: well-formed, ten lines at most, and each starts the server."""

import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lsp.support import ROOT, RawClient

TEXT = (ROOT / "policy/README.md").read_text()
EDITORS: dict[str, tuple[str, str]] = {
    name: (language, block)
    for name, language, block in re.findall(r"<!-- editor: (\w+) -->\n```(\w+)\n(.*?)```", TEXT, re.DOTALL)
}


def command_of(name: str) -> list[str]:
    """Return the command line that an editor's settings start."""
    language, block = EDITORS[name]
    if name == "neovim":
        (cmd,) = re.findall(r"cmd = \{ (.+) \}", block)
        assert block.count("{") == block.count("}")
        return [word.strip('" ') for word in cmd.split(",")]
    value: Any = json.loads(block) if language == "json" else tomllib.loads(block)
    if name == "vscode":
        return [value["glspc.server.command"], *value["glspc.server.commandArguments"]]
    if name == "zed":
        binary = value["lsp"]["taplo"]["binary"]
        return [binary["path"], *binary["arguments"]]
    server = value["language-server"][value["language"][0]["language-servers"][0]]
    return [server["command"], *server["args"]]


def test_four_editors_have_settings_of_ten_lines() -> None:
    assert set(EDITORS) == {"vscode", "neovim", "helix", "zed"}
    assert {name: len(block.splitlines()) for name, (_, block) in EDITORS.items() if len(block.splitlines()) > 10} == {}


@pytest.mark.parametrize("name", ["vscode", "neovim", "helix", "zed"])
def test_the_settings_start_the_server(name: str, start: Callable[..., RawClient], root: Path) -> None:
    program, *arguments = command_of(name)
    assert program == "sidecar"
    client = start(sys.executable, "-m", program, *arguments)
    capabilities = client.initialize(root)["result"]["capabilities"]
    documented = ("completionProvider", "hoverProvider", "definitionProvider", "referencesProvider", "renameProvider")
    more = ("documentSymbolProvider", "codeActionProvider", "codeLensProvider", "inlayHintProvider")
    assert [one for one in (*documented, *more) if not capabilities.get(one)] == []
    assert client.end() == 0
