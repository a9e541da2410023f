"""Places of the files: roots, several folders, configured places, and files on disk that change."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.lsp.folders import Location, Override, locate, location_beside, path_of_uri, uri_of_path
from tests.lsp.support import COMMAND, RawClient, path_in, write_root

Start = Callable[..., RawClient]
Files = Mapping[str, bytes]
WRONG = "p, marketeer, billing, view, allow\n"


def codes(client: RawClient, path: Path) -> list[str]:
    return [one["code"] for one in client.diagnostics(path)]


def test_several_folders_have_diagnostics_of_their_own(start: Start, tmp_path: Path, seed: Files) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        write_root(root, seed)
    client = start()
    folders = [{"uri": root.as_uri(), "name": root.name} for root in roots]
    client.initialize(roots[0], workspaceFolders=folders)
    paths = [path_in(root, "policy.csv") for root in roots]
    client.open(paths[0], paths[0].read_text() + WRONG)
    client.open(paths[1])
    assert codes(client, paths[0]) == ["unknown-role"]
    assert codes(client, paths[1]) == []
    client.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": folders[:1]}})
    assert codes(client, paths[1]) == []
    assert codes(client, paths[0]) == ["unknown-role"], "its folder is open beside the removed one"


def test_a_folder_that_is_added_later_is_read(start: Start, tmp_path: Path, seed: Files) -> None:
    (tmp_path / "empty").mkdir()
    write_root(tmp_path / "later" / "x", {**seed, "policy.csv": seed["policy.csv"] + WRONG.encode()})
    client = start()
    client.initialize(tmp_path / "empty")
    added = [{"uri": (tmp_path / "later" / "x").as_uri(), "name": "x"}]
    client.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": added, "removed": []}})
    assert codes(client, tmp_path / "later/x/policy/policy.csv") == ["unknown-role"]


def test_a_file_that_changes_on_disk_is_read_again(start: Start, root: Path) -> None:
    client = start()
    client.initialize(root)
    path = path_in(root, "policy.csv")
    assert codes(client, path) == []
    path.write_text(path.read_text() + WRONG)
    client.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": path.as_uri(), "type": 2}]})
    assert codes(client, path) == ["unknown-role"]


def test_a_closed_buffer_gives_way_to_its_file(start: Start, root: Path) -> None:
    client = start()
    client.initialize(root)
    path = path_in(root, "policy.csv")
    identifier = client.open(path, path.read_text() + WRONG)
    assert codes(client, path) == ["unknown-role"]
    client.notify("textDocument/didClose", identifier)
    assert codes(client, path) == []


def test_a_file_without_a_root_opens_its_folder(start: Start, root: Path) -> None:
    client = start()
    client.initialize(None)
    path = path_in(root, "roles.toml")
    client.open(path, path.read_text() + "[roles.x]\n")
    assert codes(client, path) == ["missing-key"]


@pytest.mark.parametrize("by", ["flag", "option"])
def test_a_policy_of_another_name_is_configured(start: Start, tmp_path: Path, seed: Files, by: str) -> None:
    (tmp_path / "infra").mkdir()
    write_root(tmp_path / "infra", {**seed, "policy.csv": seed["policy.csv"] + WRONG.encode()})
    (tmp_path / "infra/policy").rename(tmp_path / "infra/rights")
    places = {"policyDir": "infra/rights", "model": "infra/model.conf"}
    flags = ("--policy-dir", places["policyDir"], "--model", places["model"])
    client = start(*COMMAND, *flags) if by == "flag" else start()
    client.initialize(tmp_path, initializationOptions=places if by == "option" else None)
    assert codes(client, tmp_path / "infra/rights/policy.csv") == ["unknown-role"]
    assert codes(client, tmp_path / "infra/model.conf") == []


@pytest.mark.parametrize("name", ["a b", "ü", "%2f", "#x", "a+b", "&"])
def test_folders_of_any_name_are_found(start: Start, tmp_path: Path, seed: Files, name: str) -> None:
    write_root(tmp_path / name, seed)
    client = start()
    client.initialize(tmp_path / name)
    path = path_in(tmp_path / name, "policy.csv")
    client.open(path, path.read_text() + WRONG)
    assert codes(client, path) == ["unknown-role"]


# -- the search --------------------------------------------------------------------------------------------------------


def test_a_root_with_a_policy_is_not_searched(tmp_path: Path, seed: Files) -> None:
    write_root(tmp_path, seed)
    write_root(tmp_path / "deep", seed)
    assert locate(tmp_path, Override()) == [Location(tmp_path / "policy", tmp_path / "model.conf")]


def test_a_policy_folder_as_root_is_found(tmp_path: Path, seed: Files) -> None:
    write_root(tmp_path, seed)
    assert locate(tmp_path / "policy", Override()) == [Location(tmp_path / "policy", tmp_path / "model.conf")]


def test_the_search_is_bounded_and_leaves_out_installed_packages(tmp_path: Path, seed: Files) -> None:
    for name in ("a/b", "node_modules/x", ".hidden/x", "c/d/e/f/g"):
        write_root(tmp_path / name, seed)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert locate(tmp_path, Override()) == [Location(tmp_path / "a/b/policy", tmp_path / "a/b/model.conf")]
    for number in range(60):
        write_root(tmp_path / f"z{number}", seed)
    assert len(locate(tmp_path, Override())) == 20


def test_a_csv_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "policy.csv"
    path.write_text("p, alice, data1, read\n")
    assert location_beside(path) is None
    assert location_beside(tmp_path / "other.csv") is None


@pytest.mark.parametrize("path", ["/a/b", "/a b/ü", "/%20/#/?", "/a\udcffb"])
def test_paths_survive_their_uri(path: str) -> None:
    assert path_of_uri(uri_of_path(Path(path))) == Path(path)


@pytest.mark.parametrize(
    "uri", ["", "x", "http://a/b", "file://host/a", "file:a", "file:///a%00", "file://[", "untitled:a"]
)
def test_other_uris_have_no_path(uri: str) -> None:
    assert path_of_uri(uri) is None
