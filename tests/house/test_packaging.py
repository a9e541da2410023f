"""The lock, the image and the composition agree with the package."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.init import README
from sidecar.cli.policy import VERBS
from sidecar.policy.diagnostics import MODEL_FILE, POLICY_FILES


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    document = tomllib.loads((root / "pyproject.toml").read_text())
    found: dict[str, Any] = document["project"]
    return found


def locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", path.read_text(), re.MULTILINE))


def direct(requirements: list[str]) -> dict[str, str]:
    """Name → version specifier, without extras and markers."""
    found = {}
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)", requirement)
        assert match is not None
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2].strip()
    return found


def test_lock_holds_every_dependency_within_its_bounds(root: Path, project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    wanted = direct([*project["dependencies"], *extras["test"], *extras["dev"]])
    wanted.pop("policy-sidecar")
    versions = locked(root / ".ci/requirements.lock")
    assert set(wanted) - set(versions) == set(), "run .ci/lock"
    if find_spec("packaging") is None:
        pytest.skip("packaging is not installed: it comes with pytest")
    from packaging.specifiers import SpecifierSet

    outside = {name: versions[name] for name, bounds in wanted.items() if versions[name] not in SpecifierSet(bounds)}
    assert outside == {}


def test_the_image_gets_what_was_tested(root: Path, project: dict[str, Any]) -> None:
    everything, runtime = locked(root / ".ci/requirements.lock"), locked(root / ".ci/runtime.lock")
    assert set(direct(project["dependencies"])) - set(runtime) == set()
    assert {name: version for name, version in runtime.items() if everything.get(name) != version} == {}


@pytest.mark.parametrize("name", ["requirements.lock", "runtime.lock", "gateways.lock"])
def test_locks_hold_names_versions_and_hashes_alone(root: Path, name: str) -> None:
    for line in (root / ".ci" / name).read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_image_runs_unprivileged_and_says_how_it_is(root: Path) -> None:
    image = (root / "Dockerfile").read_text()
    final = image[image.rindex("\nFROM ") :]
    assert "USER 65532:65532" in final
    assert 'CMD ["sidecar", "health"]' in final
    assert "STOPSIGNAL SIGTERM" in final
    assert 'ENTRYPOINT ["sidecar"]' in final
    assert "--require-hashes" in image


def test_image_copies_only_what_is_let_in(root: Path) -> None:
    allowed = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", (root / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied == allowed
    assert all((root / name).exists() for name in allowed)


def test_no_secret_stands_in_the_composition(root: Path) -> None:
    text = (root / "docker-compose.yml").read_text()
    values = re.findall(r"^\s+([A-Z_]+): (.+)$", text, re.MULTILINE)
    assert values
    assert [name for name, value in values if re.search(r"PASSWORD|SECRET|TOKEN", name) or "@" in value] == []


def test_composition_keeps_the_store_and_the_back_end_apart(root: Path) -> None:
    text = (root / "docker-compose.yml").read_text()
    assert re.findall(r"ports: \[(.+)\]", text) == ['"127.0.0.1:8080:8080"']
    for network in ("store", "gateway", "dashboard"):
        assert f"  {network}: {{internal: true" in text
    assert "noeviction" in text
    [trusted] = re.findall(r"SIDECAR_TRUSTED_PROXIES: (\S+)", text)
    assert re.findall(r"gateway: .*subnet: (\S+?)[}\]]", text) == [trusted], "nginx's network (R7)"
    assert "appendonly" in text


def test_the_wheel_holds_what_init_writes(root: Path) -> None:
    """`policy` goes in as a folder: the files, and the README that they point at."""
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {
        "policy": "sidecar/templates/policy",
        MODEL_FILE: f"sidecar/templates/{MODEL_FILE}",
    }
    assert {path.name for path in (root / "policy").iterdir()} == {*POLICY_FILES, README}


@pytest.mark.parametrize("name", [".pre-commit-hooks.yaml", "action.yml"])
def test_hooks_call_verbs_that_exist(root: Path, name: str) -> None:
    called = re.findall(r"sidecar\"? policy ([a-z]+)", (root / name).read_text().replace("name: sidecar policy", ""))
    assert called
    assert set(called) <= set(VERBS)
