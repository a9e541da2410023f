"""Ambiguous git names are rejected: otherwise the right to push a tag would be the right to choose the base of the
comparison.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Sidecar as Cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OPENING = "p, marketer, billing, view, allow\n"


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "x", f"GIT_{role}_EMAIL": "x@example.com"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a last commit that grants more. `main` and `origin/main` are at the commit before."""
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    git(tmp_path, "init", "-q", "-b", "topic")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "branch", "main")
    git(tmp_path, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(tmp_path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    with (tmp_path / "policy" / "policy.csv").open("a") as file:
        file.write(OPENING)
    git(tmp_path, "commit", "-q", "-a", "-m", "two")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "made", "meant"),
    [
        ("origin/main", "refs/tags/origin/main", "refs/remotes/origin/main"),
        ("origin/main", "refs/heads/origin/main", "refs/remotes/origin/main"),
        ("origin/main", "refs/origin/main", "refs/remotes/origin/main"),
        ("main", "refs/tags/main", "refs/heads/main"),
        ("main", "refs/remotes/main", "refs/heads/main"),
        ("main", "refs/remotes/main/HEAD", "refs/heads/main"),
        ("origin", "refs/tags/origin", "refs/remotes/origin/HEAD"),
        ("heads/main", "refs/tags/heads/main", "refs/heads/main"),
        ("remotes/origin/main", "refs/tags/remotes/origin/main", "refs/remotes/origin/main"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "~0", "^{commit}", ":policy", "@{0}"])
def test_a_name_of_several_refs_is_refused_with_their_full_names(
    cli: Cli, repository: Path, name: str, made: str, meant: str, suffix: str
) -> None:
    if suffix != "@{0}":  # update-ref leaves no reflog
        assert cli("policy", "diff", name + suffix).status == 1, "the branch: the edit grants more"
    git(repository, "update-ref", made, "HEAD")
    result = cli("policy", "diff", name + suffix)
    assert (result.status, result.out) == (2, "")
    if suffix != "@{0}":
        assert result.err.startswith(f"sidecar: {name}{suffix}: ambiguous in git, which uses the first match")
        assert set(result.err.strip().rpartition(": write ")[2].split(" or ")) == {made + suffix, meant + suffix}
        assert cli("policy", "diff", made + suffix).status == 0
        assert cli("policy", "diff", meant + suffix).status == 1
    assert cli("policy", "diff", "HEAD", name + suffix).status == 2, "in both places"


def test_a_name_that_is_also_a_commit_prefix_is_rejected(cli: Cli, repository: Path) -> None:
    """git prefers the ref: a comparison pinned to an abbreviated hash would use any pushed tag of that name."""
    whole = git(repository, "rev-parse", "main")
    for name in (whole[:7], f"v1-1-g{whole[:9]}"):
        git(repository, "update-ref", f"refs/tags/{name}", "HEAD")
        result = cli("policy", "diff", name)
        assert result.status == 2
        assert f": write refs/tags/{name} or {whole}\n" in result.err
        git(repository, "update-ref", "-d", f"refs/tags/{name}")
    git(repository, "update-ref", f"refs/tags/{whole}", "HEAD")
    assert cli("policy", "diff", whole).status == 1, "a whole hash is the commit, for git as well"


@pytest.mark.parametrize("name", ["refs/heads/main", "HEAD~1", "@~1", "main", "main~0", "topic@x~1"])
def test_a_name_that_git_takes_in_one_way_alone_is_taken(cli: Cli, repository: Path, name: str) -> None:
    """Also beside a similar tag: HEAD and full names take precedence."""
    for tag in ("HEAD", "refs/heads/main", "topic"):
        git(repository, "update-ref", f"refs/tags/{tag}", "HEAD")
    git(repository, "update-ref", "refs/heads/topic@x", "HEAD")
    result = cli("policy", "diff", name)
    assert result.status == 1, result.err


def test_a_folder_of_the_name_of_several_refs_names_them_all(cli: Cli, repository: Path) -> None:
    git(repository, "update-ref", "refs/tags/main", "HEAD")
    shutil.copytree(repository / "policy", repository / "main")
    result = cli("policy", "diff", "main")
    assert result.status == 2
    assert result.err.endswith(": write ./main or refs/tags/main or refs/heads/main\n")
