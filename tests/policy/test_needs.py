"""Needs of small policies in words: inheritance, alternatives, unmet conditions, transfer, files, limits, speed."""

import os
import random
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.domain.sessions import Method, Proof
from sidecar.pdp.compile.protocol import generation_of
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diff import diff
from sidecar.policy.generation import Generation, PackedGeneration, content_hash, pack
from sidecar.policy.needs import unmet, zones
from sidecar.policy.needs.conditions import Condition, ConditionKind
from sidecar.policy.needs.facts import Facts
from sidecar.policy.needs.lint import Reach, locks_out, reach
from sidecar.policy.needs.partition import Partition, dimensions_of
from sidecar.policy.needs.unmet import Unmet, smallest_set
from sidecar.sources.policy_files import read_policy_files, stamp_of
from tests.policy.needs_policies import CHANGE_PLAN, CONDITIONS, with_needs

Write = Callable[[Mapping[str, bytes]], tuple[Path, Path]]
NOW = 1_800_086_400.0
"""A Saturday."""
CELL = ("accountant", "billing", "change-plan")


def compiled(seed: Mapping[str, bytes], lines: str = CHANGE_PLAN, conditions: str = CONDITIONS) -> Generation:
    found = compile_policy(with_needs(seed, lines, "", conditions), proof=ProofScope.NONE)
    assert found.draft is not None, found.diagnostics
    return found.draft


def session(*proofs: tuple[Method, int], signed_in: int | None = 0, client: str | None = None) -> Facts:
    """Facts of a session: each proof with its age in seconds."""
    return Facts(
        tuple(Proof(method, "x", int(NOW) - age) for method, age in proofs),
        None if signed_in is None else int(NOW) - signed_in,
        NOW,
        ip_address(client) if client else None,
    )


def met(generation: Generation, facts: Facts | None, cell: tuple[str, str, str] = CELL) -> bool:
    requirement = generation.needs.of(*cell)
    return requirement is None or requirement.meets(generation.needs.class_of(facts))


def test_without_lines_no_cell_has_a_need(seed: Mapping[str, bytes], shipped: Generation) -> None:
    assert not shipped.needs.active
    assert shipped.needs.of(*CELL) is None
    assert shipped.needs.unmet(*CELL, None) == Unmet()
    neither = {name: content for name, content in seed.items() if name not in ("conditions.toml", "needs.csv")}
    absent = compile_policy(neither)
    assert absent.diagnostics == ()
    assert absent.generation is not None
    assert dict(absent.generation.cells) == dict(shipped.cells)
    assert absent.generation.id != shipped.id


def test_an_outside_second_factor_is_one_of_an_unknown_kind(seed: Mapping[str, bytes]) -> None:
    """No condition can name it, and no user can enrol it (`Method.SECOND_FACTOR`)."""
    kinds = '[conditions.kinds]\nmethods = ["totp", "passkey", "recovery-code"]\n'
    outside = session((Method.SECOND_FACTOR, 0))
    assert met(compiled(seed), outside)
    other = compiled(seed, "needs, accountant, billing, change-plan, kinds\n", CONDITIONS + kinds)
    assert not met(other, outside)
    found = diff(other, compiled(seed, "needs, accountant, billing, change-plan, second-factor\n", CONDITIONS + kinds))
    (witness,) = found.cells[0].witnesses
    assert witness.text.startswith("password and outside second factor")
    named = with_needs(seed, CHANGE_PLAN, "", CONDITIONS + '[conditions.x]\nmethods = ["second-factor"]\n')
    assert "condition-value" in [one.code.value for one in compile_policy(named, proof=ProofScope.NONE).diagnostics]


def test_alternatives_are_or_and_lines_are_and(seed: Mapping[str, bytes]) -> None:
    generation = compiled(seed, CHANGE_PLAN + "needs, *, billing, *, paid-plan\n")
    totp, office = (Method.TOTP, 0), "192.0.2.7"
    paid = {"plan": "pro"}
    for proofs, client, labels, expected in (
        ((), None, paid, False),
        ((totp,), None, paid, True),
        ((), office, paid, True),
        ((totp,), office, {"plan": "free"}, False),
        ((totp,), office, {}, False),
    ):
        facts = session(*proofs, client=client)
        facts = Facts(facts.proofs, facts.signed_in_at, facts.now, facts.client, labels)
        assert met(generation, facts) is expected


def test_a_line_applies_to_each_role_that_inherits_its_role(seed: Mapping[str, bytes]) -> None:
    generation = compiled(seed, "needs, member, *, view, fresh\nneeds, accountant, analytics, *, office\n")
    assert generation.needs.of("accountant", "billing", "view") is not None
    assert generation.needs.of("member", "billing", "view") is None, "no rule allows it"
    assert generation.needs.of("accountant", "account-settings", "view") is None, "* leaves it out"
    assert generation.needs.of("developer", "analytics", "view") is generation.needs.of(
        "developer", "cache-purge", "view"
    )
    assert generation.needs.of("accountant", "analytics", "view") is not generation.needs.of(
        "accountant", "billing", "view"
    )


def test_account_settings_may_ask_for_a_recent_sign_in(seed: Mapping[str, bytes]) -> None:
    generation = compiled(seed, "needs, *, account-settings, change-password, recent-sign-in\n")
    assert not met(generation, session(signed_in=901), ("marketer", "account-settings", "change-password"))
    assert met(generation, session(signed_in=900), ("marketer", "account-settings", "change-password"))


def test_a_chosen_factor_is_as_recent_as_the_sign_in(seed: Mapping[str, bytes]) -> None:
    generation = compiled(seed, CHANGE_PLAN + "needs, accountant, billing, *, recent-sign-in\n")
    old, new = (Method.TOTP, 1200), (Method.TOTP, 60)
    assert met(generation, session(new, signed_in=60))
    assert not met(generation, session(old, signed_in=60)), "the factor's own proof is too old"
    assert met(generation, session(old, signed_in=60, client="192.0.2.7")), "the office is the chosen condition"
    assert not met(generation, session(new, signed_in=1200)), "both ages count"
    assert generation.needs.unmet(*CELL, session(old, signed_in=60)) == Unmet(
        ("second-factor",), True, 900, "second-factor"
    )


@pytest.mark.parametrize(
    ("lines", "facts", "expected"),
    [
        ("second-factor | office", session(), Unmet(("second-factor",), True, None, "second-factor")),
        ("office | office-hours", session(), Unmet(("office",))),
        ("office-hours | office", session(), Unmet(("office",))),
        ("recent-sign-in", session(signed_in=1000), Unmet(("recent-sign-in",), True, 900, None)),
        ("recent-sign-in", session(signed_in=None), Unmet(("recent-sign-in",), True, 900, None)),
        (
            "second-factor, passkey, recent-sign-in, fresh",
            session(signed_in=1000),
            Unmet(("second-factor", "passkey", "recent-sign-in", "fresh"), True, 300, "passkey"),
        ),
        ("second-factor, office", session(), Unmet(("second-factor", "office"))),
        ("second-factor, office", session((Method.PASSKEY, 0)), Unmet(("office",))),
        (
            "second-factor | office, passkey | office",
            session(),
            Unmet(("second-factor", "passkey"), True, None, "passkey"),
        ),
        ("office | paid-plan, office | office-hours", session(), Unmet(("office",))),
    ],
)
def test_unmet_prefers_signing_in_then_the_smallest_set(
    seed: Mapping[str, bytes], lines: str, facts: Facts, expected: Unmet
) -> None:
    text = "".join(f"needs, accountant, billing, change-plan, {one.strip()}\n" for one in lines.split(","))
    assert compiled(seed, text).needs.unmet(*CELL, facts) == expected


def test_without_facts_every_condition_is_unmet(seed: Mapping[str, bytes]) -> None:
    always = '[conditions.always]\nhours = { days = "mon-sun", from = "00:00", to = "24:00", zone = "UTC" }\n'
    needs = compiled(seed, "needs, accountant, billing, *, always\n", always).needs
    assert needs.unmet(*CELL, None) == Unmet(("always",))
    assert needs.unmet(*CELL, session()) == Unmet()


def test_the_searches_of_one_class_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check waits for all of them. There is one for each limit of ages, with and without what a sign-in mends."""
    chance = random.Random(3)
    ages = [Condition(f"a{n}", "A", ConditionKind.SIGNED_IN_WITHIN, 1, seconds=60 * (n + 1)) for n in range(20)]
    places = [Condition(f"n{n}", "N", ConditionKind.NETWORKS, 1, networks=(f"192.0.2.{n}/32",)) for n in range(40)]
    partition = Partition(dimensions_of([*ages, *places]))
    lines = [frozenset(chance.sample(range(60), 4)) for _ in range(120)]
    taken, pick = [0], unmet._pick

    def counted(*arguments: Any) -> Any:
        taken[0] += 1
        return pick(*arguments)

    monkeypatch.setattr(unmet, "_pick", counted)
    found = unmet.find_unmet(partition, lines, partition.nothing)
    numbers = {int(name[1:]) + (20 if name[0] == "n" else 0) for name in found.names}
    assert all(line & numbers for line in lines)
    assert taken[0] <= 2 * unmet.MAX_STEPS


def test_the_smallest_set_is_exact_and_bounded() -> None:
    assert smallest_set([frozenset({0, 3}), frozenset({1, 3}), frozenset({2, 4})]) == (2, 3)
    assert smallest_set([frozenset({0, 1}), frozenset({0, 1, 2}), frozenset({1, 2})]) == (1,)
    assert smallest_set([]) == ()
    pairs = [frozenset({a, b}) for a in range(64) for b in range(a) if (a * b) % 7 == 3]
    begin = time.perf_counter()
    found = smallest_set(pairs)
    assert time.perf_counter() - begin < 5
    assert all(pair & set(found) for pair in pairs)


# -- files and processes -----------------------------------------------------------------------------------------------


def test_R25_both_files_are_part_of_the_generation(seed: Mapping[str, bytes]) -> None:
    files = with_needs(seed)
    one = compile_policy(files)
    assert one.diagnostics != ()
    assert one.generation is not None
    assert one.generation.id == content_hash(files)
    for name in ("conditions.toml", "needs.csv"):
        assert content_hash({**files, name: files[name] + b"# more\n"}) != one.generation.id


def test_a_packed_generation_has_the_same_needs(seed: Mapping[str, bytes]) -> None:
    generation = compiled(
        seed, CHANGE_PLAN + "needs, developer, *, *, office-hours\nneeds, marketer, *, *, paid-plan\n"
    )
    raw = msgspec.msgpack.encode(pack(generation))
    packed = msgspec.msgpack.decode(raw, type=PackedGeneration)
    for like in (None, generation):
        opened = generation_of(packed, generation.files, like)
        assert opened.needs.packed == generation.needs.packed
        for cell in generation.cells:
            one, other = opened.needs.of(*cell), generation.needs.of(*cell)
            assert (one and one.bits) == (other and other.bits)


def test_both_files_are_optional_on_disk(seed: Mapping[str, bytes], write_policy: Write) -> None:
    folder, model = write_policy(seed)
    first = read_policy_files(folder, model)
    for name in ("needs.csv", "conditions.toml"):
        (folder / name).unlink()
    second = read_policy_files(folder, model, first)
    assert second.diagnostics == ()
    assert second.files.keys() == seed.keys() - {"needs.csv", "conditions.toml"}
    assert second.fingerprint != first.fingerprint
    assert not first.still_holds(stamp_of(folder, model))


def test_R25_an_optional_file_that_cannot_be_read_is_an_error(seed: Mapping[str, bytes], write_policy: Write) -> None:
    """An absent file has no needs. A link to nowhere, a folder and a world-writable file are not absent."""
    folder, model = write_policy(with_needs(seed))
    path = folder / "needs.csv"
    path.chmod(0o666)
    found = [read_policy_files(folder, model)]
    path.unlink()
    path.symlink_to("nowhere/needs.csv")
    found.append(read_policy_files(folder, model))
    path.unlink()
    path.symlink_to("roles.toml/needs.csv")
    found.append(read_policy_files(folder, model))
    path.unlink()
    path.mkdir()
    found.append(read_policy_files(folder, model))
    path.rmdir()
    os.mkfifo(path)
    found.append(read_policy_files(folder, model))
    codes = ["file-permissions", "missing-file", "unreadable-file", "unreadable-file", "unreadable-file"]
    assert [files.diagnostics[0].code.value for files in found] == codes
    for files in found:
        result = compile_policy(files.files, problems=files.diagnostics, proof=ProofScope.NONE)
        assert (result.generation, result.draft) == (None, None)


# -- lockout -----------------------------------------------------------------------------------------------------------


def test_R26_where_an_administrator_can_sign_in(seed: Mapping[str, bytes]) -> None:
    cell = ("account-administrator", "users", "manage")
    for asked, expected in (
        ("second-factor", Reach.ALWAYS),
        ("passkey | office", Reach.ALWAYS),
        ("office", Reach.SOMETIMES),
        ("paid-plan", Reach.SOMETIMES),
    ):
        needs = compiled(seed, f"needs, account-administrator, users, manage, {asked}\n").needs
        assert reach(needs, cell) is expected
    needs = compiled(seed, "needs, account-administrator, users, manage, paid-plan\n").needs
    assert reach(needs, cell, labels={"plan": "pro"}) is Reach.ALWAYS
    assert reach(needs, cell, labels={"plan": "free"}) is Reach.NEVER
    needs = compiled(seed, "needs, account-administrator, users, manage, passkey\n").needs
    assert reach(needs, cell, methods={Method.PASSWORD, Method.TOTP}) is Reach.NEVER


@pytest.mark.parametrize(
    ("asked", "before", "after", "locked_out"),
    [
        ("paid-plan", {"plan": "pro"}, {"plan": "free"}, True),
        ("paid-plan", {"plan": "pro"}, {}, True),
        ("paid-plan", {"plan": "pro"}, {"plan": "enterprise"}, False),
        ("paid-plan", {}, {"plan": "free"}, False),
        ("paid-plan | office", {"plan": "pro"}, {}, False),
        ("paid-plan | passkey", {"plan": "pro"}, {}, True),
        ("paid-plan | second-factor", {"plan": "pro"}, {}, False),
        ("second-factor", {"plan": "pro"}, {}, False),
    ],
)
def test_R26_labels_that_lock_administrators_out(
    seed: Mapping[str, bytes], asked: str, before: dict[str, str], after: dict[str, str], locked_out: bool
) -> None:
    needs = compiled(seed, f"needs, account-administrator, users, manage, {asked}\n").needs
    assert locks_out(needs, before, after, {Method.PASSWORD, Method.TOTP}) is locked_out


# -- cost --------------------------------------------------------------------------------------------------------------


def test_a_repeated_check_costs_one_index_and_one_bit(seed: Mapping[str, bytes]) -> None:
    """At most 1 µs more on an idle machine. Compared with a loop of the same machine, so that load does not count."""
    needs = compiled(seed, CHANGE_PLAN).needs
    requirement = needs.of(*CELL)
    assert requirement is not None
    client = ip_address("192.0.2.7")
    base, _ = needs.base_of(session())

    def seconds(work: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(30):
            begin = time.perf_counter()
            for _ in range(500):
                work()
            best = min(best, (time.perf_counter() - begin) / 500)
        return best

    unit = seconds(lambda: None)
    assert seconds(lambda: requirement.meets(needs.at(base, client))) < 40 * unit


@pytest.mark.parametrize(
    "zone", ["Africa/Casablanca", "Asia/Gaza", "Africa/Cairo", "Antarctica/Troll", "Europe/Dublin"]
)
def test_no_clock_change_is_missed(zone: str) -> None:
    """Morocco and Gaza change around Ramadan, Troll by two hours."""
    _, offsets = zones.changes(zone)
    daily = [zones.offset(zone, day) for day in range(zones.CYCLE_BEGIN, zones.CYCLE_END, zones.DAY_S)]
    changed = [after for before, after in pairwise(daily) if after != before]
    assert list(offsets) == [daily[0], *changed]


def test_zones_are_those_of_the_package() -> None:
    assert zones.version()[:2] == "20"
    assert "Europe/Berlin" in zones.names()
    instants, offsets = zones.changes("Europe/Berlin")
    assert len(instants) == 57
    assert set(offsets) == {3600, 7200}
