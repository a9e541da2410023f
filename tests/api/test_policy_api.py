"""``/v1/policy…``: the active policy, explanations, previews of an edit. The policy guards its own endpoints."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import fields
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import RawTestServer, TestClient

from sidecar.api import policy
from sidecar.api.dispatcher import Dispatcher
from sidecar.domain.users import Actor
from sidecar.http import policy_schemas
from sidecar.http.context import AppContext, PublicConfig
from sidecar.http.credentials import cookie_name
from sidecar.identity.login import SignIn
from sidecar.pdp import preview as previewing
from sidecar.pdp.activation import ActivationState
from sidecar.pdp.compile.protocol import ResourceLimits
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.preview import Previews
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.explained import Explained
from sidecar.store.policy_history import PolicyHistory
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.verify import Verifier
from tests.fixtures import PASSWORD, PUBLIC, ApiClient, DirectRecords
from tests.needs_world import need, policy_with
from tests.pdp_fixture import at_once
from tests.policy.needs_policies import with_needs

ADMIN = "ada@example.com"


@pytest.fixture
async def web(town, issuer, clock, store) -> AsyncIterator[ApiClient]:
    """Serve the policy's endpoints with the real guard, over the shipped policy."""
    in_force = SimpleNamespace(generation=town.generation, state=ActivationState.CURRENT, loaded_at=1_764_000_000.5)
    tokens = TokenCache(Verifier(issuer.keys, issuer.issuer, "dashboard", 900))
    given = {
        "public_config": PublicConfig(
            public_url=PUBLIC,
            origins=frozenset({PUBLIC}),
            cookie=cookie_name(PUBLIC),
            unavailable_status=403,
            trusted_proxies=(),
            max_body=65536,
            seat_contact="",
        ),
        "policy": in_force,
        "pdp": DecisionPoint(in_force, tokens, DirectRecords(town.people.users), clock=clock.time),
        "people": town.people,
        "health": SimpleNamespace(proven=True, draining=False),
        "metrics": (metrics := Metrics("0")),
        "recorder": CheckRecorder(metrics, call_soon=at_once),
        "previews": Previews(),
        "policy_history": PolicyHistory(store),
    }
    app = AppContext(**{part.name: given.get(part.name) for part in fields(AppContext)})
    server = RawTestServer(Dispatcher(app, policy.ENDPOINTS, checks=False))
    client = TestClient(server, cookie_jar=DummyCookieJar())
    await client.start_server()
    web = ApiClient(client, town)
    web.app = app
    yield web
    await client.close()


@pytest.fixture
async def ada(web, town) -> str:
    """Return the token of an Account Administrator."""
    web.admin = await town.found()
    return await web.token(ADMIN)


def edited(town, name: str, old: str, new: str) -> dict[str, str]:
    """Return the file with the line of these fields, however aligned, replaced."""
    text, count = re.subn(re.sub(r",\s*", r",\\s*", old), new, town.generation.files[name].decode())
    assert count == 1
    return {name: text}


# -- active policy -----------------------------------------------------------------------------------------------------


async def test_the_policy_in_force(web, ada, town) -> None:
    answer = await web.ask("GET", "/v1/policy", token=ada)
    assert answer.status == 200
    assert set(answer.body) == {"generation", "loaded_at", "state", "sidecars", "roles", "sections"}
    assert answer.body["generation"] == town.generation.id
    assert answer.body["state"] == "current"
    assert answer.body["loaded_at"] == "2025-11-24T16:00:00+00:00"
    roles = {role["id"]: role for role in answer.body["roles"]}
    assert roles["member"]["assignable"] is False
    assert roles["marketer"]["inherits"] == ["member"]
    assert {"id": "billing", "title": "Billing", "actions": ["view", "change-plan"]} in answer.body["sections"]
    msgspec.convert(answer.body, policy_schemas.ActivePolicySummary)


async def test_R27_the_fleet_is_two_numbers(web, ada, town) -> None:
    own = {"id": "10.0.0.7:81", "generation": town.generation.id, "state": "current"}
    old = {"id": "10.0.0.8:82", "generation": "older", "state": "rejected"}
    town.fleet.reported = [own, {**own, "id": "10.0.0.9:83"}, old, {"id": "starting"}]
    answer = await web.ask("GET", "/v1/policy", token=ada)
    assert answer.body["sidecars"] == {"in_force": 2, "live": 4}
    assert not any(member["id"] in str(answer.body) for member in town.fleet.reported)


async def test_the_matrix_has_every_cell_with_its_rule(web, ada, town) -> None:
    answer = await web.ask("GET", "/v1/policy/matrix", token=ada)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    cells = {(c["role"], c["section"], c["action"]): c for c in answer.body["cells"]}
    assert len(cells) == len(answer.body["cells"]) == len(town.generation.cells)
    for cell, ruling in town.generation.cells.items():
        shown = cells[cell]
        assert (shown["decision"], shown["reason"], shown["rule"]) == (ruling.allowed, ruling.reason, ruling.rule)
    msgspec.convert(answer.body, policy_schemas.Matrix)


async def test_the_matrix_has_needs_and_the_titles_of_their_conditions(web, ada, town, monkeypatch) -> None:
    assert not {"conditions", "needs"} & (await web.ask("GET", "/v1/policy/matrix", token=ada)).body.keys()
    in_force = policy_with(need("second-factor | office, recent-sign-in"))
    monkeypatch.setattr(web.app.policy, "generation", in_force)
    answer = await web.ask("GET", "/v1/policy/matrix", token=ada)
    assert answer.body["conditions"] == [
        {"name": "second-factor", "title": "Second factor"},
        {"name": "recent-sign-in", "title": "Recent sign-in"},
        {"name": "office", "title": "Office"},
    ]
    found = {(c["role"], c["section"], c["action"]): c["needs"] for c in answer.body["cells"] if "needs" in c}
    assert found == {("accountant", "billing", "view"): [["second-factor", "office"], ["recent-sign-in"]]}
    assert len(answer.body["cells"]) == len(in_force.cells)
    msgspec.convert(answer.body, policy_schemas.Matrix)


async def test_a_large_matrix_is_the_same_in_pieces(web, ada, monkeypatch) -> None:
    whole = await web.ask("GET", "/v1/policy/matrix", token=ada)
    monkeypatch.setattr(policy, "CELLS_AT_ONCE", 7)
    pieces = await web.ask("GET", "/v1/policy/matrix", token=ada)
    assert pieces.body == whole.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/policy"),
        ("GET", "/v1/policy/matrix"),
        ("GET", "/v1/policy/explain?section=billing&action=view"),
        ("POST", "/v1/policy/preview"),
    ],
)
async def test_the_sidecar_guards_its_policy_with_its_policy(web, ada, town, method, path) -> None:
    await town.join(web.admin, "mark@example.com", "marketer")
    denied = await web.ask(method, path, token=await web.token("mark@example.com"))
    assert (denied.status, denied.body["reason"]) == (403, "no_rule")
    nobody = await web.ask(method, path)
    assert nobody.status == 401


# -- explanations ------------------------------------------------------------------------------------------------------


async def explain(web, token, **query: str):
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return await web.ask("GET", f"/v1/policy/explain?{words}", token=token)


async def test_a_role_is_explained(web, ada) -> None:
    answer = await explain(web, ada, section="billing", action="view", role="marketer")
    assert answer.status == 200
    assert answer.body["decision"] is False
    assert answer.body["reason"] == "no_rule"
    assert answer.body["edits"] == [{"edit": "write", "line": "p, marketer, billing, view, allow", "rule": None}]
    assert answer.body["roles"] == ["account-administrator", "accountant"]
    assert answer.body["user"] is None
    msgspec.convert(answer.body, Explained)


async def test_oneself_is_explained_when_nobody_is_named(web, ada) -> None:
    answer = await explain(web, ada, section="billing", action="view")
    assert answer.body["decision"] is True
    assert answer.body["user"]["email"] == ADMIN
    assert answer.body["rule"].startswith("policy/policy.csv:")
    msgspec.convert(answer.body, Explained)


@pytest.mark.parametrize("named", ["id", "email"])
async def test_a_user_is_explained_by_id_and_by_email(web, ada, town, named) -> None:
    mark = await town.join(web.admin, "mark@example.com", "marketer")
    answer = await explain(
        web, ada, section="media-library", action="view", user=mark.id if named == "id" else "Mark@Example.COM"
    )
    assert answer.body["decision"] is True
    assert answer.body["role"] == "marketer"
    assert answer.body["user"] == {
        "id": mark.id,
        "email": "mark@example.com",
        "name": mark.name,
        "status": "active",
    }


async def test_who_may_not_act_is_denied_for_that(web, ada, town) -> None:
    mark = await town.join(web.admin, "mark@example.com", "marketer")
    await town.people.users.change(Actor.operator(), mark.id, status="suspended")
    answer = await explain(web, ada, section="media-library", action="view", user=mark.id)
    assert (answer.body["decision"], answer.body["reason"], answer.body["edits"]) == (False, "suspended", [])
    await town.invite(web.admin, "new@example.com", "marketer")
    answer = await explain(web, ada, section="media-library", action="view", user="new@example.com")
    assert (answer.body["decision"], answer.body["reason"]) == (False, "unknown_user")
    answer = await explain(web, ada, section="billing", action="view", user="new@example.com")
    assert answer.body["side_effects"] == {"count": 0, "cells": []}, "of side effects, and there are none"
    msgspec.convert(answer.body, Explained)


async def test_R27_another_accounts_user_is_nobody(web, ada, town) -> None:
    other = await town.found("Bolt", "bob@bolt.example")
    for named in (other.id, "bob@bolt.example", "nobody@example.com", "no address", "usr_x"):
        answer = await explain(web, ada, section="billing", action="view", user=named.replace(" ", "%20"))
        assert (answer.status, answer.body["code"]) == (404, "not_found"), named


@pytest.mark.parametrize(
    "query",
    [
        {"section": "billing"},
        {"action": "view"},
        {"section": "b", "action": "v", "user": "u", "role": "r"},
        {"section": "billing", "action": "view", "colour": "red"},
        {"section": "", "action": "view"},
    ],
)
async def test_what_cannot_be_explained_is_a_bad_request(web, ada, query) -> None:
    answer = await explain(web, ada, **query)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")


async def test_an_unknown_role_is_named_with_the_nearest(web, ada) -> None:
    answer = await explain(web, ada, section="billing", action="view", role="marketeer")
    assert (answer.status, answer.body["code"], answer.body["nearest"]) == (422, "unknown_role", "marketer")


async def test_an_unknown_section_is_a_reasoned_deny(web, ada) -> None:
    answer = await explain(web, ada, section="biling", action="view", role="marketer")
    assert (answer.body["decision"], answer.body["reason"]) == (False, "unknown_section")
    assert answer.body["hint"] == 'did you mean "billing"?'
    answer = await explain(web, ada, section="billing", action="vew")
    assert (answer.body["reason"], answer.body["hint"]) == ("unknown_action", 'did you mean "view"?')
    msgspec.convert(answer.body, Explained)


# -- previews ----------------------------------------------------------------------------------------------------------


async def preview(web, token, files: dict[str, str]):
    return await web.ask("POST", "/v1/policy/preview", {"files": files}, token=token)


async def test_no_edit_changes_nothing(web, ada) -> None:
    answer = await preview(web, ada, {})
    assert answer.status == 200
    assert answer.body["valid"] is True
    assert (answer.body["diagnostics"], answer.body["changes"], answer.body["routes"]) == ([], [], [])
    assert answer.body["expectations"]["passed"] > 100
    assert answer.body["expectations"]["failed"] == []
    msgspec.convert(answer.body, policy_schemas.Preview)


async def test_R27_a_change_names_users_of_the_callers_account_alone(web, ada, town) -> None:
    mark = await town.join(web.admin, "mark@example.com", "marketer")
    other = await town.found("Bolt", "bob@bolt.example")
    await town.join(other, "max@bolt.example", "marketer")
    text = town.generation.files["policy.csv"].decode() + "p, marketer, billing, view, allow\n"
    answer = await preview(web, ada, {"policy.csv": text})
    person = {"id": mark.id, "email": "mark@example.com", "name": mark.name, "status": "active"}
    assert answer.body["changes"] == [
        {
            "role": "marketer",
            "section": "billing",
            "action": "view",
            "from": "deny",
            "to": "allow",
            "users": [{**person, "factors": 0, "token_only": True}],
        }
    ]
    assert "bolt" not in answer.raw.decode()
    msgspec.convert(answer.body, policy_schemas.Preview)


async def test_an_edit_names_who_signs_in_by_token_alone(web, ada, town) -> None:
    """A sign-in in a browser is the evidence that a person can reach the page that enrols a second factor."""
    await town.join(web.admin, "mark@example.com", "accountant")
    need = "accountant, billing, view"
    edit = with_needs(
        town.generation.files, f"needs, {need}, second-factor\n", f"deny, {need}, without second-factor\n"
    )
    files = {name: content.decode() for name, content in edit.items() if content != town.generation.files[name]}

    async def shown() -> tuple[bool, bool]:
        [change] = (await preview(web, ada, files)).body["changes"]
        return change["needs_factor"], change["users"][0]["token_only"]

    assert await shown() == (True, True)
    await town.grant("mark@example.com")
    assert await shown() == (True, True)
    await town.people.login.sign_in(SignIn("mark@example.com", PASSWORD, browser=True), town.client)
    assert await shown() == (True, False)


async def test_a_failed_expectation_leaves_it_valid(web, ada, town) -> None:
    line = "marketer, billing, view"
    answer = await preview(web, ada, edited(town, "expectations.csv", f"deny, {line}", f"allow, {line}"))
    assert answer.status == 200, answer.body
    assert answer.body["valid"] is True
    [failed] = answer.body["expectations"]["failed"]
    assert (failed["role"], failed["expected"], failed["got"]) == ("marketer", "allow", "deny")
    assert failed["rule"].startswith("policy/expectations.csv:")
    assert [d["code"] for d in answer.body["diagnostics"]] == ["failed-expectation"]


async def test_a_typo_is_told_with_its_place(web, ada, town) -> None:
    answer = await preview(web, ada, {"policy.csv": "p, marketeer, media-library, *, allow\n"})
    assert answer.body["valid"] is False
    first = answer.body["diagnostics"][0]
    assert set(first) == {"severity", "code", "file", "line", "column", "message", "hint", "places"}
    assert (first["code"], first["file"], first["line"], first["column"]) == ("unknown-role", "policy/policy.csv", 1, 4)
    assert answer.body["changes"] == []


async def test_R26_a_broken_invariant_is_shown_with_its_changes(web, ada, town) -> None:
    text = town.generation.files["policy.csv"].decode() + "p, account-administrator, users, manage, deny\n"
    answer = await preview(web, ada, {"policy.csv": text})
    assert answer.body["valid"] is False
    assert "administrator-locked-out" in [d["code"] for d in answer.body["diagnostics"]]
    assert ("account-administrator", "users", "manage", "deny") in [
        (c["role"], c["section"], c["action"], c["to"]) for c in answer.body["changes"]
    ]


async def test_R26_a_role_in_use_must_not_disappear(web, ada, town) -> None:
    await town.join(web.admin, "mark@example.com", "marketer")
    roles = town.generation.files["roles.toml"].decode().split("[roles.marketer]")
    rest = roles[1].partition("[roles.member]")
    files = {"roles.toml": roles[0] + "".join(rest[1:])}
    for name in ("policy.csv", "expectations.csv"):
        lines = town.generation.files[name].decode().splitlines(keepends=True)
        files[name] = "".join(line for line in lines if "marketer" not in line or line.startswith("#"))
    answer = await preview(web, ada, files)
    assert answer.body["valid"] is False, answer.body["diagnostics"]
    [found] = answer.body["diagnostics"]
    assert found["code"] == "role-in-use"
    assert '"marketer"' in found["message"]


async def test_R3_a_newly_public_route_is_listed_as_opening(web, ada, town) -> None:
    text = town.generation.files["sections.toml"].decode()
    text += '\n[[public]]\npath = "/dashboard/billing/plans"\nmethods = ["GET"]\n'
    answer = await preview(web, ada, {"sections.toml": text})
    assert answer.body["routes"][0] == {
        "method": "GET",
        "path": "/dashboard/billing/plans",
        "from": "billing/view",
        "to": "public",
        "opens": True,
    }
    assert answer.body["valid"] is True, "its routes have no test yet: no error of the files"


async def test_a_file_that_no_policy_has_is_refused(web, ada) -> None:
    for name in ("../policy.csv", "notes.txt", "policy/policy.csv"):
        answer = await preview(web, ada, {name: ""})
        assert (answer.status, answer.body["code"]) == (400, "bad_request")


async def test_R27_a_body_over_one_mebibyte_is_rejected(web, ada) -> None:
    comment = "# " + "x" * 70 + "\n"
    rules = "p, account-administrator, *, *, allow\np, member, account-settings, *, allow\n"
    under = await preview(web, ada, {"policy.csv": rules + comment * 5000})
    assert under.status == 200, under.body
    body = json.dumps({"files": {"policy.csv": rules + comment * 20000}}).encode()
    over = await web.ask("POST", "/v1/policy/preview", token=ada, raw=io.BytesIO(body))
    assert (over.status, over.body["code"]) == (413, "too_large")
    assert over.body["detail"] == "the body is over 1048576 bytes; send less", "no setting raises it"


async def test_R27_more_than_20000_rules_are_refused(web, ada) -> None:
    rules = "".join(f"p, r{n}, s, a, allow\n" for n in range(20_001))
    answer = await preview(web, ada, {"policy.csv": rules})
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert "20,000" in answer.body["detail"]


async def test_R27_excessive_lines_are_rejected_uncounted(web, ada) -> None:
    for text in ("\n" * 80_001, "#\n" * 80_001):
        for name in ("policy.csv", "routes.csv"):
            answer = await preview(web, ada, {name: text})
            assert (answer.status, answer.body["code"]) == (413, "too_large")
            assert "80,000 lines" in answer.body["detail"]


async def test_R27_one_at_a_time_for_an_account_and_two_in_a_sidecar(web, ada, town, monkeypatch) -> None:
    """Previews of three accounts, held in their child: the second of one account and the third of all are rejected."""
    hold, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def child(_task) -> bytes:
        begun.release()
        await hold.wait()
        return b"{}"

    monkeypatch.setattr(previewing, "run", child)
    tokens = [ada]
    for name in ("Bolt", "Coil"):
        await town.found(name, f"bob@{name}.example")
        tokens.append(await web.token(f"bob@{name}.example"))
    first, second = (asyncio.create_task(preview(web, token, {})) for token in tokens[:2])
    await begun.acquire()
    await begun.acquire()
    for token in (tokens[0], tokens[2]):
        refused = await preview(web, token, {})
        assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "1")
    hold.set()
    assert [answer.status for answer in await asyncio.gather(first, second)] == [200, 200]
    assert (await preview(web, tokens[2], {})).status == 200, "finished previews do not count"


async def test_R27_more_than_100000_cells_are_rejected_before_a_table(web, ada) -> None:
    """1.15 million cells fit into a body of 66 KB."""
    actions = json.dumps([f"a{n}" for n in range(24)])
    sections = "".join(f'[sections.s{n}]\ntitle = "S {n}"\nactions = {actions}\n' for n in range(120))
    roles = "".join(f'[roles.r{n}]\ntitle = "R {n}"\n' for n in range(400))
    rules = "".join(f"p, r{n}, *, *, allow\n" for n in range(400))
    answer = await preview(web, ada, {"sections.toml": sections, "roles.toml": roles, "policy.csv": rules})
    assert (answer.status, answer.body["code"]) == (413, "too_large"), answer.body
    assert "100,000 cells" in answer.body["detail"]
    assert "sidecar policy diff" in answer.body["detail"]


@pytest.mark.parametrize(
    "limits",
    [
        ResourceLimits(cpu_seconds=1, memory_bytes=0, seconds=20.0),
        ResourceLimits(memory_bytes=120 * 1024**2, cpu_seconds=20, seconds=20.0),
        ResourceLimits(cpu_seconds=20, seconds=0.5),
    ],
    ids=["cpu", "memory", "time"],
)
async def test_R27_a_preview_that_costs_too_much_ends_and_says_so(web, ada, monkeypatch, limits) -> None:
    monkeypatch.setattr(previewing, "LIMITS", limits)
    sections = "".join(f'[sections.s{n}]\ntitle = "S {n}"\nactions = ["view"]\n' for n in range(5000))
    roles = "".join(f'[roles.r{n}]\ntitle = "R {n}"\n' for n in range(500))
    rules = "".join(f"p, r{n}, *, *, allow\n" for n in range(500))
    answer = await preview(web, ada, {"sections.toml": sections, "roles.toml": roles, "policy.csv": rules})
    assert (answer.status, answer.body["code"]) == (413, "too_large"), answer.body
    assert "sidecar policy diff" in answer.body["detail"]


async def test_R16_only_declared_queries_are_read_to_sixty_four_fields(web, ada) -> None:
    known = "section=billing&action=view"
    more = "".join(f"&a{number}=1" for number in range(63))
    for query, detail in ((f"{known}{more}", "64 fields"), (f"{known}&role={'%' * 4097}", "4096 percent")):
        answer = await web.ask("GET", f"/v1/policy/explain?{query}", token=ada)
        assert (answer.status, answer.body["code"]) == (400, "bad_request")
        assert detail in answer.body["detail"]


async def test_generations_so_far_newest_first(web, ada, store, clock):
    """New, back by an edit, again new; other sidecars, repeated notices and starts with an older one add nothing."""
    history = PolicyHistory(store)
    empty = await web.ask("GET", "/v1/policy/generations", token=ada)
    assert (empty.status, empty.body) == (200, {"generations": [], "current": web.town.generation.id})
    await history.record("one", [], sidecar="host-a", start=True)
    await history.record("two", [], sidecar="host-a")
    await history.record("two", [], sidecar="host-b")
    await history.record("one", [], sidecar="host-c", start=True)  # not the newest
    await history.record("one", [], sidecar="host-a")
    await history.record("three", [], sidecar="host-b", forced=True)
    answer = await web.ask("GET", "/v1/policy/generations", token=ada)
    shown = answer.body["generations"]
    assert [(one["generation"], one["noticed_by"], one["direction"]) for one in shown] == [
        ("three", "edit", "forward"),
        ("one", "edit", "back"),
        ("two", "edit", "forward"),
        ("one", "start", "forward"),
    ]
    assert answer.body["current"] == "three"
    assert [one["last_at"] for one in shown] == [None, *(one["first_at"] for one in shown[:-1])]
    assert b"host" not in answer.raw  # R27


async def test_generations_are_for_those_who_may_view(web, town, ada):
    await town.join(web.admin, "bob@example.com", "marketer")
    denied = await web.ask("GET", "/v1/policy/generations", token=await web.token("bob@example.com"))
    assert denied.status == 403
    assert (await web.ask("GET", "/v1/policy/generations")).status == 401


async def test_generations_are_listed_after_an_update(web, ada, store):
    """A store of an earlier version has generations without times: the list begins with the next record."""
    history = PolicyHistory(store)
    await history.record("one", [], sidecar="host-a")
    await store.command("DEL", "sc:{p00}:policy:turns")
    await history.record("one", [], sidecar="host-a", start=True)
    (shown,) = (await web.ask("GET", "/v1/policy/generations", token=ada)).body["generations"]
    assert (shown["generation"], shown["last_at"], shown["direction"]) == ("one", None, "forward")
