"""Differences of needs: directions, witnesses that really flip, and no difference without another class."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.domain.sessions import SECOND_FACTORS
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diff import CellChange, diff
from sidecar.policy.generation import Generation
from sidecar.policy.needs.compare import NeedComparer
from sidecar.policy.needs.direct import DirectNeeds
from sidecar.policy.needs.facts import Facts
from tests.policy.needs_policies import CONDITIONS, with_needs
from tests.policy.test_needs_oracle import draft, facts, policies

CELL = ("accountant", "billing", "change-plan")


def compiled(seed: Mapping[str, bytes], asked: str, conditions: str = CONDITIONS) -> Generation:
    lines = "".join(f"needs, {', '.join(CELL)}, {one.strip()}\n" for one in asked.split(",")) if asked else ""
    found = compile_policy(with_needs(seed, lines or "# none\n", "", conditions), proof=ProofScope.NONE)
    assert found.draft is not None, found.diagnostics
    return found.draft


def only(old: Generation, new: Generation) -> CellChange:
    (change,) = diff(old, new).cells
    assert (change.role, change.section, change.action) == CELL
    return change


@pytest.mark.parametrize(
    ("before", "after", "direction", "opens"),
    [
        ("", "second-factor", "narrower", False),
        ("second-factor", "", "wider", True),
        ("second-factor", "second-factor | office", "wider", True),
        ("second-factor | office", "second-factor", "narrower", False),
        ("second-factor", "office", "both", True),
        ("recent-sign-in", "fresh", "narrower", False),
        ("second-factor", "passkey", "narrower", False),
        ("office", "office, paid-plan", "narrower", False),
    ],
)
def test_a_changed_requirement_is_narrower_wider_or_both(
    seed: Mapping[str, bytes], before: str, after: str, direction: str, opens: bool
) -> None:
    old, new = compiled(seed, before), compiled(seed, after)
    change = only(old, new)
    assert (change.before, change.after, change.requirement) == ("allow", "allow", direction)
    assert change.opens is opens
    assert diff(old, new).opens is opens
    expected = ["narrower", "wider"] if direction == "both" else [direction]
    assert [witness.direction for witness in change.witnesses] == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("second-factor | office", "office | second-factor"),
        ("passkey", "passkey, second-factor"),
        ("passkey | second-factor", "second-factor"),
    ],
)
def test_a_change_that_changes_no_class_is_no_difference(seed: Mapping[str, bytes], before: str, after: str) -> None:
    assert diff(compiled(seed, before), compiled(seed, after)).cells == ()


def test_another_name_or_title_is_no_difference(seed: Mapping[str, bytes]) -> None:
    renamed = CONDITIONS.replace("[conditions.second-factor]", "[conditions.mfa]").replace("Second factor", "MFA")
    assert diff(compiled(seed, "second-factor"), compiled(seed, "mfa", renamed)).cells == ()
    other = CONDITIONS.replace('"192.0.2.0/24"', '"192.0.2.0/25"')
    assert only(compiled(seed, "office"), compiled(seed, "office", other)).requirement == "narrower"


def test_a_witness_is_a_sentence_and_json(seed: Mapping[str, bytes]) -> None:
    old = compiled(seed, "second-factor | recent-sign-in | office | office-hours | paid-plan")
    change = only(old, compiled(seed, ""))
    (witness,) = change.witnesses
    assert witness.text == (
        "password, signed in 20 minutes ago, from 10.0.0.4, Mon 00:00 UTC, no plan: denied, now allowed"
    ).replace("Mon 00:00 UTC", "Mon 01:00 Europe/Berlin")
    assert msgspec.json.decode(msgspec.json.encode(change)) == {
        "role": "accountant",
        "section": "billing",
        "action": "change-plan",
        "from": "allow",
        "to": "allow",
        "requirement": "wider",
        "witnesses": [
            {
                "direction": "wider",
                "methods": ["password"],
                "age_s": 1200,
                "client_ip": "10.0.0.4",
                "time": "2024-01-01T00:00:00Z",
                "labels": {},
                "text": witness.text,
            }
        ],
    }
    assert set(msgspec.to_builtins(CellChange(*CELL, "deny", "allow"))) == {"role", "section", "action", "from", "to"}


def test_a_route_to_a_cell_with_fewer_needs_opens(seed: Mapping[str, bytes]) -> None:
    files = with_needs(seed, "needs, *, billing, change-plan, second-factor\n", "")
    old = compile_policy(files, proof=ProofScope.NONE).draft
    sections = files["sections.toml"].decode()
    moved = sections.replace('methods = ["POST", "PUT", "PATCH", "DELETE"], action = "change-plan"', "X")
    assert moved != sections
    moved = moved.replace("X", 'methods = ["POST", "PUT", "PATCH", "DELETE"], action = "view"')
    new = compile_policy({**files, "sections.toml": moved.encode()}, proof=ProofScope.NONE).draft
    assert old is not None
    assert new is not None
    assert {(one.before, one.after, one.opens) for one in diff(old, new).routes} == {
        ("billing/change-plan", "billing/view", True)
    }
    assert {one.opens for one in diff(new, old).routes} == {False}


def is_possible(one: Facts) -> bool:
    """A factor is a proof of the session: the sign-in is never older."""
    ages = [one.now - proof.at for proof in one.proofs if proof.method in SECOND_FACTORS]
    valid = [age for age in ages if age >= -one.leeway]
    return not valid or (one.signed_in_at is not None and -one.leeway <= one.now - one.signed_in_at <= min(valid))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=policies(), after=policies(), questions=st.lists(facts(), min_size=5, max_size=10))
def test_each_witness_flips_and_no_flip_is_missed(
    seed: Mapping[str, bytes], before: tuple[str, str], after: tuple[str, str], questions: list[Facts]
) -> None:
    old, new = draft(seed, *before), draft(seed, *after)
    direct = [DirectNeeds(side.files) for side in (old, new)]
    comparer = NeedComparer(old.needs, new.needs)
    changes = {(c.role, c.section, c.action): c for c in diff(old, new).cells}
    for role in old.roles:
        lines = [one.lines_for_role(role) for one in direct]
        for section, action in old.allowed[role]:
            of_cell = [one.lines_for_cell(mine, section, action) for one, mine in zip(direct, lines, strict=True)]
            cell = (role, section, action)
            found = comparer.compare(cell, cell)
            assert (found is not None) is (cell in changes)
            flips = set()
            for one in filter(is_possible, questions):
                was, now = (side.meets(mine, one) for side, mine in zip(direct, of_cell, strict=True))
                flips |= {"wider" if now else "narrower"} if was is not now else set()
            if found is None:
                assert not flips
                continue
            assert found.direction == "both" or flips <= {found.direction}
            for witness, stands in zip(found.witnesses, found.facts, strict=True):
                was, now = (side.meets(mine, stands) for side, mine in zip(direct, of_cell, strict=True))
                assert (was, now) == ((False, True) if witness.direction == "wider" else (True, False))
                for side, expected in ((old, was), (new, now)):
                    requirement = side.needs.of(*cell)
                    assert (requirement is None or requirement.meets(side.needs.class_of(stands))) is expected
