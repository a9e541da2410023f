"""``GET /v1/audit``: every change of the account with actor, target, before, after and source address; no secret."""

import json
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from sidecar.domain.users import Actor
from sidecar.store import audit as audit_store
from sidecar.store import keys
from sidecar.store.audit_chain import verify
from sidecar.store.audit_export import Exporter, exported
from sidecar.store.policy_history import PolicyHistory
from tests.fixtures import OTHER_PASSWORD, PASSWORD

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def web(open_web):
    return await open_web()


async def entries(web, token, query=""):
    answer = await web.ask("GET", f"/v1/audit{query}", token=token)
    assert answer.status == 200, answer.body
    return answer.body["entries"]


async def test_R32_every_change_has_actor_action_target_and_source(web, town):
    ada = await town.found()
    token = await web.token("ada@example.com")
    headers = {"X-Request-ID": "req-42"}
    invited = await web.ask(
        "POST", "/v1/users", {"email": "bob@example.com", "role": "developer"}, token=token, headers=headers
    )
    bob = invited.body["user"]["id"]
    secret = invited.body["invitation"]["url"].partition("#")[2]
    accepted = await web.ask("POST", "/v1/invitations/accept", {"token": secret, "password": OTHER_PASSWORD})
    assert accepted.status == 201, accepted.body
    await web.ask("PATCH", f"/v1/users/{bob}", {"role": "marketer"}, token=token, headers=headers)
    await web.ask("DELETE", f"/v1/users/{bob}", token=token, headers=headers)

    rows = {row["action"]: row for row in await entries(web, token)}
    changed = rows["user.changed"]
    assert (changed["actor"], changed["target"], changed["address"]) == (ada.id, bob, "127.0.0.1")
    assert (changed["before"]["role"], changed["after"]["role"]) == ("developer", "marketer")
    assert changed["request_id"] == "req-42"
    assert datetime.fromisoformat(changed["at"]).tzinfo is not None
    assert {"account.created", "session.opened", "invitation.accepted", "user.removed"} <= set(rows)
    assert (rows["account.created"]["actor"], rows["account.created"]["address"]) == (None, "cli")
    assert (rows["user.removed"]["after"], rows["user.removed"]["before"]["email"]) == (None, "bob@example.com")


async def test_R32_rows_are_newest_first_without_gaps_and_paged(web, town):
    await town.found()
    for _ in range(7):
        token = await web.token("ada@example.com")
    everything = await entries(web, token)
    numbers = [row["seq"] for row in everything]
    assert numbers == list(range(len(numbers), 0, -1))

    seen, query = [], "?limit=4"
    while True:
        answer = await web.ask("GET", f"/v1/audit{query}", token=token)
        seen += answer.body["entries"]
        assert len(answer.body["entries"]) <= 4
        if answer.body["next"] is None:
            break
        query = f"?limit=4&after={answer.body['next']}"
    assert seen == everything
    assert await entries(web, token, "?after=1") == []


async def test_R24_no_row_holds_a_secret(web, town):
    ada = await town.found()
    grant = await town.grant("ada@example.com")
    sent = await town.invite(ada, "bob@example.com")
    secret = sent.url.partition("#")[2]
    await web.ask("POST", "/v1/invitations/accept", {"token": secret, "password": OTHER_PASSWORD})
    changed = await web.ask(
        "POST",
        "/v1/me/password",
        {"old_password": PASSWORD, "new_password": "copper-lantern-willow-63"},
        token=grant.access_token,
    )
    assert changed.status == 200
    body = json.dumps(await entries(web, changed.body["access_token"], "?limit=500"))
    for word in (
        PASSWORD, OTHER_PASSWORD, "copper-lantern", secret, grant.access_token, grant.refresh_token, "argon2",
        changed.body["refresh_token"],
    ):  # fmt: skip
        assert word not in body
    assert "user.password" in body


async def test_the_audit_needs_a_permission_and_shows_one_account(web, town):
    ada = await town.found()
    await town.join(ada, "bob@example.com", "developer")
    await town.found("Other", "eve@example.net")
    denied = await web.ask("GET", "/v1/audit", token=await web.token("bob@example.com"))
    assert (denied.status, denied.body["reason"]) == (403, "no_rule")
    assert (await web.ask("GET", "/v1/audit")).status == 401
    others = json.dumps(await entries(web, await web.token("eve@example.net")))
    assert ada.id not in others
    assert "ada@example.com" not in others


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=501", "?limit=x", "?limit=", "?after=0", "?after=-1", "?after=x", "?after=1.5"]
)
async def test_questions_that_make_no_sense_are_400(web, town, query):
    await town.found()
    answer = await web.ask("GET", f"/v1/audit{query}", token=await web.token("ada@example.com"))
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert "limit from 1 to 500" in answer.body["detail"]


@pytest.mark.parametrize(
    "query",
    ["?from=yesterday", "?to=2026-02-30T00:00:00Z", "?from=2026-02-03", "?from=2026-02-03T00:00:00", "?actor=",
     "?from=1764000000", "?to=2026-02-03T00:00:00Z%0A", "?action=" + "x" * 129, "?acto=x", "?since=x", "?limit=5&x"],
)  # fmt: skip
async def test_filters_that_make_no_sense_are_400(web, town, query):
    await town.found()
    answer = await web.ask("GET", f"/v1/audit{query}", token=await web.token("ada@example.com"))
    assert (answer.status, answer.body["code"]) == (400, "bad_request"), answer.body


async def test_removed_and_renamed_users_keep_their_names(web, town):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    token = await web.token("ada@example.com")
    await web.ask("PATCH", f"/v1/users/{bob.id}", {"name": "Bob"}, token=token)
    await web.ask("PATCH", f"/v1/users/{bob.id}", {"role": "marketer"}, token=token)
    await web.ask("PATCH", f"/v1/users/{bob.id}", {"name": "Robert"}, token=token)
    await web.ask("DELETE", f"/v1/users/{bob.id}", token=token)
    pending = await town.invite(ada, "carl@example.com")
    await web.ask("DELETE", f"/v1/users/{pending.member.record.id}", token=token)
    await town.people.users.change(Actor.operator(), ada.id, name="Countess")

    rows = await entries(web, token)
    assert {row["actor_name"] for row in rows if row["actor"] == ada.id} == {"Ada"}
    for row in rows:
        assert (row["actor"] is None) == (row["actor_email"] is None)
        assert (row["target"] or "").startswith("usr_") == (row["target_email"] is not None), row
    shown = [(row["action"], row["target_name"], row["target_email"]) for row in rows if row["target"] == bob.id]
    assert shown == [
        ("user.removed", "Robert", "bob@example.com"),
        ("user.changed", "Robert", "bob@example.com"),
        ("user.changed", "Bob", "bob@example.com"),
        ("user.changed", "Bob", "bob@example.com"),
        ("invitation.accepted", "", "bob@example.com"),
        ("user.invited", "", "bob@example.com"),
    ]
    revoked = next(row for row in rows if row["action"] == "invitation.revoked")
    assert revoked["target_email"] == "carl@example.com"


async def test_R32_names_are_part_of_the_verified_chain(web, town, store):
    ada = await town.found()
    await town.join(ada, "bob@example.com")
    lines = [line async for line in exported(store, ada.account)]
    assert verify(lines, signature_holds=lambda *_: True).faults == []
    changed = [line.replace(b'"actor_name":"Ada"', b'"actor_name":"Eve"') for line in lines]
    assert changed != lines
    assert verify(changed, signature_holds=lambda *_: True).faults


async def test_rows_of_earlier_versions_have_no_names(web, town, store):
    ada = await town.found()
    token = await web.token("ada@example.com")
    log = f"{keys.account(ada.account, store.partitions)}:log"
    await store.command("DEL", log)
    fields = {
        "action": "user.changed",
        "actor": ada.id,
        "target": ada.id,
        "before": "",
        "after": "",
        "addr": "",
        "req": "",
    }
    await store.command("XADD", log, "1-0", *(word for pair in fields.items() for word in pair), "t", "1764000000000")
    (row,) = await entries(web, token)
    assert (row["actor"], row["actor_name"], row["target_email"]) == (ada.id, None, None)
    (line,) = [line async for line in exported(store, ada.account)]
    assert b"actor_name" not in line  # the hash of an earlier version stays valid
    assert verify([line], signature_holds=lambda *_: True).faults == []


async def paged(web, token, query, limit):
    seen, after, requests = [], "", 0
    while True:
        answer = await web.ask("GET", f"/v1/audit?{query}&limit={limit}{after}", token=token)
        assert answer.status == 200, answer.body
        assert len(answer.body["entries"]) <= limit
        seen += answer.body["entries"]
        requests += 1
        if answer.body["next"] is None:
            return seen, requests
        after = f"&after={answer.body['next']}"


async def history(web, town):
    """Make rows of several actors, actions and times; return administrator, member, token and all rows."""
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    token = await web.token("ada@example.com")
    for number in range(6):
        await web.ask("PATCH", f"/v1/users/{bob.id}", {"name": f"Bob {number}"}, token=token)
        await town.people.users.change(Actor.operator(), bob.id, name=f"By the operator {number}")
        await town.grant("bob@example.com")
    return ada, bob, token, await entries(web, token, "?limit=500")


@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_filters_select_and_page_exactly(web, town, limit, monkeypatch):
    ada, bob, token, rows = await history(web, town)
    monkeypatch.setattr(audit_store, "SCAN_BATCH", 2)
    monkeypatch.setattr(audit_store, "MAX_SCAN", 4)
    middle = rows[len(rows) // 2]["at"]
    plus = (datetime.fromisoformat(middle) + timedelta(hours=2)).isoformat()[:-6] + "+02:00"
    filters = {
        f"actor={ada.id}": lambda row: row["actor"] == ada.id,
        "actor=operator": lambda row: row["actor"] is None,
        f"target={bob.id}": lambda row: row["target"] == bob.id,
        "action=user.changed": lambda row: row["action"] == "user.changed",
        f"action=user.changed&actor=operator&target={bob.id}": lambda row: (
            row["action"] == "user.changed" and row["actor"] is None
        ),
        f"from={quote(middle)}": lambda row: row["at"] >= middle,
        f"to={quote(plus)}": lambda row: row["at"] < middle,
        f"from={quote(middle)}&to={quote(middle)}": lambda row: False,
        "action=no.such": lambda row: False,
        f"actor={bob.id}&action=session.opened": lambda row: (
            row["actor"] == bob.id and row["action"] == "session.opened"
        ),
    }
    for query, holds in filters.items():
        seen, requests = await paged(web, token, query, limit)
        assert seen == [row for row in rows if holds(row)], query
        assert requests <= len(rows) // 4 + 1 + len(seen) // limit + 1


async def test_a_filtered_page_reads_a_bounded_number_of_rows(web, town, store, monkeypatch):
    _, _, token, rows = await history(web, town)
    monkeypatch.setattr(audit_store, "SCAN_BATCH", 3)
    monkeypatch.setattr(audit_store, "MAX_SCAN", 6)
    read = []
    command = type(store).command

    async def counted(self, *words):
        found = await command(self, *words)
        if words[0] == "XREVRANGE":
            read.append(len(found))
        return found

    monkeypatch.setattr(type(store), "command", counted)
    answer = await web.ask("GET", "/v1/audit?action=account.created", token=token)
    assert (sum(read), answer.body["entries"], answer.body["next"]) == (6, [], rows[5]["seq"])


async def test_R32_verified_up_to_is_the_last_signed_row(web, town, store):
    ada = await town.found()
    token = await web.token("ada@example.com")

    async def verified():
        return (await web.ask("GET", "/v1/audit", token=token)).body["verified_up_to"]

    lines, broken = [], []

    class Sink:
        async def write(self, raw):
            if b'"checkpoint"' in raw and broken:
                raise OSError("disk full")
            lines.append(raw)

    exporter = Exporter(store, Sink(), id="one", sign=lambda message: ("k1", message))
    assert await verified() is None
    await exporter.export()
    newest = (await entries(web, token))[0]["seq"]
    assert await verified() == newest
    await town.people.users.change(Actor.operator(), ada.id, name="Countess")
    broken.append(True)
    with pytest.raises(OSError, match="disk full"):
        await exporter.export()
    assert await verified() == newest  # sealed, not signed


MARKETER = [("media", "view")]
MORE = [("media", "manage"), ("media", "view"), ("analytics", "view")]


async def policy_changes(web, token, query=""):
    answer = await web.ask("GET", f"/v1/audit{query}", token=token)
    assert answer.status == 200, answer.body
    return answer.body["policy_changes"]


async def test_policy_changes_name_the_sections_of_each_role(web, town, store):
    """Not those from before the account. Other sidecars, and starts with an older generation, add nothing."""
    policies = PolicyHistory(store)
    await policies.record("g0", ["marketer"], sidecar="host-a", start=True, allowed={"marketer": []})
    await policies.record("g1", ["marketer"], sidecar="host-a", allowed={"marketer": MARKETER})
    await town.found()
    token = await web.token("ada@example.com")
    assert await policy_changes(web, token) == []
    allowed = {"marketer": MORE, "clerk": [("billing", "view")]}
    await policies.record("g2", ["marketer", "clerk"], sidecar="host-a", allowed=allowed)
    await policies.record("g2", ["marketer", "clerk"], sidecar="host-b", allowed=allowed)
    await policies.record("g1", ["marketer"], sidecar="host-c", start=True, allowed={"marketer": MARKETER})
    await policies.record("g1", ["marketer"], sidecar="host-a", allowed={"marketer": MARKETER})
    await policies.record("g3", ["marketer"], sidecar="host-b")  # too many cells to compare
    large, back, forward = await policy_changes(web, token)
    assert (forward["action"], forward["before"], forward["generation"]) == ("policy.activated", "g1", "g2")
    assert forward["roles"] == [
        {"role": "clerk", "opened": ["billing"], "closed": [], "changed": []},
        {"role": "marketer", "opened": ["analytics"], "closed": [], "changed": ["media"]},
    ]
    assert (back["action"], back["generation"]) == ("policy.reverted", "g1")
    assert [one["closed"] for one in back["roles"]] == [["billing"], ["analytics"]]
    assert (large["generation"], large["roles"]) == ("g3", None)
    answer = await web.ask("GET", "/v1/audit", token=token)
    assert b"host" not in answer.raw  # R27
    assert datetime.fromisoformat(forward["at"]).tzinfo is not None


@pytest.mark.parametrize("limit", [1, 2, 500])
async def test_pages_show_each_policy_change_once_in_order(web, town, store, limit):
    policies = PolicyHistory(store)
    ada = await town.found()
    token = await web.token("ada@example.com")
    await policies.record("g0", [], sidecar="a", allowed={})
    for number in range(1, 5):
        await policies.record(f"g{number}", [], sidecar="a", allowed={})
        await town.people.users.change(Actor.operator(), ada.id, name=f"Ada {number}")
    found, after, rows = [], "", 0
    while True:
        body = (await web.ask("GET", f"/v1/audit?limit={limit}{after}", token=token)).body
        found += [one["generation"] for one in body["policy_changes"]]
        rows += len(body["entries"])
        if body["next"] is None:
            break
        after = f"&after={body['next']}"
    assert found == ["g4", "g3", "g2", "g1"]
    assert rows == len(await entries(web, token, "?limit=500"))


async def test_filters_select_policy_changes_too(web, town, store):
    ada, bob, token, rows = await history(web, town)
    policies = PolicyHistory(store)
    await policies.record("g0", [], sidecar="a", allowed={})
    for name in ("g1", "g2", "g1"):
        await policies.record(name, [], sidecar="a", allowed={})
    back, newer, older = await policy_changes(web, token)
    assert [one["generation"] for one in (back, newer, older)] == ["g1", "g2", "g1"]
    for query, expected in {
        "action=policy.activated": [newer, older],
        "action=policy.reverted": [back],
        "action=user.changed": [],
        f"target={bob.id}": [],
        f"actor={ada.id}": [],
        "actor=operator": [back, newer, older],
        f"to={quote(rows[0]['at'])}": [],
        f"from={quote(rows[0]['at'])}": [back, newer, older],
        "from=2100-01-01T00:00:00Z": [],
    }.items():
        assert await policy_changes(web, token, f"?{query}") == expected, query
        if query.startswith("action=policy"):
            answer = await web.ask("GET", f"/v1/audit?{query}", token=token)
            assert (answer.body["entries"], answer.body["next"]) == ([], None)
