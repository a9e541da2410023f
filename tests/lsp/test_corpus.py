"""The corpus of broken policies in unsaved buffers: the findings are those of `sidecar policy check --format json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pytest_lsp import LanguageClient

from sidecar.cli.main import run
from sidecar.policy.diagnostics import FILES, POLICY_FOLDER
from tests.lsp.support import path_in, write_root
from tests.policy.test_corpus import cases, files_of

SEVERITIES = {types.DiagnosticSeverity.Error: "error", types.DiagnosticSeverity.Warning: "warning"}
Found = tuple[str, str, str, int, int, str, str]
"""Severity, code, file, line, column, message and hint."""


def is_text(data: bytes) -> bool:
    """Return whether an editor can show the bytes as they are: UTF-8, and no line end of CR alone."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\r" not in data.replace(b"\r\n", b"")


def checked(folder: Path, files: Mapping[str, bytes], capsys: pytest.CaptureFixture[str]) -> list[Found]:
    """Return the findings of the command, with one entry per place."""
    write_root(folder, files)
    capsys.readouterr()
    flags = ["--policy-dir", str(folder / "policy"), "--model", str(folder / "model.conf")]
    run(["policy", "check", "--format", "json", *flags])
    found = []
    printed = capsys.readouterr().out.replace(f"{folder}/", "")  # an editor's buffers have no other names
    for one in json.loads(printed):
        for place in (one, *one.get("places", ())):
            at = (Path(one["file"]).name, place["line"], place["column"])
            found.append((one["severity"], one["code"], *at, one["message"], one["hint"]))
    return sorted(found)


def shown(client: LanguageClient, root: Path) -> list[Found]:
    found = []
    for name in FILES:
        for one in client.diagnostics.get(path_in(root, name).as_uri(), ()):
            data: Any = one.data
            assert one.severity is not None
            at = (name, data["line"], data["column"])
            found.append((SEVERITIES[one.severity], str(one.code), *at, data["message"], data["hint"]))
            assert one.message == (f"{data['message']} ({data['hint']})" if data["hint"] else data["message"])
            assert one.source == "sidecar policy"
    return sorted(found)


def assert_positions(client: LanguageClient, root: Path, files: Mapping[str, bytes]) -> None:
    """Compare each range's start with the finding's line and column, in UTF-16 units."""
    for name, data in files.items():
        lines = data.decode().split("\n")
        for one in client.diagnostics.get(path_in(root, name).as_uri(), ()):
            place: Any = one.data
            line = lines[place["line"] - 1] if place["line"] <= len(lines) else ""
            mark = int(place["line"] == 1 and line.startswith("\ufeff"))
            before = line[: mark + place["column"] - 1].rstrip("\r")
            if place["column"] > 1 and one.range.end.character > len(before.encode("utf-16-le")) // 2:
                start = types.Position(place["line"] - 1, len(before.encode("utf-16-le")) // 2)
                assert one.range.start == start, one
            assert one.range.start.line == min(place["line"], len(lines)) - 1


async def settle(client: LanguageClient, root: Path) -> None:
    """Wait until the server has published what it knows: a response never precedes the diagnostics."""
    identifier = types.TextDocumentIdentifier(path_in(root, "policy.csv").as_uri())
    await client.text_document_document_symbol_async(types.DocumentSymbolParams(identifier))


def opened(root: Path, name: str, text: str) -> types.DidOpenTextDocumentParams:
    return types.DidOpenTextDocumentParams(types.TextDocumentItem(path_in(root, name).as_uri(), "csv", 1, text))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", [*cases("bad"), *cases("suspicious")], ids=lambda case: case.name)
async def test_a_buffer_shows_what_check_prints(
    case: Path,
    client: LanguageClient,
    open_root: Path,
    seed: Mapping[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = files_of(case, seed)
    expected = checked(tmp_path, files, capsys)
    for name in FILES:
        if name not in files:
            path_in(open_root, name).unlink()
    changed = [name for name in files if files[name] != seed[name] and is_text(files[name])]
    on_disk = {name: data for name, data in files.items() if name not in changed}
    write_root(open_root, {**seed, **on_disk} if len(files) == len(seed) else on_disk)
    for name in changed:
        client.text_document_did_open(opened(open_root, name, files[name].decode()))
    client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([]))
    await settle(client, open_root)

    assert shown(client, open_root) == expected
    assert expected or case.name in QUIET, "the case shows something"
    if len(changed) == len([name for name in files if files[name] != seed[name]]):
        assert_positions(client, open_root, files)

    for name in changed:
        identifier = types.TextDocumentIdentifier(path_in(open_root, name).as_uri())
        client.text_document_did_close(types.DidCloseTextDocumentParams(identifier))
    write_root(open_root, seed)
    client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([]))
    await settle(client, open_root)
    assert shown(client, open_root) == [], "nothing is left of the case"


QUIET = {case.name for case in cases("suspicious") if not (case / "expected.txt").read_text()}


def test_the_folder_of_the_policy_is_no_file() -> None:
    assert POLICY_FOLDER not in FILES
