"""``sidecar account``: on an external Redis and on the embedded store."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

GOOD = "five green bottles on a wall"
CREATE = ("account", "create", "Beta", "--admin-email", "bo@beta.example", "--password-stdin")

ROOT = Path(__file__).resolve().parents[2]


def test_create_makes_the_account_and_its_administrator(at_store: Any, typed: Any) -> None:
    typed(GOOD)
    done = at_store(*CREATE, "--seats", "7", "--json")
    assert (done.status, done.err) == (0, "")
    made = json.loads(done.out)
    assert re.fullmatch(r"acc_[a-z2-7]{12}", made["id"])
    assert (made["name"], made["status"], made["seats"]["cap"], made["seats"]["used"]) == ("Beta", "active", 7, 1)
    admin = made["admin"]
    assert admin["account"] == made["id"]
    assert (admin["email"], admin["role"], admin["status"]) == ("bo@beta.example", "account-administrator", "active")


def test_list_and_show(at_store: Any) -> None:
    lines = at_store("account", "list").out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATUS", "SEATS"]
    identity, name, status, seats = lines[1].split()
    assert (name, status, seats) == ("Acme", "active", "1/5")
    for named in ("Acme", "ACME", identity):
        shown = at_store("account", "show", named)
        assert shown.status == 0
        assert identity in shown.out
        assert "1 of 5 used, 4 free" in shown.out


def test_set_seats_also_below_what_is_used(at_store: Any) -> None:
    at_store("user", "invite", "bob@acme.example", "--role", "marketer")
    done = at_store("account", "set-seats", "Acme", "1", "--json")
    assert done.status == 0
    assert json.loads(done.out)["seats"] | {"invitations": []} == {
        "cap": 1,
        "used": 2,
        "members": 1,
        "invited": 1,
        "available": 0,
        "contact": None,
        "invitations": [],
    }
    assert at_store("account", "set-seats", "Acme", "6").out == "2 of 6 seats used\n"


@pytest.mark.parametrize(
    ("argv", "password", "status", "part"),
    [
        (("account", "create", "acme", *CREATE[3:]), GOOD, 1, "already: acc_"),
        (("account", "create", "", *CREATE[3:]), GOOD, 2, "name"),
        (("account", "create", "a\nb", *CREATE[3:]), GOOD, 2, "name"),
        (("account", "create", "acc_aaaaaaaaaaaa", *CREATE[3:]), GOOD, 2, "name"),
        (
            ("account", "create", "X", "--admin-email", "nobody", "--password-stdin"),
            GOOD,
            2,
            "'nobody' is not an e-mail",
        ),
        (CREATE, "short", 2, "at least 12 characters"),
        (CREATE, "", 2, "no password"),
        (CREATE, "\n", 2, "no password"),
        (CREATE, b"\xff\xfe", 2, "not UTF-8"),
        (CREATE, "x" * 70_000, 2, "too long"),
        (CREATE[:-1], GOOD, 2, "--password-stdin"),
        (("account", "create", "Beta", "--password-stdin"), GOOD, 2, "--admin-email"),
        ((*CREATE, "--seats", "0"), GOOD, 2, "--seats"),
        (("account", "show", "Nobody"), "", 1, "no account 'Nobody'"),
        (("account", "set-seats", "Nobody", "3"), "", 1, "no account 'Nobody'"),
        (("account", "set-seats", "Acme", "many"), "", 2, "many"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value)[:20],
)
def test_no_and_wrong(at_store: Any, typed: Any, argv: Any, password: Any, status: int, part: str) -> None:
    typed(password)
    done = at_store(*argv)
    assert (done.status, done.out) == (status, "")
    assert part in done.err
    assert done.err.count("\n") == 1
    assert GOOD not in done.err


def test_R24_a_password_is_never_an_argument(cli: Any) -> None:
    done = cli("account", "create", "X", "--admin-email", "a@x.example", "--password", GOOD)
    assert done.status == 2
    assert GOOD not in cli("account", "create", "--help").out


def test_a_terminal_is_asked_twice_and_unseen(cli: Any, real_redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def hidden(prompt: str, **_: object) -> str:
        asked.append(prompt)
        return GOOD

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.hidden_prompt_func", hidden)
    done = cli(*CREATE[:-1], "--redis-url", real_redis_url)
    assert done.status == 0, done.err
    assert len(asked) == 2


def test_without_a_store_that_answers_status_3(cli: Any) -> None:
    done = cli("account", "list", "--redis-url", "redis://127.0.0.1:1/0")
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith("sidecar: the store does not answer")
    assert done.err.count("\n") == 1


def test_embedded_store_is_started_for_the_work_and_keeps_it(cli: Any, typed: Any, redis_server_binary: str) -> None:
    typed(GOOD)
    assert cli(*CREATE, "--new-store").status == 0
    rows = json.loads(cli("account", "list", "--json").out)
    assert [row["name"] for row in rows] == ["Beta"]


def test_R21_keys_that_others_can_read_stop_it(cli: Any, real_redis_url: str, tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o755)
    done = cli("account", "list", "--redis-url", real_redis_url, "--keys-dir", str(keys))
    assert done.status == 2
    assert str(keys) in done.err


def test_R19_another_pepper_is_refused(at_store: Any, tmp_path: Any) -> None:
    done = at_store("account", "list", "--keys-dir", str(tmp_path / "others"))
    assert done.status == 2
    assert "pepper" in done.err


def test_labels_are_set_shown_and_removed(at_store: Any) -> None:
    assert (
        at_store("account", "label", "Acme", "plan=pro", "region=eu").out == "Acme has the labels plan=pro region=eu\n"
    )
    assert "plan=pro region=eu" in at_store("account", "show", "Acme").out
    done = at_store("account", "label", "Acme", "plan=free", "region=", "--json")
    assert (done.status, json.loads(done.out)["labels"]) == (0, {"plan": "free"})
    assert json.loads(at_store("account", "list", "--json").out)[0]["labels"] == {"plan": "free"}
    assert at_store("account", "label", "Acme", "plan=").out == "Acme has no label\n"
    assert at_store("account", "label", "Acme", "plan=").status == 0


@pytest.mark.parametrize(
    ("labels", "status", "part"),
    [
        (["plan"], 2, "invalid label 'plan'"),
        (["Plan=pro"], 2, "write NAME=VALUE"),
        (["plan=a b"], 2, "write NAME=VALUE"),
        (["plan=pro", "plan=free"], 2, "occurs twice"),
        ([], 2, "NAME=VALUE"),
        ([f"l{number}=x" for number in range(17)], 1, "at most 16 labels"),
    ],
)
def test_refused_labels_change_nothing(at_store: Any, labels: Any, status: int, part: str) -> None:
    done = at_store("account", "label", "Acme", *labels)
    assert (done.status, done.out) == (status, "")
    assert part in done.err
    assert "none" in next(line for line in at_store("account", "show", "Acme").out.splitlines() if "labels" in line)


def test_R26_a_label_locks_no_administrator_out(at_store: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(ROOT / "policy", folder)
    (folder / "conditions.toml").write_text('[conditions.paid]\naccount = { plan = ["pro", "free"] }\n')
    (folder / "needs.csv").write_text("needs, account-administrator, users, manage, paid\n")
    with (folder / "expectations.csv").open("a") as rows:
        rows.write("deny, account-administrator, users, manage, without paid\n")
    monkeypatch.setenv("SIDECAR_POLICY_DIR", str(folder))
    monkeypatch.setenv("SIDECAR_MODEL", str(ROOT / "model.conf"))
    assert at_store("account", "label", "Acme", "region=eu").status == 0, "it was locked out before"
    assert at_store("account", "label", "Acme", "plan=pro").status == 0
    assert at_store("account", "label", "Acme", "plan=free").status == 0
    for change in ("plan=", "plan=trial"):
        done = at_store("account", "label", "Acme", change)
        assert (done.status, done.out) == (1, "")
        assert "needs.csv:1" in done.err
    assert "plan=free" in at_store("account", "show", "Acme").out
