"""Renames: text edits that change names alone, refusals, and their recognition by the difference."""

from collections.abc import Callable, Mapping

import pytest

from sidecar.api.endpoints import API
from sidecar.http.endpoint import RequirePermission
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diff import RenameChange, diff
from sidecar.policy.generation import Generation
from sidecar.policy.lint import NEVER_LOST
from sidecar.policy.rename.both_roles import has_both, with_both, without_both
from sidecar.policy.rename.names import RenameKind, Renames
from sidecar.policy.rename.plan import RejectedFiles, RenamePlan, plan_rename
from sidecar.policy.rename.target import OWN_ACTIONS, OWN_ROLES, InvalidRename, RenameTarget, read_target
from tests.policy.needs_policies import CONDITIONS, with_needs

Edited = Callable[..., dict[str, bytes]]
ROLE, SECTION, ACTION = RenameKind.ROLE, RenameKind.SECTION, RenameKind.ACTION

ODD_SECTION = """
# odd: view and send, of marketer and odd
[sections."odd"]
title = "Odd view"
actions = ['view', "se\\u006Ed"]  # view, send
action_titles = { "send" = "Send odd", 'view' = '''View of odd''' }

[[sections.odd.routes]]
path = "/odd/send/view"
methods = ["GET"]
action = "view" # view

[[sections.odd.routes]]
path = "/odd/{}"
methods = ["POST"]
action = 'send'
""".replace("/{}", "/send")
ODD_ROLE = """
[roles.'odd']
title = "Odd"
description = "odd, send and view in the text of odd"
"""
ODD_RULES = """
# odd: view, send
p,odd,"odd",  view   ,allow
p, "odd", odd, "send", allow
g, odd, member
g, developer, odd
"""
ODD_ROWS = """
# odd, view
allow, "odd", odd, view
allow, odd, odd, "send"
allow, developer, odd, view
allow, developer, odd, send
allow, account-administrator, odd, view
allow, account-administrator, odd, send
deny, marketer, odd, view
deny, marketer, odd, send
deny, accountant, odd, view
deny, accountant, odd, send
allow, odd, account-settings, view
allow, odd, account-settings, change-password
"""
ODD_ROUTES = """
# odd/view, odd
"odd/view", GET, /odd/send/view
odd/send, POST, /odd/send
unmatched, GET, /odd/view
"""


@pytest.fixture
def odd(edited: Edited, seed: Mapping[str, bytes]) -> dict[str, bytes]:
    """A policy with a role and a section "odd", written in all forms that the readers accept, and a need for it."""
    files = edited("sections.toml", add=ODD_SECTION)
    files = edited("roles.toml", add=ODD_ROLE, files=files)
    files = edited("policy.csv", add=ODD_RULES, files=files)
    denied = "".join(
        f"deny, odd, {section}, {action}\n"
        for section, action in draft(seed).allowed["account-administrator"]
        if section != "account-settings"
    )
    files = edited("expectations.csv", add=ODD_ROWS + denied, files=files)
    files = edited("routes.csv", add=ODD_ROUTES, files=files)
    lines = "needs, odd, odd, send, second-factor\n"
    return with_needs(files, lines, "deny, odd, odd, send, without second-factor\n", CONDITIONS)


def draft(files: Mapping[str, bytes]) -> Generation:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled.draft


def planned(before: Generation, kind: RenameKind, old: str, new: str) -> RenamePlan:
    target = read_target(kind, old, new, before.roles, before.sections)
    assert isinstance(target, RenameTarget), target
    plan = plan_rename(before, target)
    assert isinstance(plan, RenamePlan), plan
    return plan


def refusal(before: Generation, kind: RenameKind, old: str, new: str) -> str:
    target = read_target(kind, old, new, before.roles, before.sections)
    found = target if isinstance(target, InvalidRename) else plan_rename(before, target)
    assert isinstance(found, InvalidRename), found
    return found.message


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("kind", "old", "new", "back"),
    [
        (ROLE, "odd", "quite-even", "odd"),
        (SECTION, "odd", "quite-even", "odd"),
        (ACTION, "odd/view", "see-all", "view"),
        (ACTION, "send", "see-all", "send"),
        (ROLE, "marketer", "x", "marketer"),
        (SECTION, "media-library", "x", "media-library"),
        (ACTION, "media-library/upload", "x", "upload"),
    ],
)
def test_all_but_the_name_stays_to_the_byte(
    odd: Mapping[str, bytes], kind: RenameKind, old: str, new: str, back: str, end: str
) -> None:
    files = {name: data.replace(b"\n", end.encode()) for name, data in odd.items()}
    before = draft(files)
    plan = planned(before, kind, old, new)
    after = draft({**files, **plan.files})
    shown = diff(before, after)
    assert (shown.cells, shown.routes, shown.roles) == ((), (), ())
    assert [one.kind for one in shown.renames] == [kind]
    for name, data in plan.files.items():
        was, now = files[name].decode().split("\n"), data.decode().split("\n")
        assert len(was) == len(now)
        comments = [line for line in was if line.startswith("#")]
        assert comments == [line for line in now if line.startswith("#")]
    home = f"{old.rpartition('/')[0] or 'odd'}/" if kind is ACTION else ""
    again = planned(after, kind, home + new, back)
    # an escape (se\\u006Ed) and alignment are not names: only they may differ after the way back
    expected = {name: data.replace(b"se\\u006Ed", b"send") if b"send" in data else data for name, data in files.items()}
    restored = {**files, **plan.files, **again.files}
    if kind is ACTION and old == "send":
        assert restored == expected
    else:
        assert restored == files


def test_titles_paths_and_descriptions_stay(odd: Mapping[str, bytes]) -> None:
    before = draft(odd)
    plan = planned(before, SECTION, "odd", "even")
    after = draft({**odd, **plan.files})
    assert after.sections["even"].title == "Odd view"
    assert after.sections["even"].action_titles == ("View of odd", "Send odd")
    assert [route.path for route in after.routes.routes] == [route.path for route in before.routes.routes]
    plan = planned(before, ROLE, "odd", "even")
    role = draft({**odd, **plan.files}).roles["even"]
    assert (role.title, role.description) == ("Odd", "odd, send and view in the text of odd")


def test_columns_that_are_aligned_stay_aligned(shipped: Generation) -> None:
    from sidecar.policy.diagnostics import DiagnosticSink
    from sidecar.policy.text.format import format_csv

    plan = planned(shipped, SECTION, "performance-center", "p")
    for name in ("policy.csv", "expectations.csv"):
        data = plan.files[name]
        assert format_csv(data, name, DiagnosticSink()) == data
    aligned = planned(shipped, SECTION, "media-library", "assets").files
    assert aligned["policy.csv"].count(b"assets,             *, allow") == 2


def test_the_counted_lines_are_those_that_changed(shipped: Generation) -> None:
    plan = planned(shipped, SECTION, "media-library", "assets")
    assert plan.lines == {"policy.csv": 2, "sections.toml": 1, "expectations.csv": 12, "routes.csv": 6}
    assert plan.rename == RenameChange(SECTION, "media-library", "assets", 15, 5, 0)


# -- refusals


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        (SECTION, "bilLing", "x", 'there is no section "bilLing": did you mean "billing"?'),
        (ROLE, "nobody", "x", 'there is no role "nobody": known: account-administrator, accountant'),
        (ACTION, "billing/vieww", "x", 'there is no action "vieww": did you mean "view"?'),
        (ACTION, "billling/view", "x", 'there is no section "billling": did you mean "billing"?'),
        (ACTION, "puge", "x", 'no section has an action "puge": did you mean "purge"?'),
        (ACTION, "view", "x", '"view" is an action of 12 sections: write users/view or analytics/view'),
        (ACTION, "billing/view", "audit/see", 'an action stays in its section: write "see", not "audit/see"'),
        (SECTION, "billing", "analytics", 'the section "analytics" exists already: write another name'),
        (ROLE, "marketer", "developer", 'the role "developer" exists already'),
        (ACTION, "billing/view", "change-plan", 'the action "change-plan" exists already'),
        (ROLE, "marketer", "marketer", '"marketer" is the name already'),
        (ROLE, "marketer", "deve1oper", '"deve1oper" looks like the role "developer"'),
        (SECTION, "billing", "cache_purge", '"cache_purge" looks like the section "cache-purge"'),
        (SECTION, "billing", "Billing", '"Billing" is not a valid section id: an id is 1 to 64 of a-z'),
        (SECTION, "billing", "*", '"*" is not a valid section id'),
        (SECTION, "billing", "", '"" is not a valid section id'),
        (ROLE, "marketer", "a" * 65, "is not a valid role id"),
        (ROLE, "marketer", "x\ny", "is not a valid role id"),
    ],
)
def test_a_wrong_rename_names_thing_value_and_remedy(
    shipped: Generation, kind: RenameKind, old: str, new: str, message: str
) -> None:
    assert message in refusal(shipped, kind, old, new)


@pytest.mark.parametrize("role", OWN_ROLES)
def test_the_sidecars_own_roles_cannot_be_renamed(shipped: Generation, role: str) -> None:
    assert refusal(shipped, ROLE, role, "x") == f'the sidecar itself uses the role "{role}": it cannot be renamed'


@pytest.mark.parametrize("section", OWN_ACTIONS)
def test_the_sidecars_own_sections_cannot_be_renamed(shipped: Generation, section: str) -> None:
    assert "cannot be renamed" in refusal(shipped, SECTION, section, "x")
    for action in shipped.sections[section].actions:
        assert "cannot be renamed" in refusal(shipped, ACTION, f"{section}/{action}", "x")


def test_own_actions_are_those_of_endpoints_and_invariants(shipped: Generation) -> None:
    used = {(one.guard.section, one.guard.action) for one in API if isinstance(one.guard, RequirePermission)}
    used |= {pair for pair in NEVER_LOST if pair[1] != "*"}
    own = {(section, action) for section, actions in OWN_ACTIONS.items() for action in actions}
    assert used <= own
    assert {section for section, _ in own} == {section for section, _ in (*used, *NEVER_LOST)}
    assert all(set(actions) == set(shipped.sections[name].actions) for name, actions in OWN_ACTIONS.items())


def test_an_own_name_that_is_free_is_refused_as_well(shipped: Generation) -> None:
    sections = {name: one for name, one in shipped.sections.items() if name != "audit"}
    found = read_target(SECTION, "billing", "audit", shipped.roles, sections)
    assert found == InvalidRename('the sidecar itself uses the section "audit": write another name')


def test_an_own_section_may_have_actions_of_the_operator(edited: Edited) -> None:
    files = edited("sections.toml", ('actions = ["view", "manage"]', 'actions = ["view", "manage", "dump"]'))
    before = draft(files)
    found = read_target(ACTION, "users/dump", "export", before.roles, before.sections)
    assert found == RenameTarget(ACTION, "dump", "export", "users")


# -- lines with * as their section


def test_a_line_for_all_sections_is_copied_for_the_new_name(edited: Edited) -> None:
    files = edited("policy.csv", add="p, marketer, *, change-plan, allow\np, marketer, *, view, deny\n")
    files = edited(
        "expectations.csv",
        ("deny,  marketer,              billing,            change-plan", "allow, marketer, billing, change-plan"),
        ("allow, marketer,              media-library,      view", "deny, marketer, media-library, view"),
        ("allow, marketer,              account-settings,   view", "deny, marketer, account-settings, view"),
        files=files,
    )
    before = draft(files)
    for old, new in (("change-plan", "see"), ("media-library/view", "see"), ("change-plan", "manage")):
        plan = planned(before, ACTION, old, new)
        assert diff(before, draft({**files, **plan.files}), plan_names(before, old, new)).cells == ()


def plan_names(before: Generation, old: str, new: str) -> Renames:
    target = read_target(ACTION, old, new, before.roles, before.sections)
    assert isinstance(target, RenameTarget)
    return target.renames


def test_a_new_name_that_a_wildcard_line_covers_is_refused(edited: Edited) -> None:
    files = edited("policy.csv", add="p, accountant, *, purge, allow\n")
    files = edited(
        "expectations.csv",
        ("deny,  accountant,            cache-purge,        purge", "allow, accountant, cache-purge, purge"),
        files=files,
    )
    message = refusal(draft(files), ACTION, "developer/manage", "purge")
    assert "would change decisions" in message
    assert "accountant on developer/purge: deny to allow" in message


def test_needs_for_all_sections_go_with_the_action(seed: Mapping[str, bytes]) -> None:
    row = "deny, developer, integration, manage, without second-factor\n"
    lines = "needs, developer, *, manage, second-factor\n"
    before = draft(with_needs(seed, lines, row + row.replace("integration", "developer"), CONDITIONS))
    plan = planned(before, ACTION, "developer/manage", "administer")
    after = draft({**before.files, **plan.files})
    assert after.needs.of("developer", "developer", "administer") is not None
    assert after.needs.of("developer", "integration", "manage") is not None


def test_names_that_the_files_reject_are_findings(edited: Edited) -> None:
    files = edited("sections.toml", ('actions = ["view", "purge"]', 'actions = ["view", "purge"]'))
    before = draft(files)
    files["sections.toml"] = files["sections.toml"].replace(
        b'title = "Cache Purge"\nactions = ["view", "purge"]\n',
        b'title = "Cache Purge"\nactions = ["view", "purge"]\naction_titles = { view = "Warm" }\n',
    )
    target = read_target(ACTION, "purge", "warm", before.roles, before.sections)
    assert isinstance(target, RenameTarget)
    found = plan_rename(draft(files), target)
    assert isinstance(found, RejectedFiles)
    assert [one.code.value for one in found.diagnostics] == ["confusable-name"]


# -- the difference


def test_every_rename_of_the_shipped_policy_is_recognised(shipped: Generation) -> None:
    targets = [RenameTarget(ROLE, name, "xx") for name in shipped.roles if name not in OWN_ROLES]
    for section in shipped.sections.values():
        if section.id not in OWN_ACTIONS:
            targets.append(RenameTarget(SECTION, section.id, "xx"))
            targets += [RenameTarget(ACTION, action, "xx", section.id) for action in section.actions]
    assert len(targets) == 3 + 8 + 15
    for target in targets:
        plan = plan_rename(shipped, target)
        assert isinstance(plan, RenamePlan), plan
        found = diff(shipped, plan.generation)
        assert (found.cells, found.routes, found.renames) == ((), (), (plan.rename,)), target


def test_the_rest_is_listed_under_the_new_name(shipped: Generation, edited: Edited) -> None:
    renamed = {**shipped.files, **planned(shipped, SECTION, "media-library", "assets").files}
    files = edited("policy.csv", add="p, accountant, assets, view, allow\n", files=renamed)
    files = edited(
        "sections.toml",
        ('"/dashboard/media-library/**", methods = ["PATCH"', '"/dashboard/media-library/*", methods = ["PATCH"'),
        files=files,
    )
    found = diff(shipped, draft(files))
    assert [(one.role, one.section, one.action, one.opens) for one in found.cells] == [
        ("accountant", "assets", "view", True)
    ]
    assert found.routes
    assert {name for one in found.routes for name in (one.before, one.after)} <= {
        *("assets/view", "assets/upload", "assets/manage", "unmatched")
    }
    assert found.renames[0] == RenameChange(SECTION, "media-library", "assets", 15, 5, 1 + len(found.routes))
    assert found.opens


def test_renames_of_all_three_kinds_at_once(shipped: Generation) -> None:
    current = shipped
    for kind, old, new in (
        (SECTION, "media-library", "assets"),
        (ACTION, "assets/upload", "put"),
        (ROLE, "marketer", "brand-manager"),
    ):
        current = planned(current, kind, old, new).generation
    found = diff(shipped, current)
    assert (found.cells, found.routes, found.roles) == ((), (), ())
    assert [(one.kind.value, one.before, one.after) for one in found.renames] == [
        ("section", "media-library", "assets"),
        ("action", "media-library/upload", "assets/put"),
        ("role", "marketer", "brand-manager"),
    ]
    back = diff(current, shipped)
    assert (back.cells, back.routes, len(back.renames)) == ((), (), 3)


def test_a_renamed_route_to_more_users_still_opens(shipped: Generation, edited: Edited) -> None:
    files = {**shipped.files, **planned(shipped, ROLE, "marketer", "brand-manager").files}
    files = edited(
        "sections.toml",
        (
            'methods = ["GET"], action = "view" },\n]\n\n[sections.billing]',
            'methods = ["GET", "PUT"], action = "view" },\n]\n\n[sections.billing]',
        ),
        files=files,
    )
    found = diff(shipped, draft(files))
    assert [(one.method, one.opens) for one in found.routes] == [("PUT", True)]
    assert [one.after for one in found.renames] == ["brand-manager"]


NO_ROUTES = """
[sections.{name}]
title = "{title}"
actions = ["view", "{action}"]
{more}
"""


@pytest.mark.parametrize(
    ("old", "new", "renamed"),
    [
        ({"name": "old-a"}, {"name": "new-b"}, 1),
        ({"name": "old-a"}, {"name": "new-b", "title": "Pay"}, 0),
        ({"name": "old-a"}, {"name": "new-b", "action": "pay-all"}, 0),
        ({"action": "export"}, {"action": "delete-all"}, 0),
        (
            {"action": "export", "more": 'action_titles = { export = "Out" }'},
            {"action": "dump", "more": 'action_titles = { dump = "Out" }'},
            1,
        ),
    ],
)
def test_without_routes_only_the_same_title_is_a_rename(
    edited: Edited, old: dict[str, str], new: dict[str, str], renamed: int
) -> None:
    default = {"name": "plain", "title": "Plain", "action": "manage", "more": ""}
    sides = [draft(edited("sections.toml", add=NO_ROUTES.format(**{**default, **one}))) for one in (old, new)]
    found = diff(*sides)
    assert len(found.renames) == renamed
    assert found.opens is not bool(renamed), "what is no rename is listed, and opens"


def test_half_of_the_routes_are_no_rename(edited: Edited) -> None:
    before = draft(
        edited(
            "sections.toml",
            add=NO_ROUTES.format(name="a", title="A", action="x", more="")
            + 'routes = [\n  { path = "/a", methods = ["GET", "POST"], action = "view" },\n]\n',
        )
    )
    text = NO_ROUTES.format(name="b", title="A", action="x", more="")
    after = draft(
        edited(
            "sections.toml", add=text + 'routes = [\n  { path = "/a", methods = ["GET", "PUT"], action = "view" },\n]\n'
        )
    )
    found = diff(before, after)
    assert found.renames == ()
    assert found.opens


ROLES = """
[roles.{}]
title = "{}"
"""


@pytest.mark.parametrize(
    ("old", "new", "rules", "renamed"),
    [
        (("a1", "A"), ("b2", "B"), "p, {}, billing, *, allow\n", 1),
        (("a1", "A"), ("b2", "A"), "p, {}, billing, *, allow\n", 1),
        (("a1", "A"), ("b2", "B"), "", 0),
    ],
)
def test_a_role_with_the_same_rights_is_renamed(
    edited: Edited, old: tuple[str, str], new: tuple[str, str], rules: str, renamed: int
) -> None:
    sides = []
    for name, title in (old, new):
        files = edited("roles.toml", add=ROLES.format(name, title))
        sides.append(draft(edited("policy.csv", add=rules.format(name), files=files)))
    assert len(diff(*sides).renames) == renamed


def test_two_possible_partners_are_no_rename(edited: Edited) -> None:
    before = edited("roles.toml", add=ROLES.format("aa", "A"))
    before = edited("policy.csv", add="p, aa, billing, *, allow\n", files=before)
    after = edited("roles.toml", add=ROLES.format("bb", "B") + ROLES.format("cc", "C"))
    after = edited("policy.csv", add="p, bb, billing, *, allow\np, cc, billing, *, allow\n", files=after)
    found = diff(draft(before), draft(after))
    assert found.renames == ()
    assert {one.role for one in found.cells if one.opens} == {"bb", "cc"}


def test_a_role_with_fewer_needs_is_not_renamed(seed: Mapping[str, bytes], edited: Edited) -> None:
    sides = []
    for name, lines in (("aa", "needs, aa, billing, *, second-factor\n"), ("bb", "")):
        files = edited("roles.toml", add=ROLES.format(name, name))
        files = edited("policy.csv", add=f"p, {name}, billing, *, allow\n", files=files)
        sides.append(draft(with_needs(files, lines or "needs, developer, cache-purge, *, office\n", "", CONDITIONS)))
    found = diff(*sides)
    assert found.renames == ()
    assert found.opens


# -- both roles at once


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_roles_have_equal_rights_and_leave_no_trace(odd: Mapping[str, bytes], end: str) -> None:
    files = {name: data.replace(b"\n", end.encode()) for name, data in odd.items()}
    before = draft(files)
    for role in ("odd", "marketer"):
        both = {**files, **with_both(files, before.roles[role], "even")}
        generation = compile_policy(both, proof=ProofScope.START).generation
        assert generation is not None
        assert generation.allowed["even"] == generation.allowed[role] == before.allowed[role]
        needs = generation.needs
        assert all(needs.of("even", *cell) == needs.of(role, *cell) for cell in generation.allowed[role])
        assert generation.roles["even"].assignable is before.roles[role].assignable
        assert has_both(both, role, "even")
        assert not has_both(files, role, "even")
        assert not has_both(both, role, "other")
        assert {**both, **without_both(both, role, "even")} == files


def test_an_edit_between_the_steps_stays(shipped: Generation) -> None:
    both = {**shipped.files, **with_both(shipped.files, shipped.roles["marketer"], "even")}
    both["policy.csv"] += b"p, accountant, audit, view, allow\n"
    after = {**both, **without_both(both, "marketer", "even")}
    assert after["policy.csv"] == shipped.files["policy.csv"] + b"p, accountant, audit, view, allow\n"
    assert after["roles.toml"] == shipped.files["roles.toml"]
