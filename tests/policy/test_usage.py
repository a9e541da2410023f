"""Counts and proposals of `policy usage`, on random policies and random logs."""

import json
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.rules import Effect
from sidecar.policy.usage.counts import LogLine, UsageCounts, parse
from sidecar.policy.usage.proposal import propose
from sidecar.policy.usage.report import report

ROLES = ("account-administrator", "accountant", "developer", "marketer", "member")
OTHERS = ("accountant", "developer", "marketer")
TARGETS = {
    "billing": ("view", "change-plan"),
    "media-library": ("view", "upload", "manage"),
    "analytics": ("view",),
    "audit": ("view",),
}
BASE = """\
# the administrator
p, account-administrator, *, *, allow
p, member, account-settings, *, allow
g, account-administrator, member
"""


@st.composite
def rules(draw: st.DrawFn) -> str:
    """Return policy.csv: rules with wildcards and denies for three roles, which may inherit each other in one order."""
    lines = set()
    for _ in range(draw(st.integers(1, 14))):
        role = draw(st.sampled_from(OTHERS))
        section = draw(st.sampled_from([*TARGETS, "*"]))
        actions = TARGETS.get(section, ("view", "manage"))
        action = draw(st.sampled_from([*actions, "*"]))
        effect = draw(st.sampled_from(["allow", "allow", "allow", "deny"]))
        lines.add(f"p, {role}, {section}, {action}, {effect}")
    links = draw(
        st.sets(st.sampled_from(["g, accountant, developer", "g, developer, marketer", "g, marketer, member"]))
    )
    order = draw(st.permutations(sorted(lines | links)))
    return BASE + "\n".join(order) + "\n"


def compiled(files: Mapping[str, bytes]) -> Generation:
    draft = compile_policy(files, proof=ProofScope.NONE).draft
    assert draft is not None
    return draft


@settings(max_examples=120, deadline=None)
@given(rules(), st.randoms(use_true_random=False))
def test_a_proposal_keeps_all_used_and_opens_nothing(seed: Mapping[str, bytes], text: str, random) -> None:  # type: ignore[no-untyped-def]
    policy = compiled({**seed, "policy.csv": text.encode()})
    cells = [(role, *pair) for role in policy.roles for pair in sorted(policy.allowed[role]) if role != "member"]
    used = random.sample(cells, random.randint(1, len(cells)))
    counts = UsageCounts(policy)
    for role, section, action in used:
        assert (
            counts.add(LogLine(True, "allowed", user=f"usr_{role}", role=role, section=section, action=action)) is None
        )
    proposal = propose(counts)
    tight = compiled({**seed, "policy.csv": proposal.text.encode()})
    for role, section, action in used:
        assert (section, action) in tight.allowed[role]
    for role in policy.roles:
        assert tight.allowed[role] <= policy.allowed[role]
    assert {(change.role, change.section, change.action) for change in proposal.changes} == {
        (role, *pair) for role in policy.roles for pair in policy.allowed[role] - tight.allowed[role]
    }
    deciding = {
        tight.cells[role, *pair].rule for role in policy.roles if role != "member" for pair in tight.allowed[role]
    }
    assert all(rule.id in deciding for rule in tight.rules if rule.effect is Effect.ALLOW), "no rule is left in vain"
    assert not [
        one for one in compile_policy(tight.files).diagnostics if one.file == "policy/policy.csv" and one.is_error
    ]
    again = UsageCounts(tight)
    for role, section, action in used:
        again.add(LogLine(True, "allowed", role=role, section=section, action=action))
    assert propose(again).changes == (), "nothing is left to take away"
    unused = report(counts, 1, proposal, []).unused
    assert {(one.role, one.section, one.action) for one in unused.cells} == set(cells) - set(used)


def test_a_line_end_of_windows_stays(seed: Mapping[str, bytes]) -> None:
    text = BASE + "p, accountant, billing, *, allow\n"
    counts = UsageCounts(compiled({**seed, "policy.csv": text.replace("\n", "\r\n").encode()}))
    counts.add(LogLine(True, "allowed", role="accountant", section="billing", action="view"))
    assert b"\n" not in propose(counts).text.encode().replace(b"\r\n", b"")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_reason(data: bytes) -> None:
    assert isinstance(parse(data), str)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["decision", "reason", "role", "section", "unmet", "sampled", "kind"]), JSON))
def test_any_members_are_counted_or_a_reason(shipped: Generation, members: dict[str, object]) -> None:
    found = parse(json.dumps({"decision": True, "reason": "allowed", **members}).encode())
    if not isinstance(found, str):
        counts = UsageCounts(shipped)
        counts.add(found)
        report(counts, 1, None, [])


def test_a_deep_line_is_a_reason() -> None:
    assert parse(b"[" * 100_000) == "not JSON"
    assert parse(b'{"decision": true, "reason": "allowed", "x": ' + b"[" * 100_000) == "not JSON"
