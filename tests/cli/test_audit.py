"""``sidecar audit``: its output, and its report of an invalid audit."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

EXPORTED = Path(".sidecar/audit.jsonl")


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_R32_export_prints_every_row_chained_the_oldest_first(at_store: Any) -> None:
    at_store("user", "invite", "bob@acme.example", "--role", "developer")
    at_store("keys", "rotate")
    done = at_store("audit", "export")
    assert (done.status, done.err) == (0, "")
    found = rows(done.out)
    assert [row["action"] for row in found if row["log"] == ""] == ["keys.rotated"]
    own = [row for row in found if row["log"]]
    assert [row["seq"] for row in own] == list(range(1, len(own) + 1))
    assert [row["action"] for row in own] == ["account.created", "user.created", "user.invited"]
    assert all(later["previous"] == earlier["hash"] for earlier, later in pairwise(own))
    assert own[0]["address"] == "cli"


def test_export_of_one_account_or_of_the_store_alone(at_store: Any) -> None:
    at_store("keys", "rotate")
    assert {bool(row["log"]) for row in rows(at_store("audit", "export", "--account", "Acme").out)} == {True}
    assert [row["action"] for row in rows(at_store("audit", "export", "--system").out)] == ["keys.rotated"]
    both = at_store("audit", "export", "--system", "--account", "Acme")
    assert (both.status, both.out) == (2, "")
    nobody = at_store("audit", "export", "--account", "Nobody")
    assert (nobody.status, nobody.out) == (1, "")


def test_R24_nothing_that_is_exported_is_a_secret(at_store: Any, typed: Any) -> None:
    invited = at_store("user", "invite", "bob@acme.example", "--role", "developer", "--json")
    secret = json.loads(invited.out)["invitation"]["url"].partition("#")[2]
    key = json.loads(at_store("pep", "create", "api", "--json").out)["key"]
    out = at_store("audit", "export").out
    assert "pep.created" in out
    for word in (secret, secret[-32:], key, key[-32:], "five green bottles", "argon2", "PRIVATE"):
        assert word not in out


def test_R32_verify_says_what_holds(at_store: Any) -> None:
    done = at_store("audit", "verify")
    assert (done.status, done.err) == (0, "")
    assert done.out == "0 findings: 2 logs, 0 rows and 0 checkpoints in 0 files, 2 rows in the store\n"
    told = json.loads(at_store("audit", "verify", "--json").out)
    assert told == {"holds": True, "logs": 2, "rows": 0, "repeated": 0, "checkpoints": 0, "kept": 2, "findings": []}


def test_R32_verify_says_what_does_not_hold_and_ends_with_1(at_store: Any) -> None:
    lines = at_store("audit", "export").out.splitlines(keepends=True)
    EXPORTED.write_text(lines[0] + lines[1].replace("Ada", "Eve"))
    done = at_store("audit", "verify")
    assert done.status == 1
    assert done.out.splitlines()[0].startswith(".sidecar/audit.jsonl:2: acc_")
    assert done.out.splitlines()[0].endswith(": row 2: was changed: its hash differs")
    told = json.loads(at_store("audit", "verify", "--json", str(EXPORTED)).out)
    assert (told["holds"], told["findings"][0]["seq"]) == (False, 2)


def test_R32_verify_of_one_account_and_of_mixed_output(at_store: Any) -> None:
    at_store("keys", "rotate")
    EXPORTED.write_text("ready\n" + at_store("audit", "export", "--account", "Acme").out)
    words = ("audit", "verify", str(EXPORTED))
    assert "is not JSON" in at_store(*words, "--account", "Acme").out
    assert at_store(*words, "--stdout", "--account", "Acme").status == 0
    EXPORTED.write_text(at_store("audit", "export").out)
    done = at_store(*words, "--account", "Acme")
    assert (done.status, done.out.splitlines()[0]) == (
        1,
        f"{EXPORTED}:1: the store: the rows are of another account",
    )


@pytest.mark.parametrize("words", [["verify", "nowhere.jsonl"], ["verify", "."], ["export", "x"]])
def test_wrong_usage_ends_with_2(at_store: Any, words: list[str]) -> None:
    done = at_store("audit", *words)
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
