"""The Kubernetes manifests: valid by their schemas and by the sidecar's own settings, and equal to the table's rows.

Schemas: Kubernetes' kinds by kubernetes-validate (PyPI), Traefik's and Istio's by @kubernetes-models/traefik and /istio
(npm; they check types and required fields, and ignore unknown fields). No schema covers the effect of ingress-nginx'
annotations: a real nginx runs the template's output, further down.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.endpoints import API
from sidecar.config import problems, settings
from tests.gateways import install
from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.hostile_upgrades import HIDDEN, PUBLIC, TWICE, WAYS
from tests.gateways.rig.judge import assert_clean, assert_identity, identity
from tests.gateways.rig.outcomes import BILLING, MEDIA
from tests.gateways.rig.rows import request, websocket
from tests.gateways.rig.trusted_names import TRUSTED

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install kubernetes-validate")

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "sidecar" / "templates" / "k8s"
VERSIONS = ("1.33", "1.37")
"""The oldest has stable native sidecars, the newest is the last that kubernetes-validate knows."""

GROUPS = {"traefik.io": "@kubernetes-models/traefik", "networking.istio.io": "@kubernetes-models/istio"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def every() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(MANIFESTS.glob("*.yaml")):
        for document in documents(path.name):
            yield f"{path.name}:{document['kind']}/{document.get('metadata', {}).get('name', '')}", document


def group_of(document: dict[str, Any]) -> str:
    return str(document["apiVersion"]).rpartition("/")[0]


OWN = [pytest.param(one, id=name) for name, one in every() if group_of(one) not in {*GROUPS, "kustomize.config.k8s.io"}]
FOREIGN = [pytest.param(one, id=name) for name, one in every() if group_of(one) in GROUPS]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", OWN)
def test_kubernetes_own_kinds_are_valid(document: dict[str, Any], version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    validate.validate(document, version, strict=True)


@pytest.mark.parametrize("document", FOREIGN)
def test_traefiks_and_istios_kinds_are_valid(document: dict[str, Any], tmp_path: Path) -> None:
    group, _, version = str(document["apiVersion"]).partition("/")
    package, node, modules = GROUPS[group], shutil.which("node"), install.node_modules()
    if node is None:
        pytest.skip("node is not here (Debian: nodejs, npm)")
    if modules is None:
        pytest.skip(f"{package} is not here: {install.why('npm')}")
    script = f"""
        import * as kinds from {json.dumps(f"{package}/{group}/{version}")};
        const document = {json.dumps(document)};
        new kinds[document.kind](document).validate();
    """
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "check.mjs").write_text(script)
    ran = subprocess.run([node, "check.mjs"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stderr


def containers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pod = document["spec"]["template"]["spec"]
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


def sidecars() -> list[Any]:
    return [
        pytest.param(document, one, id=name)
        for name, document in every()
        if document["kind"] in {"Deployment", "StatefulSet"}
        for one in containers(document)
        if one["name"] == "sidecar"
    ]


@pytest.mark.parametrize(("document", "container"), sidecars())
def test_the_sidecar_starts_with_these_settings(document: dict[str, Any], container: dict[str, Any]) -> None:
    """Known names, values that parse, no combination that the start rejects."""
    secret = {"SIDECAR_REDIS_URL": "rediss://redis:6379/0"}
    env = {one["name"]: one.get("value") or secret[one["name"]] for one in container["env"]}
    loaded = settings.load({}, env)
    assert problems.problems(loaded) == []
    ports = {one["name"]: one["containerPort"] for one in container.get("ports", [])}
    for name, at in (("http", loaded.listen), ("ops", loaded.ops_listen), ("grpc", loaded.grpc_listen)):
        assert name not in ports or at is None or ports[name] == getattr(at, "port", None)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if (action := container.get(probe, {}).get("httpGet")) is not None:
            assert action["path"] in {"/livez", "/readyz"}
            assert action["port"] in ports


@pytest.mark.parametrize(("document", "container"), sidecars())
def test_the_sidecar_has_no_rights_that_it_does_not_need(document: dict[str, Any], container: dict[str, Any]) -> None:
    pod = document["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for one in containers(document):
        context = one["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    mounted = {one["name"] for one in pod["volumes"]}
    mounted |= {one["metadata"]["name"] for one in document["spec"].get("volumeClaimTemplates", [])}
    for one in containers(document):
        assert {mount["name"] for mount in one.get("volumeMounts", [])} <= mounted


def test_kustomize_makes_the_config_maps_that_are_mounted() -> None:
    (kustomization,) = documents("kustomization.yaml")
    made = {one["name"]: [Path(name).name for name in one["files"]] for one in kustomization["configMapGenerator"]}
    assert set(made["sidecar-policy"]) == {path.name for path in (ROOT / "policy").glob("*.*sv")} | {
        path.name for path in (ROOT / "policy").glob("*.toml")
    }
    assert made["sidecar-model"] == ["model.conf"]
    (stateful,) = [one for one in documents("sidecar.yaml") if one["kind"] == "StatefulSet"]
    volumes = stateful["spec"]["template"]["spec"]["volumes"]
    assert set(made) == {one["configMap"]["name"] for one in volumes if "configMap" in one}


def test_traefiks_middlewares_are_those_that_the_table_proves() -> None:
    proven = yaml.safe_load((ROOT / "tests/gateways/traefik/dynamic.yml").read_text())["http"]
    *named, route = documents("traefik.yaml")
    middlewares = {one["metadata"]["name"]: one["spec"] for one in named}
    asked = {**proven["middlewares"]["ask-sidecar"]["forwardAuth"]}
    asked.pop("maxResponseBodySize")  # not in the CRD of every Traefik 3
    asked["address"] = "http://sidecar.default.svc.cluster.local:9181/check"
    assert middlewares["ask-sidecar"] == {"forwardAuth": asked}
    assert {name: middlewares[name] for name in middlewares if name != "ask-sidecar"} == {
        name: spec for name, spec in proven["middlewares"].items() if name != "ask-sidecar"
    }
    named_as = ("sidecar", "dashboard", "dashboard-websocket")
    for one, name in zip(route["spec"]["routes"], named_as, strict=True):
        router = proven["routers"][name]
        assert name == "dashboard" or router["rule"] in one["match"]
        assert [middleware["name"] for middleware in one["middlewares"]] == router["middlewares"]
        assert one["priority"] == router["priority"]


def test_istios_filter_is_the_one_that_the_table_proves() -> None:
    proven = yaml.safe_load((ROOT / "tests/gateways/envoy/envoy-grpc.yaml").read_text())
    manager = proven["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    envoy_filter, service = documents("istio.yaml")
    merged, inserted, route = (one["patch"]["value"] for one in envoy_filter["spec"]["configPatches"])
    for key, value in merged["typed_config"].items():
        assert manager[key] == value, key
    expected = json.loads(json.dumps(manager["http_filters"][0]))
    cluster = "outbound|9183||sidecar.default.svc.cluster.local"
    expected["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = cluster
    assert inserted == expected
    own, _, dashboard = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["typed_per_filter_config"] == own["typed_per_filter_config"]
    assert service["spec"]["http"][1]["headers"]["request"]["remove"] == dashboard["request_headers_to_remove"]
    regexes = [one["uri"]["regex"] for one in service["spec"]["http"][0]["match"]]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"][:2]
    assert regexes == [one["match"]["safe_regex"]["regex"] for one in routes]


def test_the_ingress_passes_the_console_and_its_calls() -> None:
    (own,) = [one for one in documents("ingress-nginx.yaml") if one["metadata"]["name"] == "sidecar"]
    rules = own["spec"]["rules"][0]["http"]["paths"]
    assert {rule["backend"]["service"]["name"] for rule in rules} == {"sidecar"}

    def passes(path: str) -> bool:
        """Match as Kubernetes defines it: Prefix by whole segments."""
        prefixes = {rule["path"] for rule in rules if rule["pathType"] == "Prefix"}
        exact = {rule["path"] for rule in rules if rule["pathType"] == "Exact"}
        return path in exact | prefixes or any(path.startswith(f"{prefix}/") for prefix in prefixes)

    paths = {row.path for row in API if row.path.startswith("/v1/")}
    assert [path for path in ("/console", "/console/", "/console/users", *sorted(paths)) if not passes(path)] == []
    assert [path for path in ("/", "/check", "/v1/check", "/consoles", "/introspect") if passes(path)] == []


# -- ingress-nginx: the template's output for the annotations, run by nginx itself -------------------------------------

ORIGINAL_URI = "      proxy_set_header X-Original-URI $request_uri;\n"
TEMPLATE = """
      proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
      proxy_set_header X-Sent-From "nginx-ingress-controller";
"""


UPGRADE = """
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
"""


def annotated(auth_method: str | None) -> Any:
    """``auth-method`` adds X-Original-URI; the two others are always present."""

    def edit(text: str) -> str:
        assert ORIGINAL_URI in text
        text = text.replace(ORIGINAL_URI, (ORIGINAL_URI if auth_method else "") + TEMPLATE)
        return as_the_template_writes_it(text)

    return edit


def as_the_template_writes_it(text: str) -> str:
    """The controller forwards any upgrade, sends no check for it, and takes the rest from its two ConfigMaps."""
    settings, clean = (one["data"] for one in documents("ingress-nginx.yaml") if one["kind"] == "ConfigMap")
    before, maps, after = text.partition("  map $http_upgrade $upgrade {")
    assert maps
    after = after.partition("\n")[2].partition("\n")[2]  # the second map is the controller's own
    text = before + UPGRADE + settings["http-snippet"] + after
    text, found = re.subn(r"(?m)^ +if \(\$request_uri .*\n", "", text)  # only the snippet rejects dot segments
    assert found == 1
    text, found = re.subn(r"(?m)^ +proxy_set_header Upgrade \$http_upgrade;.*\n", "", text)
    assert found == 1
    text = text.replace("proxy_set_header Upgrade $upgrade;", "proxy_set_header Upgrade $http_upgrade;")
    text = text.replace(
        "    auth_request /_sidecar_check;", settings["server-snippet"] + "    auth_request /_sidecar_check;"
    )
    kept = re.compile(
        r" +proxy_set_header (Cookie|Host|Upgrade|Connection|X-Forwarded-(For|Host|Proto)|X-Auth-[A-Z][a-z]+) \$"
    )
    head, location, rest = text.partition("    location / {\n")
    lines = [line for line in rest.splitlines(keepends=True) if "proxy_set_header" not in line or kept.match(line)]
    removed = "".join(f'      proxy_set_header {name} "{value}";\n' for name, value in clean.items())
    return head + location + removed + "".join(lines)


@pytest.fixture(scope="module")
def ingress(bench: Bench) -> Lane:
    return bench.start("nginx", edit=annotated("GET"))


def ask(bench: Bench, lane: Lane, target: str, *headers: str) -> tuple[int, int]:
    raw = request(target, *headers, "Authorization: Bearer " + bench.cast.tokens["marketer"])
    response, arrivals = lane.ask(raw)
    for arrival in arrivals:
        assert_identity(arrival, identity(bench.cast, "marketer", "media-library", "view"))
    return response.status, len(arrivals)


def test_ingress_nginx_as_annotated(bench: Bench, ingress: Lane) -> None:
    (dashboard,) = [one for one in documents("ingress-nginx.yaml") if one["metadata"]["name"] == "dashboard"]
    assert dashboard["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-method"] == "GET"
    spoofed = (f"X-Original-URI: {MEDIA}", f"X-Original-URL: https://dash.example{MEDIA}", "X-Sent-From: somebody")
    assert ask(bench, ingress, MEDIA + "?a=1") == (200, 1)
    assert ask(bench, ingress, MEDIA, *spoofed) == (200, 1)
    assert ask(bench, ingress, BILLING) == (403, 0)
    assert ask(bench, ingress, BILLING, *spoofed) == (403, 0)


@pytest.mark.parametrize("dots", ["..", ".", "%2e%2e", ".%2E", "x/../.."])
def test_ingress_nginx_rejects_dot_segments(bench: Bench, ingress: Lane, dots: str) -> None:
    for target in (f"/check/{dots}/v1/me", f"/v1/me/{dots}", f"/v1/me/{dots}?a=1", f"/check%2f{dots}%2Fv1/me"):
        assert (target, *ask(bench, ingress, target)) == (target, 400, 0)
    assert ask(bench, ingress, MEDIA + "?a=/../%2e%2e/") == (200, 1)
    assert ask(bench, ingress, "/.well-known/jwks.json") == (200, 0)


def test_ingress_nginx_without_auth_method_lets_nobody_in(bench: Bench) -> None:
    lane = bench.start("nginx", edit=annotated(None), ready=403)
    assert ask(bench, lane, MEDIA) == (403, 0)
    assert ask(bench, lane, BILLING, f"X-Original-URI: {MEDIA}") == (403, 0)


def test_R6_ingress_nginx_forwards_only_websocket_upgrades(bench: Bench, ingress: Lane) -> None:
    token = bench.cast.tokens["marketer"]
    for name, (lines, _) in {**WAYS, **TWICE}.items():
        for raw in (request(PUBLIC, *lines), request(MEDIA, *lines, f"Authorization: Bearer {token}")):
            response, arrivals = ingress.ask(raw + (HIDDEN if name in WAYS else b""), settle=0.05)
            for arrival in arrivals:
                assert_clean(arrival)
            if name in TWICE:  # nginx 1.22 reads the first line alone
                assert response.status == 101 and len(arrivals) == 1
            elif name == "an empty one":
                assert (response.status, [one.values("upgrade") for one in arrivals]) == (200, [[]])
            else:
                assert (name, response.status, arrivals) == (name, 403, [])
    for value in ("websocket", "WebSocket"):
        raw = websocket(MEDIA, f"Authorization: Bearer {token}").replace(b": websocket", f": {value}".encode())
        response, arrivals = ingress.ask(raw)
        assert (response.status, len(arrivals)) == (101, 1)


def test_R6_ingress_nginx_removes_headers_that_back_ends_trust(bench: Bench, ingress: Lane) -> None:
    (clean,) = [one["data"] for one in documents("ingress-nginx.yaml") if one["metadata"]["name"] == "sidecar-clean"]
    assert set(TRUSTED) - {"Proxy"} <= set(clean)  # the controller's template removes Proxy by itself
    assert set(clean.values()) == {""}
    token = bench.cast.tokens["marketer"]
    for number in range(0, len(TRUSTED), 64):
        names = [name for name in TRUSTED[number : number + 64] if name != "Proxy"]
        for spelt in (str, str.lower, str.upper, lambda name: name.replace("-", "_")):
            raw = request(MEDIA, *(f"{spelt(name)}: evil" for name in names), f"Authorization: Bearer {token}")
            response, arrivals = ingress.ask(raw)
            assert (response.status, len(arrivals)) == (200, 1)
            assert_clean(arrivals[0])
