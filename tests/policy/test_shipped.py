"""The shipped policy: README's table of roles, word for word, and no finding under any check."""

from collections.abc import Mapping

import pytest

from sidecar.domain.access import Target
from sidecar.domain.decision import Reason
from sidecar.policy.compiler import compile_policy
from sidecar.policy.decide import covers, decide, opens
from sidecar.policy.generation import Generation
from sidecar.policy.routes import PUBLIC

SECTIONS = {
    "users": ("view", "manage"),
    "analytics": ("view",),
    "billing": ("view", "change-plan"),
    "integration": ("view", "manage"),
    "media-library": ("view", "upload", "manage"),
    "cache-purge": ("view", "purge"),
    "performance-center": ("view",),
    "developer": ("view", "manage"),
    "image-settings": ("view", "manage"),
    "account-settings": ("view", "change-password"),
    "policy": ("view", "preview"),
    "audit": ("view",),
}
MAY = {
    "account-administrator": set(SECTIONS),
    "accountant": {"analytics", "billing", "account-settings"},
    "developer": {
        "integration",
        "media-library",
        "analytics",
        "cache-purge",
        "performance-center",
        "developer",
        "image-settings",
        "account-settings",
    },
    "marketer": {"media-library", "account-settings"},
    "member": {"account-settings"},
}
WRITES = {
    "users": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "manage"),
    "billing": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "change-plan"),
    "integration": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "manage"),
    "media-library": {"POST": "upload", "PUT": "upload", "PATCH": "manage", "DELETE": "manage"},
    "cache-purge": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "purge"),
    "developer": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "manage"),
    "image-settings": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "manage"),
    "account-settings": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "change-password"),
    "policy": dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "preview"),
}


def test_it_compiles_without_a_word(seed: Mapping[str, bytes]) -> None:
    compiled = compile_policy(seed)

    assert compiled.diagnostics == ()
    assert compiled.generation is not None
    assert compiled.verdict.ok


def test_sections_and_actions_are_those_of_the_contract(shipped: Generation) -> None:
    assert {section.id: section.actions for section in shipped.sections.values()} == SECTIONS


def test_actions_have_titles_for_people(shipped: Generation) -> None:
    titles = {
        (section.id, action): title
        for section in shipped.sections.values()
        for action, title in zip(section.actions, section.action_titles, strict=True)
    }
    assert titles["billing", "change-plan"] == "Change plan"
    assert titles["policy", "preview"] == "Try an edit"
    assert titles["users", "view"] == "View"


def test_all_roles_but_member_can_be_assigned(shipped: Generation) -> None:
    assert {role.id: role.assignable for role in shipped.roles.values()} == {
        "account-administrator": True,
        "accountant": True,
        "developer": True,
        "marketer": True,
        "member": False,
    }
    assert shipped.roles["account-administrator"].title == "Account Administrator"
    assert all(role.description for role in shipped.roles.values())


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_exactly_what_the_contract_says(shipped: Generation, role: str) -> None:
    for section, actions in SECTIONS.items():
        for action in actions:
            allowed = section in MAY[role]
            ruling = decide(shipped, role, section, action)
            assert ruling.allowed is allowed, (section, action)
            assert ruling.reason is (Reason.ALLOWED if allowed else Reason.NO_RULE)


def test_the_matrix_has_every_cell_and_the_line_that_decided(shipped: Generation, seed: Mapping[str, bytes]) -> None:
    lines = seed["policy.csv"].decode().splitlines()
    assert len(list(shipped.cells)) == len(shipped.cells) == 5 * sum(map(len, SECTIONS.values()))
    for (role, section, _action), ruling in shipped.cells.items():
        if ruling.rule is None:
            continue
        file, _, number = ruling.rule.partition(":")
        assert file == "policy/policy.csv"
        fields = [field.strip() for field in lines[int(number) - 1].split(",")]
        assert fields[0] == "p"
        assert fields[1] in (role, "member")
        assert fields[2] in (section, "*")
    with pytest.raises(KeyError):
        shipped.cells["accountant", "billing", "purge"]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_routes_of_a_section(shipped: Generation, section: str) -> None:
    for path in (f"/dashboard/{section}", f"/dashboard/{section}/", f"/dashboard/{section}/a/b"):
        for method in ("GET", "HEAD"):
            assert shipped.routes.resolve(method, path) == Target(section, "view")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            action = WRITES.get(section, {}).get(method)
            expected = Target(section, action) if action else Reason.UNMATCHED_PATH
            assert shipped.routes.resolve(method, path) == expected
        assert shipped.routes.resolve("OPTIONS", path) is Reason.UNMATCHED_PATH


def test_what_needs_no_sign_in(shipped: Generation) -> None:
    assert shipped.routes.resolve("GET", "/login") is PUBLIC
    assert shipped.routes.resolve("POST", "/login") is Reason.UNMATCHED_PATH
    assert shipped.routes.resolve("GET", "/") is Reason.UNMATCHED_PATH


def test_the_expectations_are_complete_over_the_assignable_roles(
    shipped: Generation, seed: Mapping[str, bytes]
) -> None:
    suite = compile_policy(seed).suite
    rows = {cell: suite.rows().row_of(*cell) for cell in shipped.cells if shipped.roles[cell[0]].assignable}
    assert len(rows) == 4 * sum(map(len, SECTIONS.values()))
    assert {
        cell for cell, row in rows.items() if row is None or row.allowed is not shipped.cells[cell].allowed
    } == set()
    assert {row.exact for row in rows.values() if row is not None} == {True, False}, "the file shows both forms"


def test_what_a_role_opens_stands_in_the_order_of_the_sections(shipped: Generation) -> None:
    assert opens(shipped, "marketer") == ["media-library", "account-settings"]
    assert opens(shipped, "accountant") == ["analytics", "billing", "account-settings"]
    assert opens(shipped, "account-administrator") == list(SECTIONS)
    assert opens(shipped, "nobody") == []


def test_R11_a_role_covers_those_whose_cells_it_has_all(shipped: Generation) -> None:
    covering = {(actor, other) for actor in shipped.roles for other in shipped.roles if covers(shipped, actor, other)}
    same = {(role, role) for role in shipped.roles}
    administrator = {("account-administrator", role) for role in shipped.roles}
    over_member = {(role, "member") for role in shipped.roles}
    assert covering == same | administrator | over_member | {("developer", "marketer")}


def test_R11_a_removed_role_covers_no_role_and_none_covers_it(shipped: Generation) -> None:
    assert not covers(shipped, "gone", "member")
    assert not covers(shipped, "account-administrator", "gone")
    assert not covers(shipped, "gone", "gone")


def test_undeclared_names_are_a_reasoned_deny(shipped: Generation) -> None:
    assert decide(shipped, "accountant", "nowhere", "view").reason is Reason.UNKNOWN_SECTION
    assert decide(shipped, "accountant", "billing", "purge").reason is Reason.UNKNOWN_ACTION
    assert decide(shipped, "gone", "billing", "view").reason is Reason.NO_RULE
    assert decide(shipped, "accountant", "*", "*").reason is Reason.UNKNOWN_SECTION
    assert decide(shipped, "account-administrator", "billing", "*").reason is Reason.UNKNOWN_ACTION
    assert decide(shipped, "", "", "").reason is Reason.UNKNOWN_SECTION
    assert decide(shipped, "Accountant", "billing", "view").reason is Reason.NO_RULE
