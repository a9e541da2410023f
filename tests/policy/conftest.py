"""The shipped policy as bytes, and small edits of it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import POLICY_FILES
from sidecar.policy.generation import Generation

ROOT = Path(__file__).resolve().parents[2]
Edit = Callable[..., dict[str, bytes]]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove settings from the environment, because verbs read them; SIDECAR_TEST_… controls the tests and stays."""
    for name in [name for name in os.environ if name.startswith("SIDECAR_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def seed() -> Mapping[str, bytes]:
    """The shipped files by bare name."""
    files = {"model.conf": (ROOT / "model.conf").read_bytes()}
    for name in POLICY_FILES:
        files[name] = (ROOT / "policy" / name).read_bytes()
    return files


@pytest.fixture(scope="session")
def shipped(seed: Mapping[str, bytes]) -> Generation:
    generation = compile_policy(seed).generation
    assert generation is not None
    return generation


@pytest.fixture
def edited(seed: Mapping[str, bytes]) -> Edit:
    """``edited("policy.csv", ("old", "new"), add="a line")``: the shipped files with one of them changed."""

    def edit(
        name: str, *replacements: tuple[str, str], add: str = "", files: Mapping[str, bytes] | None = None
    ) -> dict[str, bytes]:
        text = (files or seed)[name].decode()
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        return {**(files or seed), name: (text + add).encode()}

    return edit


@pytest.fixture
def codes() -> Callable[[Mapping[str, bytes]], list[str]]:
    """Return the codes of all findings, in the order of the report."""

    def found(files: Mapping[str, bytes]) -> list[str]:
        return [diagnostic.code.value for diagnostic in compiled(files).diagnostics]

    def compiled(files: Mapping[str, bytes]) -> Compiled:
        return compile_policy(files, proof=ProofScope.NONE)

    return found


@pytest.fixture
def write_policy(tmp_path: Path) -> Callable[[Mapping[str, bytes]], tuple[Path, Path]]:
    """Write files where a verb can read them: the policy folder and the model."""

    def write(files: Mapping[str, bytes]) -> tuple[Path, Path]:
        folder = tmp_path / "policy"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            path = tmp_path / name if name == "model.conf" else folder / name
            path.write_bytes(content)
            path.chmod(0o644)
        return folder, tmp_path / "model.conf"

    return write
