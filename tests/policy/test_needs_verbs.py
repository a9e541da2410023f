"""Needs in the verbs: `can --with`, `explain`, `matrix`, `test`, `diff`, `fmt`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.cli.main import run
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decide import covers, covers_in
from sidecar.policy.generation import content_hash
from sidecar.policy.needs.facts import Facts
from sidecar.sources.policy_files import read_policy_files
from tests.policy.needs_policies import CHANGE_PLAN, CHANGE_PLAN_ROW, CONDITIONS, with_needs

Write = Callable[[Mapping[str, bytes]], tuple[Path, Path]]
Verb = Callable[..., tuple[int, str]]
CELL = ("accountant", "billing", "change-plan")


@pytest.fixture
def verb(
    seed: Mapping[str, bytes], write_policy: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Verb:
    """Run a verb on the shipped policy with one need."""
    used = "\n".join(CONDITIONS.split("\n")[:4]) + '\n[conditions.office]\nnetworks = ["192.0.2.0/24"]\n'
    folder, _ = write_policy(with_needs(seed, conditions=used))
    monkeypatch.chdir(folder.parent)

    def call(*arguments: str) -> tuple[int, str]:
        status = run(["policy", *arguments])
        out, err = capsys.readouterr()
        return status, out + err

    return call


def test_can_takes_no_condition_as_met_without_with(verb: Verb) -> None:
    status, text = verb("can", *CELL)
    assert status == 1
    assert text.startswith("no: allowed by policy/policy.csv:15, but unmet: second-factor (policy/needs.csv:1)")
    assert text.endswith("; no condition is taken as met: see --with\n")
    assert verb("can", *CELL, "--with", "office") == (0, "yes: allowed by policy/policy.csv:15\n")
    assert verb("can", *CELL, "--with", "second-factor, office")[0] == 0
    assert verb("can", "accountant", "billing", "view") == (0, "yes: allowed by policy/policy.csv:15\n")
    status, text = verb("can", *CELL, "--with", "ofice")
    assert status == 2
    assert '"ofice" is not a condition (did you mean "office"?)' in text
    status, text = verb("can", *CELL, "--json")
    assert (status, json.loads(text)["decision"], json.loads(text)["unmet"]) == (1, False, ["second-factor"])


def test_explain_names_the_line_and_the_act(verb: Verb) -> None:
    status, text = verb("explain", *CELL)
    assert status == 1
    assert "deny (unmet: second-factor)" in text
    assert "policy/needs.csv:1: needs, accountant, billing, change-plan, second-factor | office" in text
    assert "sign in with a second factor" in text
    status, text = verb("explain", *CELL, "--with", "office")
    assert status == 0
    assert "allow (allowed)" in text
    status, text = verb("explain", *CELL, "--json")
    found = json.loads(text)
    assert (found["decision"], found["reason"], found["unmet"], found["sign_in"]) == (
        False,
        "allowed",
        ["second-factor"],
        True,
    )
    assert found["needs"] == [{"rule": "policy/needs.csv:1", "text": CHANGE_PLAN.strip()}]
    assert "needs" not in json.loads(verb("explain", "accountant", "billing", "view", "--json")[1])


def test_matrix_lists_needs_beside_the_decision(verb: Verb) -> None:
    status, text = verb("matrix", "--role", "accountant", "--section", "billing")
    assert status == 0
    lines = [line.split() for line in text.splitlines()]
    assert lines[2] == ["billing", "change-plan", "allow", "1"]
    assert lines[-1] == ["1:", "needs", "second-factor", "|", "office"]
    assert (
        "billing,change-plan,allow if second-factor | office"
        in verb("matrix", "--role", "accountant", "--format", "csv")[1]
    )
    markdown = verb("matrix", "--role", "accountant", "--format", "markdown")[1]
    assert "| `billing` | `change-plan` | allow if `second-factor` or `office` |" in markdown
    cells = json.loads(verb("matrix", "--role", "accountant", "--section", "billing", "--json")[1])["cells"]
    assert [cell.get("needs") for cell in cells] == [None, [["second-factor", "office"]]]


def test_test_counts_the_rows_that_a_need_decides(verb: Verb) -> None:
    status, text = verb("test")
    assert status == 0, text
    assert "83 expectations" in text
    assert CHANGE_PLAN.strip() in text
    path = Path("policy/expectations.csv")
    path.write_bytes(path.read_bytes().removesuffix(CHANGE_PLAN_ROW.encode()))
    status, text = verb("test")
    assert status == 1
    assert "untested-need" in text
    assert "1 needs without a test" in text
    found = json.loads(verb("test", "--json")[1])
    assert [(one["need"], one["fired"], one["decisive"]) for one in found["needs"]] == [("policy/needs.csv:1", 1, 0)]


def test_diff_prints_a_witness_and_counts_wider_as_opening(verb: Verb, seed: Mapping[str, bytes]) -> None:
    before = Path("before")
    before.mkdir()
    for path in (*Path("policy").iterdir(), Path("model.conf")):
        (before / path.name).write_bytes(path.read_bytes())
    assert verb("diff", "before") == (0, "no cell and no route differs\n")
    Path("policy/needs.csv").write_text("needs, accountant, billing, change-plan, second-factor\n")
    assert verb("diff", "before")[0] == 0
    status, text = verb("diff", "./policy", "before")
    assert status == 1
    assert "allow, needs wider" in text
    assert "accountant/billing/change-plan: password, from 192.0.2.1: denied, now allowed" in text
    status, text = verb("diff", "./policy", "before", "--json", "--accept", "accountant/billing/*")
    assert status == 0
    (change,) = json.loads(text.splitlines()[0])
    assert (change["requirement"], change["witnesses"][0]["client_ip"]) == ("wider", "192.0.2.1")


def test_fmt_aligns_needs_and_rows_with_missing_conditions(verb: Verb) -> None:
    Path("policy/needs.csv").write_text("needs,accountant,billing,change-plan,second-factor|office\n")
    status, text = verb("fmt")
    assert (status, text) == (0, "policy/expectations.csv\npolicy/needs.csv\n")
    assert Path("policy/needs.csv").read_text() == "needs, accountant, billing, change-plan, second-factor|office\n"
    last = Path("policy/expectations.csv").read_text().splitlines()[-1]
    assert last == ("deny,  accountant,            billing,            change-plan,     without second-factor | office")
    assert verb("fmt") == (0, "")
    assert verb("check")[0] == 0


def replayed(verb: Verb, *changes: dict[str, object]) -> str:
    """Return the replay of an allow of the cell per change of its record."""
    record = dict(zip(("role", "section", "action"), CELL, strict=True)) | {"reason": "allowed", "decision": True}
    Path("log").write_text("".join(f"{json.dumps({**record, **change})}\n" for change in changes))
    return verb("replay", "log")[1]


def test_replay_cannot_tell_without_logged_facts(verb: Verb) -> None:
    assert replayed(verb, {}, {"action": "view"}) == (
        "2 decisions replayed, 0 would differ; 1 cannot tell (needs); 0 others\n"
    )
    status, text = verb("replay", "log", "--json")
    assert status == 0
    assert "cannot tell: 1 requests" in text
    for broken in (1, "x", {"methods": "totp"}, {"methods": ["totp"]}, []):
        assert "1 cannot tell" in replayed(verb, {"classes": broken})


def facts(*methods: str, within: int | None = None) -> dict[str, object]:
    return {"classes": {"methods": methods, "signed_in_within": within, "network": 1, "hours": 0}}


def denied(reason: str = "step_up_required") -> dict[str, object]:
    return {"decision": False, "reason": reason, "unmet": ["second-factor"]}


def test_replay_judges_by_the_logged_facts(verb: Verb) -> None:
    assert "1 decisions replayed, 0 would differ; 0 others" in replayed(verb, facts("password", "totp"))
    assert "1 cannot tell" in replayed(verb, facts("password")), "the office may have met it"
    assert "1 would differ" in replayed(verb, facts("password", "totp") | denied())
    Path("policy/needs.csv").write_text("needs, accountant, billing, change-plan, second-factor\n")
    assert "1 would differ; 0 others" in replayed(verb, facts("password"))
    assert "0 would differ; 0 others" in replayed(verb, facts("password") | denied())
    Path("policy/conditions.toml").write_text(CONDITIONS)
    Path("policy/needs.csv").write_text("needs, accountant, billing, change-plan, recent-sign-in\n")
    assert "0 would differ; 0 others" in replayed(verb, facts("password", within=300))
    for within in (None, 1800):
        assert "1 cannot tell" in replayed(verb, facts("password", within=within))
    Path("policy/needs.csv").write_text("# none\n")
    assert "2 would differ; 0 others" in replayed(verb, denied(), denied("condition_unmet"))


def test_replay_knows_the_decision_of_the_same_generation(verb: Verb) -> None:
    same = {"generation": json.loads(verb("matrix", "--json")[1])["generation"]}
    assert "0 would differ; 0 others" in replayed(verb, same, same | denied(), same | denied("condition_unmet"))
    assert "1 cannot tell" in replayed(verb, denied(), same)
    new_rule = replayed(verb, {"decision": False, "reason": "no_rule"})
    assert "1 would differ; 0 others" in new_rule, "a rule opens the cell, with or without needs"


def test_replay_of_a_denial_for_a_need(verb: Verb) -> None:
    """Unclear while the cell has needs, known for the same files, and a difference once it has none."""
    role, section, action = CELL
    denied = {"reason": "step_up_required", "decision": False, "role": role, "section": section, "action": action}
    other = {**denied, "reason": "condition_unmet", "generation": "of other files"}
    Path("log").write_text("".join(f"{json.dumps(one)}\n" for one in (denied, other)))
    assert verb("replay", "log") == (0, "2 decisions replayed, 0 would differ; 2 cannot tell (needs); 0 others\n")
    same = read_policy_files(Path("policy"), Path("model.conf")).files
    Path("log").write_text(json.dumps({**denied, "generation": content_hash(same)}))
    assert verb("replay", "log") == (0, "1 decisions replayed, 0 would differ; 0 others\n")
    Path("log").write_text(json.dumps({**other, "action": "view"}))
    status, text = verb("replay", "log")
    assert status == 1
    assert "1 decisions replayed, 1 would differ; 0 others" in text


def test_R11_a_role_with_fewer_needs_is_more(seed: Mapping[str, bytes]) -> None:
    rules = seed["policy.csv"] + b"g, marketer, developer\n"
    lines = "needs, developer, media-library, manage, passkey\nneeds, marketer, media-library, view, office\n"
    files = {**with_needs(seed, lines, ""), "policy.csv": rules}
    generation = compile_policy(files, proof=ProofScope.NONE).draft
    assert generation is not None
    assert covers(generation, "developer", "developer")
    assert covers(generation, "developer", "marketer")
    assert not covers(generation, "marketer", "developer"), "the developer's view needs no office"
    assert not covers(generation, "account-administrator", "gone")
    for role, other in (("developer", "marketer"), ("account-administrator", "marketer")):
        nothing = generation.needs.class_of(None)
        assert covers_in(generation, role, other, nothing) is (role == "account-administrator")
    assert not covers_in(generation, "marketer", "developer", generation.needs.class_of(Facts()))
