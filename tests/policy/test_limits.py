"""A large policy compiles in a time that grows with its rules, a hostile one in a time that grows with its bytes."""

import time
from collections.abc import Callable, Mapping

import pytest

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import AT_MOST
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.rules import MAX_RULES

pytestmark = pytest.mark.slow


def large(seed: Mapping[str, bytes], roles: int, sections: int, rules: int) -> dict[str, bytes]:
    """Rules spread evenly over roles and sections; every tenth is a deny. Complete expectations and routes."""
    names = [f"r{index}" for index in range(roles)]
    places = [f"s{index}" for index in range(sections)]
    effects = {}
    for index in range(rules):
        role, place = names[index % roles], places[(index // roles + index * 7) % sections]
        effects.setdefault((role, place), "deny" if index % 10 == 0 else "allow")
    text = {name: content.decode() for name, content in seed.items()}
    text["roles.toml"] += "".join(f'[roles.{name}]\ntitle = "Role {name}"\n' for name in names)
    text["sections.toml"] = text["sections.toml"].replace(
        "# What needs no sign-in",
        "".join(
            f'[sections.{place}]\ntitle = "Section {place}"\nactions = ["view"]\n'
            f'routes = [{{ path = "/s/{place}/**", methods = ["GET"], action = "view" }}]\n'
            for place in places
        )
        + "# What needs no sign-in",
    )
    text["policy.csv"] += "".join(f"p, {role}, {place}, view, {effect}\n" for (role, place), effect in effects.items())
    text["policy.csv"] += "".join(f"g, {name}, member\n" for name in names)
    text["routes.csv"] += "".join(f"{place}/view, GET, /s/{place}\n" for place in places)
    expected = []
    for role in ("account-administrator", "accountant", "developer", "marketer"):
        allowed = "allow" if role == "account-administrator" else "deny"
        expected += [f"{allowed}, {role}, {place}, view\n" for place in places]
    shipped = [line.split(",") for line in text["expectations.csv"].splitlines() if "marketer," in line]
    for role in names:
        for _, _, section, action in shipped:
            effect = "allow" if section.strip() == "account-settings" else "deny"
            expected.append(f"{effect}, {role},{section},{action}\n")
        expected += [
            f"{'allow' if effects.get((role, place)) == 'allow' else 'deny'}, {role}, {place}, view\n"
            for place in places
        ]
    text["expectations.csv"] += "".join(expected)
    return {name: content.encode() for name, content in text.items()}


def timed(work: Callable[[], Compiled]) -> tuple[float, Compiled]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def test_compile_time_is_linear_up_to_twenty_thousand_rules(seed: Mapping[str, bytes]) -> None:
    seconds = {}
    for rules in (5_000, 20_000):
        files = large(seed, roles=200, sections=488, rules=rules)
        seconds[rules], compiled = timed(lambda files=files: compile_policy(files, proof=ProofScope.NONE))  # type: ignore[misc]
        assert compiled.generation is not None, compiled.diagnostics[:3]
        assert len(compiled.generation.sections) == 500
        assert len(compiled.generation.rules) >= rules * 0.9
    # Four times the rules; the number of cells is the same, and so is their cost. Quadratic would be 16.
    assert seconds[20_000] < 8 * seconds[5_000] + 0.5


def test_R28_a_large_policy_starts_with_a_sampled_proof(seed: Mapping[str, bytes]) -> None:
    files = large(seed, roles=60, sections=200, rules=6_000)
    seconds, compiled = timed(lambda: compile_policy(files, proof=ProofScope.START))
    assert compiled.generation is not None
    assert seconds < 5  # all 1.3 million pairs of rule and cell would take longer


def only_code(compiled: Compiled) -> set[Code]:
    assert compiled.generation is None
    return {diagnostic.code for diagnostic in compiled.diagnostics}


@pytest.mark.parametrize("limit", ["rules.MAX_RULES", "declarations.MAX_CELLS", "route_loader.MAX_ROUTES"])
def test_a_policy_over_a_limit_is_refused(
    seed: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    assert MAX_RULES >= 20_000
    monkeypatch.setattr(f"sidecar.policy.{limit}", 5)
    assert only_code(compile_policy(seed)) == {Code.POLICY_TOO_LARGE}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("policy.csv", b"x\n" * 200_000),
        ("policy.csv", b"p, nobody, nowhere, nothing, never\n" * 30_000),
        ("policy.csv", b"".join(b"p, nobody%d, nowhere, nothing, never\n" % i for i in range(30_000))),
        ("policy.csv", b"," * 500_000 + b"\n"),
        ("policy.csv", "\u200b".encode() * 200_000 + b"\n"),
        ("policy.csv", b'"' * 500_000 + b"\n"),
        ("policy.csv", b"p, " + b"x" * 1_000_000 + b", y, z, allow\n"),
        ("expectations.csv", b"\xff\n" * 200_000),
        ("routes.csv", b"public, GET, /" + b"a/" * 200_000 + b"\n"),
        ("sections.toml", b"[sections.x]\n" + b"a = 1\n" * 50_000),
        ("sections.toml", b"".join(b"k%d = 1\n" % i for i in range(50_000))),
        ("sections.toml", b"a = [" + b"1, " * 300_000 + b"]\n"),
        ("model.conf", b"[x]\n" * 100_000),
        ("model.conf", b"m = " + b"(" * 300_000 + b"\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:12].decode("ascii", "replace").strip() or "…",
)
def test_a_hostile_file_costs_linear_time_and_a_bounded_answer(
    seed: Mapping[str, bytes], name: str, content: bytes
) -> None:
    seconds, compiled = timed(lambda: compile_policy({**seed, name: content}, proof=ProofScope.NONE))
    assert compiled.generation is None
    assert len(compiled.diagnostics) <= 8 * AT_MOST
    assert all(len(str(diagnostic)) < 1_500 for diagnostic in compiled.diagnostics)
    assert seconds < 10


def test_what_is_not_listed_is_counted(seed: Mapping[str, bytes]) -> None:
    lines = b"".join(b"x%d\n" % number for number in range(2_000))
    compiled = compile_policy({**seed, "policy.csv": lines}, proof=ProofScope.NONE)
    assert len(compiled.diagnostics) == AT_MOST
    assert compiled.diagnostics[-1].message.endswith(f"and {2_000 - AT_MOST:,} more of this kind")
    assert not compiled.diagnostics[-2].message.endswith("of this kind")


def test_the_places_of_a_finding_are_bounded_and_counted(seed: Mapping[str, bytes]) -> None:
    [same] = compile_policy({**seed, "policy.csv": b"x\n" * 2_000}, proof=ProofScope.NONE).diagnostics
    assert len(same.places) == AT_MOST - 1
    assert same.message.endswith(f": policy.csv 1, 2, 3 and 497 more; and {2_000 - AT_MOST:,} more of this kind")
    tests = b"".join(b"public, GET, /%d\n" % number for number in range(2_000))
    [failed] = [
        found
        for found in compile_policy(
            {**seed, "routes.csv": seed["routes.csv"] + tests}, proof=ProofScope.NONE
        ).diagnostics
        if found.code == "failed-route"
    ]
    assert len(failed.places) == AT_MOST
    assert failed.message.endswith("; the same cause: routes.csv 129, 130, 131 and 1,997 more")
