"""The lock, the image and the composition agree with the package."""

import datetime
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.cli.init import PURPOSES, README
from sidecar.cli.policy import VERBS
from sidecar.policy.diagnostics import MODEL_FILE, OPTIONAL_FILES, POLICY_FILES
from sidecar.sources.console_files import read_console


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    document = tomllib.loads((root / "pyproject.toml").read_text())
    found: dict[str, Any] = document["project"]
    return found


def locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", path.read_text(), re.MULTILINE))


def direct(requirements: list[str]) -> dict[str, str]:
    """Return name → version specifier, without extras and markers."""
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
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["grpc"], *extras["otel"]]
    assert set(direct(wanted)) - set(runtime) == set(), "run .ci/lock"
    assert {name: version for name, version in runtime.items() if everything.get(name) != version} == {}


def test_what_builds_the_package_is_locked_and_was_tested(root: Path) -> None:
    wanted = direct(tomllib.loads((root / "pyproject.toml").read_text())["build-system"]["requires"])
    everything, build = locked(root / ".ci/requirements.lock"), locked(root / ".ci/build.lock")
    assert set(wanted) - set(build) == set(), "run .ci/lock"
    assert {name: version for name, version in build.items() if everything.get(name) != version} == {}
    needed = {"hatchling"}
    while more := {name for one in needed for name in requirements_of(one)} - needed:
        needed |= more
    assert needed - set(build) == set(), "run .ci/lock"


def requirements_of(name: str) -> set[str]:
    """Return the names of the installed distribution's requirements."""
    if find_spec("packaging") is None:
        pytest.skip("packaging is not installed: it comes with pytest")
    from packaging.requirements import Requirement

    try:
        found = [Requirement(line) for line in requires(name) or []]
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed: pip install -r .ci/requirements.lock")
    return {one.name for one in found if one.marker is None or one.marker.evaluate({"extra": ""})}


PIP = re.compile(r"pip\"? (?:install|wheel) (?:[^&|\n]|\\\n)+")


@pytest.mark.parametrize("name", ["Dockerfile", "action.yml"])
def test_no_step_fetches_what_is_not_locked_by_hash(root: Path, name: str) -> None:
    """An installation takes wheels by hash, or local files; a build takes the installed tools.

    A source distribution would fetch its build tools without a hash, so only wheels are allowed from the locks.
    """
    commands = PIP.findall((root / name).read_text())
    proto = {"proto.lock"} if name == "Dockerfile" else set()
    assert len(commands) == 4 + len(proto)
    locks = set()
    for command in commands:
        if (lock := re.search(r"-r \S*?([a-z]+\.lock)", command)) is not None:
            locks.add(lock[1])
            assert {"--require-hashes", "--only-binary"} <= set(command.split()), command
        else:
            assert {"--no-deps", "--no-index"} <= set(command.split()), command
            assert "--no-build-isolation" in command or ".whl" in command, command
    assert locks == {"build.lock", "runtime.lock"} | proto


def test_what_another_package_overwrites_is_installed_last(root: Path) -> None:
    """xds-protos of the extra [grpc] contains older files of opentelemetry-proto, and pip installs it later."""
    runtime = locked(root / ".ci/runtime.lock")
    assert locked(root / ".ci/proto.lock") == {"opentelemetry-proto": runtime["opentelemetry-proto"]}, "run .ci/lock"
    for name, package in (("Dockerfile", "/opt/wheel"), (".ci/run", "-e .")):
        steps = (root / name).read_text()
        last = steps.index("--no-deps --force-reinstall -r .ci/proto.lock")
        assert last < steps.index(package, last)


def test_the_action_names_other_actions_by_commit(root: Path) -> None:
    used = re.findall(r"uses: (\S+)", (root / "action.yml").read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []


@pytest.mark.parametrize("name", ["requirements.lock", "runtime.lock", "proto.lock", "build.lock", "gateways.lock"])
def test_locks_hold_names_versions_and_hashes_alone(root: Path, name: str) -> None:
    for line in (root / ".ci" / name).read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


IMAGE = re.compile(r"^(?:FROM|\s*image:) (\S+)", re.MULTILINE)


def test_images_are_pinned_by_a_whole_version(root: Path) -> None:
    """A tag can be moved, and no lock here can hold its digest: SECURITY.md and CONTRIBUTING.md say so."""
    files = [root / "Dockerfile", root / "docker-compose.yml", *sorted((root / "sidecar/templates/k8s").glob("*.yaml"))]
    found = {image for path in files for image in IMAGE.findall(path.read_text())} - {"dashboard:latest"}
    assert {image for image in found if not re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)*$", image)} == set()
    assert {image for image in found if image.startswith("policy-sidecar:")} == {f"policy-sidecar:{__version__}"}


def test_the_newest_release_is_dated_and_this_version(root: Path) -> None:
    sections = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"
    version, _, date = sections[1].partition(" - ")
    assert version == __version__
    assert datetime.date.fromisoformat(date).year >= 2026


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
    """`policy` is packaged as a folder: the files, and the README that they reference."""
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {
        "policy": "sidecar/templates/policy",
        MODEL_FILE: f"sidecar/templates/{MODEL_FILE}",
    }
    assert {path.name for path in (root / "policy").iterdir()} == {*POLICY_FILES, README}


def test_the_wheel_holds_types_and_console(root: Path, tmp_path: Path) -> None:
    """PEP 561: without ``py.typed`` a type checker treats ``sidecar.client`` as untyped."""
    assert (root / "sidecar" / "py.typed").read_text() == ""
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: pip install hatchling, or .ci/run, whose lock has it")
    code = f"import hatchling.build as build; print(build.build_wheel({str(tmp_path)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"sidecar/py.typed", "sidecar/client/README.md"} <= names
    assert {name for name in names if name.startswith("sidecar/templates/minimal/")} == {
        f"sidecar/templates/minimal/{name}" for name in POLICY_FILES if name not in OPTIONAL_FILES
    }
    assert {name for name in names if name.startswith("sidecar/templates/observability/")} == {
        f"sidecar/templates/observability/{name}" for name in PURPOSES["observability"]
    }
    assert {name for name in names if name.startswith("sidecar/console/")} == {
        f"sidecar/console/{name}" for name in read_console()
    }


@pytest.mark.parametrize("name", [".pre-commit-hooks.yaml", "action.yml"])
def test_hooks_call_verbs_that_exist(root: Path, name: str) -> None:
    called = re.findall(r"sidecar\"? policy ([a-z]+)", (root / name).read_text().replace("name: sidecar policy", ""))
    assert called
    assert set(called) <= set(VERBS)


def test_every_hook_runs_also_when_files_are_only_deleted(root: Path) -> None:
    text = (root / ".pre-commit-hooks.yaml").read_text()
    hooks = re.split(r"^- id: ", text, flags=re.MULTILINE)[1:]
    assert [hook.split()[0] for hook in hooks] == ["sidecar-policy-check", "sidecar-policy-test", "sidecar-policy-fmt"]
    for hook in hooks:
        assert "\n  always_run: true\n" in hook
        assert "files:" not in hook
