"""Properties of every shipped pod beside the start: probes that do not restart it while the store is down, memory for
Prometheus, a disruption budget, and pods spread over nodes.
"""

from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install kubernetes-validate")

MANIFESTS = Path(__file__).resolve().parents[2] / "sidecar" / "templates" / "k8s"
WORKLOADS = {"Deployment", "StatefulSet"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def names() -> list[str]:
    return [
        path.name for path in sorted(MANIFESTS.glob("*.yaml")) if WORKLOADS & {d["kind"] for d in documents(path.name)}
    ]


def workload(name: str) -> dict[str, Any]:
    (found,) = [one for one in documents(name) if one["kind"] in WORKLOADS]
    return found


def sidecar(name: str) -> dict[str, Any]:
    pod = workload(name)["spec"]["template"]["spec"]
    (found,) = [one for one in [*pod.get("initContainers", []), *pod["containers"]] if one["name"] == "sidecar"]
    return dict(found)


def selecting(name: str, kind: str) -> dict[str, Any]:
    """Return the document of this kind that selects the workload's pods."""
    labels = workload(name)["spec"]["template"]["metadata"]["labels"]
    for one in documents(name):
        selector = one["spec"].get("podSelector") or one["spec"].get("selector") or {} if one["kind"] == kind else {}
        if selector and set(selector["matchLabels"].items()) <= set(labels.items()):
            return one
    raise AssertionError(f"{name} has no {kind} for its pods")


@pytest.mark.parametrize("name", names())
def test_a_store_outage_restarts_no_pod_and_delays_no_start(name: str) -> None:
    container = sidecar(name)
    assert container["startupProbe"]["httpGet"] == {"path": "/livez", "port": "ops"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}


@pytest.mark.parametrize("name", names())
def test_prometheus_reaches_the_ops_listener_and_others_do_not(name: str) -> None:
    env = {one["name"]: one.get("value") for one in sidecar(name)["env"]}
    port = {one["name"]: one["containerPort"] for one in sidecar(name)["ports"]}["ops"]
    assert env["SIDECAR_OPS_LISTEN"] == f"0.0.0.0:{port}"
    policy = selecting(name, "NetworkPolicy")["spec"]
    assert "Ingress" in policy["policyTypes"]
    opened = [rule for rule in policy["ingress"] if {"port": "ops"} in rule["ports"]]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert opened == [{"from": [monitoring], "ports": [{"port": "ops"}]}]
    assert all(rule.get("from") and rule.get("ports") for rule in policy["ingress"])


@pytest.mark.parametrize("name", names())
def test_a_drain_leaves_serving_pods_on_several_nodes(name: str) -> None:
    replicas = workload(name)["spec"]["replicas"]
    assert selecting(name, "PodDisruptionBudget")["spec"]["maxUnavailable"] < replicas
    if replicas == 1:
        return
    spread = workload(name)["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    labels = workload(name)["spec"]["template"]["metadata"]["labels"]
    assert all(one["labelSelector"]["matchLabels"] == labels for one in spread)
