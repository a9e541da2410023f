"""R26: permissions that no edit may remove, under any expectations."""

import re
from collections.abc import Mapping

import pytest

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.lint import NEVER_LOST


def refused(files: Mapping[str, bytes]) -> set[str]:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.generation is None
    return {d.code.value for d in compiled.diagnostics if d.is_error}


CELLS = [("users", "view"), ("users", "manage"), ("policy", "view"), ("account-settings", "view")]
CELLS += [("account-settings", "change-password")]


@pytest.mark.parametrize(("section", "action"), CELLS)
def test_R26_the_administrator_cannot_be_denied(edited, section: str, action: str) -> None:  # type: ignore[no-untyped-def]
    files = edited("policy.csv", add=f"p, account-administrator, {section}, {action}, deny\n")
    text = re.sub(
        rf"allow, (account-administrator, +{section}, +{action}\n)", r"deny, \1", files["expectations.csv"].decode()
    )
    files["expectations.csv"] = text.encode()
    assert refused(files) == {"administrator-locked-out"}


@pytest.mark.parametrize("rule", ["p, member, users, *, deny", "p, member, *, view, deny"])
def test_R26_nor_by_what_it_inherits(edited, rule: str) -> None:  # type: ignore[no-untyped-def]
    assert "administrator-locked-out" in refused(edited("policy.csv", add=rule + "\n"))


def test_R26_losing_a_rule_is_as_bad_as_a_deny(edited) -> None:  # type: ignore[no-untyped-def]
    narrowed = edited(
        "policy.csv",
        ("p, account-administrator, *,                  *, allow", "p, account-administrator, billing, *, allow"),
    )
    compiled = compile_policy(narrowed, proof=ProofScope.NONE)
    lost = [d.message for d in compiled.diagnostics if d.code == "administrator-locked-out"]
    assert len(lost) == 3  # users/view, users/manage, policy/view; account-settings is inherited from member


def test_R26_the_administrator_must_exist_and_be_assignable(edited) -> None:  # type: ignore[no-untyped-def]
    assert "administrator-locked-out" in refused(edited("roles.toml", ('users."\n', 'users."\nassignable = false\n')))
    renamed = {
        name: data.replace(b"account-administrator", b"account-owner") for name, data in edited("policy.csv").items()
    }
    assert refused(renamed) == {"administrator-missing"}


def test_R26_sections_that_guard_the_sidecar_must_exist(edited, seed: Mapping[str, bytes]) -> None:  # type: ignore[no-untyped-def]
    sections = {name for name, _ in NEVER_LOST}
    for gone in sections:
        text = seed["sections.toml"].decode().replace(f"[sections.{gone}]", f"[sections.{gone}-2]")
        files = {**seed, "sections.toml": text.encode()}
        for name in ("policy.csv", "expectations.csv"):
            files[name] = re.sub(rf"(, +){gone},".encode(), rf"\1{gone}-2,".encode(), files[name])
        files["routes.csv"] = files["routes.csv"].replace(f"{gone}/".encode(), f"{gone}-2/".encode())
        files["routes.csv"] = files["routes.csv"].replace(
            f"/dashboard/{gone}-2/".encode(), f"/dashboard/{gone}/".encode()
        )
        assert "administrator-locked-out" in refused(files)


@pytest.mark.parametrize("target", ["users, view", "policy, view", "*, view", "*, *", "analytics, *"])
def test_R26_member_alone_opens_nothing_but_ones_own_settings(edited, target: str) -> None:  # type: ignore[no-untyped-def]
    assert "member-too-wide" in refused(edited("policy.csv", add=f"p, member, {target}, allow\n"))


def test_R26_nor_by_inheritance(edited) -> None:  # type: ignore[no-untyped-def]
    widened = edited("policy.csv", ("g, marketer,              member\n", "g, member, marketer\n"))
    assert "member-too-wide" in refused(widened)


def test_R26_stands_in_the_code_and_no_file_can_change_it(seed: Mapping[str, bytes]) -> None:
    assert NEVER_LOST == (("users", "view"), ("users", "manage"), ("policy", "view"), ("account-settings", "*"))
    assert not any(b"administrator-locked-out" in data for data in seed.values())
