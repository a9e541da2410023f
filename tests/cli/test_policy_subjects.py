"""`sidecar policy can` and `explain` of a user: the live status precedes every rule."""

import json
from typing import Any

import pytest

CELL = ("account-settings", "view")


def test_a_person_who_may(at_store: Any) -> None:
    done = at_store("policy", "explain", "ada@acme.example", *CELL, "--json")
    told = json.loads(done.out)
    assert (done.status, told["decision"], told["reason"]) == (0, True, "allowed")
    assert set(told["user"]) == {"id", "email", "name", "status"}
    assert (told["user"]["email"], told["user"]["name"], told["user"]["status"]) == (
        "ada@acme.example",
        "Ada",
        "active",
    )


@pytest.mark.parametrize(("status", "reason"), [("suspended", "suspended"), ("invited", "unknown_user")])
def test_who_may_not_act_is_denied_for_that(at_store: Any, status: str, reason: str) -> None:
    who = "ada@acme.example"
    if status == "suspended":
        assert at_store("account", "suspend", "Acme").status == 0
    else:
        who = "bob@acme.example"
        assert at_store("user", "invite", who, "--role", "accountant").status == 0
    can = at_store("policy", "can", who, *CELL, "--json")
    explained = at_store("policy", "explain", who, *CELL, "--json")
    told = json.loads(explained.out)
    assert (can.status, explained.status) == (1, 1)
    assert json.loads(can.out)["reason"] == told["reason"] == reason
    assert (told["decision"], told["edits"], told["user"]["status"]) == (False, [], status)
    text = at_store("policy", "explain", who, *CELL)
    assert text.status == 1
    pairs = dict(line.split("  ", 1) for line in text.out.splitlines()[1:])
    assert pairs["decision"].strip() == f"deny ({reason})"
    assert pairs["edits"].strip() == f"none: the user is {status}"


def test_usage_names_users_who_are_in_no_log(at_store: Any, tmp_path: Any) -> None:
    told = json.loads(at_store("policy", "explain", "ada@acme.example", *CELL, "--json").out)
    ada = told["user"]["id"]
    decision = {"decision": True, "reason": "allowed", "user": "usr_x", "account": "a", "role": "marketer"}
    (tmp_path / "log").write_text(json.dumps({**decision, "section": "media-library", "action": "view"}) + "\n")
    without = json.loads(at_store("policy", "usage", "log", "--json").out)["people"]
    assert [person["user"] for person in without] == ["usr_x"]
    people = {
        one["user"]: one
        for one in json.loads(at_store("policy", "usage", "log", "--account", "Acme", "--json").out)["people"]
    }
    assert set(people) == {"usr_x", ada}
    assert (people[ada]["role"], people[ada]["last"], people[ada]["used"]) == ("account-administrator", "", 0)
    assert "users/manage" in people[ada]["unused"]
    assert at_store("policy", "usage", "log", "--account", "Nowhere").status == 1
