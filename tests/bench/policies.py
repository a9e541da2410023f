"""The same policy for every target: the shipped one, grown by roles and sections, as our files, Cerbos' and Envoy's.

Requests and right responses come from our compiler. A target with another response is not measured (``table.py`` tests
every target first).
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import packaged, read_policy_files

SHIPPED_RULES = 12
ACTIONS = {"view": "GET", "manage": "POST"}


@dataclass(frozen=True, slots=True)
class Shape:
    """``areas`` more sections, ``teams`` more roles, ``rules`` lines of ``p`` in all."""

    teams: int
    areas: int
    rules: int


BASE = Shape(teams=1, areas=6, rules=24)


def of_rules(rules: int) -> Shape:
    """Return a shape with that many rules, over a hundred sections at most."""
    if rules <= BASE.rules:
        return BASE
    areas = min(100, rules // 8)
    return Shape(teams=-(-(rules - SHIPPED_RULES) // (2 * areas)), areas=areas, rules=rules)


def of_sections(sections: int) -> Shape:
    """Return a shape with that many sections more than the shipped ones, each open to one more role."""
    return Shape(teams=1, areas=sections, rules=SHIPPED_RULES + 2 * sections)


@dataclass(frozen=True, slots=True)
class Cell:
    """A section and action, and a request that maps to it."""

    section: str
    action: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The files in a folder, and their compiled form."""

    folder: Path
    model: Path
    generation: Generation
    spots: tuple[Cell, ...]

    @property
    def roles(self) -> list[str]:
        return [role.id for role in self.generation.roles.values() if role.assignable]

    def allowed(self, role: str, spot: Cell) -> bool:
        return (spot.section, spot.action) in self.generation.allowed[role]


def write_policy(folder: Path, shape: Shape = BASE) -> Policy:
    """Write our files, compiled. The bench skips the pycasbin proof."""
    shipped, model = packaged()
    folder.mkdir(parents=True, exist_ok=True)
    cells = [
        (f"team-{team}", f"area-{area}", action)
        for team in range(1, shape.teams + 1)
        for area in range(1, shape.areas + 1)
        for action in ACTIONS
    ]
    granted = cells[: shape.rules - SHIPPED_RULES]
    more = {
        "policy.csv": [f"p, {role}, {section}, {action}, allow" for role, section, action in granted],
        "roles.toml": [f'[roles.team-{team}]\ntitle = "Team {team}"' for team in range(1, shape.teams + 1)],
        "sections.toml": [_section(area) for area in range(1, shape.areas + 1)],
        "expectations.csv": list(_expectations(shipped, shape, set(granted))),
        "routes.csv": [
            f"area-{area}/{action}, {method}, /dashboard/area-{area}/x"
            for area in range(1, shape.areas + 1)
            for action, method in ACTIONS.items()
        ],
    }
    for name, lines in more.items():
        (folder / name).write_text((shipped / name).read_text() + "\n" + "\n".join(lines) + "\n")
    files = read_policy_files(folder, model)
    compiled = compile_policy(files.files, proof=ProofScope.NONE, problems=files.diagnostics)
    if compiled.generation is None:
        raise RuntimeError(f"the bench's policy does not compile: {compiled.diagnostics[:3]}")
    return Policy(folder, model, compiled.generation, tuple(_spots(folder)))


def _section(area: int) -> str:
    return f"""[sections.area-{area}]
title = "Area {area}"
actions = ["view", "manage"]
routes = [
  {{ path = "/dashboard/area-{area}/**", methods = ["GET"], action = "view" }},
  {{ path = "/dashboard/area-{area}/**", methods = ["POST"], action = "manage" }},
]"""


def _expectations(shipped: Path, shape: Shape, granted: set[tuple[str, str, str]]) -> Iterator[str]:
    """Return complete expectations: the old roles on the new sections, the new roles on all sections."""
    old_roles = [
        role
        for role, told in tomllib.loads((shipped / "roles.toml").read_text())["roles"].items()
        if told.get("assignable", True)
    ]
    old_sections = tomllib.loads((shipped / "sections.toml").read_text())["sections"]
    for area in range(1, shape.areas + 1):
        for action in ACTIONS:
            for role in old_roles:
                effect = "allow" if role == "account-administrator" else "deny"
                yield f"{effect}, {role}, area-{area}, {action}"
            for team in range(1, shape.teams + 1):
                cell = (f"team-{team}", f"area-{area}", action)
                yield ", ".join(("allow" if cell in granted else "deny", *cell))
    for team in range(1, shape.teams + 1):
        for section, told in old_sections.items():
            for action in told["actions"]:
                yield f"deny, team-{team}, {section}, {action}"


def _spots(folder: Path) -> Iterator[Cell]:
    for section, told in tomllib.loads((folder / "sections.toml").read_text())["sections"].items():
        for route in told["routes"]:
            path = route["path"].removesuffix("/**") + "/items/4711?page=2&sort=name"
            yield Cell(section, route["action"], route["methods"][0], path)


def write_cerbos(folder: Path, policy: Policy, jwks: Mapping[str, Any], *, port: int) -> Path:
    """Write Cerbos' configuration; a resource policy per section beside it. Return the configuration's path."""
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    for section in policy.generation.sections.values():
        rules = []
        for action in section.actions:
            roles = [role for role, cells in policy.generation.allowed.items() if (section.id, action) in cells]
            if roles:
                rules.append({"actions": [action], "effect": "EFFECT_ALLOW", "roles": roles})
        told = {
            "apiVersion": "api.cerbos.dev/v1",
            "resourcePolicy": {"version": "default", "resource": section.id, "rules": rules},
        }
        (policies / f"{section.id}.json").write_text(json.dumps(told))
    (folder / "jwks.json").write_text(json.dumps(jwks))
    configuration = {
        "server": {"httpListenAddr": f"127.0.0.1:{port}", "grpcListenAddr": f"unix:{folder}/grpc.sock"},
        "storage": {"driver": "disk", "disk": {"directory": str(policies), "watchForChanges": False}},
        "auxData": {"jwt": {"keySets": [{"id": "bench", "local": {"file": str(folder / "jwks.json")}}]}},
        "telemetry": {"disabled": True},
    }
    written = folder / "cerbos.json"
    written.write_text(json.dumps(configuration))
    return written


def write_envoy(
    folder: Path, policy: Policy, jwks: Mapping[str, Any], *, port: int, issuer: str, audience: str
) -> Path:
    """Write Envoy's own two filters: a verified token (with its cache), then a rule per role over path and method."""
    provider = {
        "issuer": issuer,
        "audiences": [audience],
        "local_jwks": {"inline_string": json.dumps(jwks)},
        "payload_in_metadata": "token",
        "jwt_cache_config": {"jwt_cache_size": 10_000},
    }
    authn = {
        "@type": f"{_FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    rbac = {
        "@type": f"{_FILTERS}.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": {role: _envoy_role(policy, role) for role in policy.roles}},
    }
    router = {"@type": f"{_FILTERS}.router.v3.Router"}
    manager = {
        "@type": f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": authn},
            {"name": "envoy.filters.http.rbac", "typed_config": rbac},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    written = folder / "envoy.json"
    folder.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    return written


_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_NETWORK = "type.googleapis.com/envoy.extensions.filters.network"


def _envoy_role(policy: Policy, role: str) -> dict[str, Any]:
    permissions = [
        {
            "and_rules": {
                "rules": [
                    {"url_path": {"path": {"prefix": spot.path.partition("items/")[0]}}},
                    {"header": {"name": ":method", "string_match": {"exact": spot.method}}},
                ]
            }
        }
        for spot in policy.spots
        if policy.allowed(role, spot)
    ]
    principal = {
        "metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": "token"}, {"key": "role"}],
            "value": {"string_match": {"exact": role}},
        }
    }
    return {"permissions": permissions, "principals": [principal]}
