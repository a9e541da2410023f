"""Missing rows of expectations.csv and routes.csv: their content, their places, and that nothing else changes."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.coverage import inexact_allows
from sidecar.policy.editing.proposals import Proposal, proposals
from sidecar.policy.expectations import REVIEW

Edit = Callable[..., dict[str, bytes]]
REPORTS = """[sections.reports]
title = "Reports"
actions = ["view", "create"]
routes = [
  { path = "/dashboard/reports/**", methods = ["GET"], action = "view" },
  { path = "/dashboard/reports/**", methods = ["POST", "PUT"], action = "create" },
]

"""


def compiled(files: Mapping[str, bytes]) -> Compiled:
    return compile_policy(files, proof=ProofScope.NONE)


def proposed(files: Mapping[str, bytes], **options: Any) -> list[Proposal]:
    result = compiled(files)
    assert result.draft is not None, list(map(str, result.diagnostics))
    return proposals(result.draft, result.suite, result.verdict, **options)


def written(files: Mapping[str, bytes], **options: Any) -> dict[str, bytes]:
    return {**files, **{one.file: one.written for one in proposed(files, **options)}}


def rows_of(files: Mapping[str, bytes], file: str = "expectations.csv", **options: Any) -> list[str]:
    found = [one for one in proposed(files, **options) if one.file == file]
    return [" ".join(row.split()) for one in found for insertion in one.insertions for row in insertion.rows]


def with_section(edited: Edit, before: str, text: str = REPORTS) -> dict[str, bytes]:
    return edited("sections.toml", (f"[sections.{before}]", f"{text}[sections.{before}]"))


def test_a_complete_policy_lacks_no_row(seed: Mapping[str, bytes]) -> None:
    assert proposed(seed) == []
    assert proposed(seed, explicit=True) == []


def test_a_section_of_one_decision_is_one_row_per_role(edited: Edit) -> None:
    files = with_section(edited, "integration")
    files["policy.csv"] += b"p, accountant, reports, view, allow\n"
    assert rows_of(files) == [
        "allow, account-administrator, reports, *",
        "allow, accountant, reports, view",
        "deny, accountant, reports, create",
        "deny, marketer, reports, *",
    ], "the developer's * covers it"
    assert rows_of(files, "routes.csv") == [
        "reports/view, GET, /dashboard/reports/example",
        "reports/create, POST, /dashboard/reports/example",
    ]


def test_a_role_without_rows_is_denied_by_one_row(edited: Edit) -> None:
    files = edited("roles.toml", add='\n[roles.support]\ntitle = "Support"\n')
    assert rows_of(files) == ["deny, support, *, *"], "one decision in all sections"
    files["policy.csv"] += b"p, support, audit, view, allow\np, support, users, view, allow\ng, support, member\n"
    assert rows_of(files) == [
        "deny, support, *, *",
        "allow, support, users, view",
        "allow, support, account-settings, *",
        "allow, support, audit, view",
    ]
    files["policy.csv"] += b"p, support, *, *, allow\n"
    assert rows_of(files) == ["allow, support, *, *"]


def test_explicit_proposes_an_exact_row_for_each_allow(edited: Edit) -> None:
    files = edited("roles.toml", add='\n[roles.support]\ntitle = "Support"\n')
    files["policy.csv"] += b"p, support, billing, *, allow\n"
    assert rows_of(files, explicit=True) == [
        "deny, support, *, *",
        "allow, support, billing, view",
        "allow, support, billing, change-plan",
    ]
    covered = written(files)
    assert rows_of(covered) == []
    assert rows_of(covered, explicit=True) == ["allow, support, billing, view", "allow, support, billing, change-plan"]
    exact = compiled(written(covered, explicit=True))
    assert exact.draft is not None
    assert inexact_allows(exact.draft, exact.suite) == []


def test_a_need_without_a_test_gets_its_row_beside_the_cell(edited: Edit) -> None:
    files = edited("needs.csv", add="needs, accountant, billing, change-plan, factor\n")
    files["conditions.toml"] = b"[conditions.factor]\nsecond_factor = true\n"
    lines = written(files)["expectations.csv"].decode().splitlines()
    row = lines.index(next(line for line in lines if "without factor" in line))
    assert "".join(lines[row].split()) == "deny,accountant,billing,change-plan,withoutfactor"
    assert lines[row - 1] == REVIEW
    assert "".join(lines[row - 2].split()) == "allow,accountant,billing,change-plan"
    assert compiled(written(files)).generation is not None


@pytest.mark.parametrize(
    ("before", "neighbour", "following"),
    [("users", None, "users"), ("integration", "billing", "integration"), ("audit", "policy", "audit")],
)
def test_a_row_stands_in_the_block_of_its_role_in_declared_order(
    edited: Edit, before: str, neighbour: str | None, following: str
) -> None:
    lines = written(with_section(edited, before))["expectations.csv"].decode().splitlines()
    fields = [[field.strip() for field in line.split(",")] for line in lines]
    for role in ("account-administrator", "accountant", "marketer"):
        [at] = [number for number, row in enumerate(fields) if row[1:3] == [role, "reports"]]
        assert lines[at - 1] == REVIEW
        assert fields[at - 2][1:3] == [role, neighbour] if neighbour else lines[at - 2] == f"# {role}"
        assert fields[at + 1][1:3] == [role, following]
        assert lines[at].index("reports") == lines[at + 1].index(following), "in the columns of the others"


def test_a_new_role_gets_a_block_after_the_role_before_it(edited: Edit) -> None:
    files = edited("roles.toml", ("[roles.developer]", '[roles.support]\ntitle = "Support"\n\n[roles.developer]'))
    lines = written(files)["expectations.csv"].decode().splitlines()
    at = lines.index("# support")
    assert "accountant" in lines[at - 2]
    assert lines[at - 1] == lines[at + 3] == ""
    assert lines[at + 1] == REVIEW
    assert lines[at + 4].startswith("# developer")
    first = edited(
        "roles.toml",
        ("[roles.account-administrator]", '[roles.support]\ntitle = "Support"\n\n[roles.account-administrator]'),
    )
    lines = written(first)["expectations.csv"].decode().splitlines()
    at = lines.index("# support")
    assert lines[at - 1] == lines[at + 3] == ""
    assert lines[at + 4] == "# account-administrator"


def test_route_tests_of_a_section_follow_the_section_before(edited: Edit) -> None:
    lines = written(with_section(edited, "integration"))["routes.csv"].decode().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("reports/view"))
    assert lines[at - 2 : at] == ["", REVIEW]
    assert lines[at - 3].startswith("unmatched,")
    assert "/dashboard/billing/" in lines[at - 3]
    assert lines[at + 1] == REVIEW
    assert lines[at + 3] == ""
    assert lines[at + 4].startswith("integration/view")


def test_a_public_path_gets_its_test_beside_the_public_ones(edited: Edit) -> None:
    files = edited("sections.toml", add='\n[[public]]\npath = "/help/*"\nmethods = ["GET"]\n')
    lines = written(files)["routes.csv"].decode().splitlines()
    at = next(number for number, line in enumerate(lines) if "/help/example" in line)
    assert lines[at].split(",")[0] == "public"
    assert lines[at - 2].startswith("public,")


@pytest.mark.parametrize(
    "routes",
    [
        ["/a/*", "/a/example"],
        ["/a/**", "/a/example/**", "/a/example-2/**"],
        ["/a/**", "/a"],
        ["/a/**", "/a/*", "/a/*/*"],
        ["/a/*/c/**", "/a/example/c/**"],
        ["/**"],
    ],
)
def test_the_example_of_a_route_is_decided_by_that_route(edited: Edit, routes: list[str]) -> None:
    """A more specific route may decide the first example of a wider one."""
    entries = "".join(f'  {{ path = "{path}", methods = ["GET"], action = "view" }},\n' for path in routes)
    section = f'[sections.extra]\ntitle = "Extra"\nactions = ["view"]\nroutes = [\n{entries}]\n\n'
    result = compiled(written(with_section(edited, "audit", section)))
    assert result.verdict.untested == ()
    assert result.verdict.failed == () or routes == ["/**"], "/** also decides paths that routes.csv expects unmatched"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_existing_lines_keep_their_bytes_and_their_order(edited: Edit, end: bytes) -> None:
    files = {name: content.replace(b"\n", end) for name, content in with_section(edited, "integration").items()}
    after = written(files)
    for name in ("expectations.csv", "routes.csv"):
        old, new = files[name].split(end), after[name].split(end)
        left = iter(new)
        assert all(line in left for line in old), "a subsequence"
        assert len(new) > len(old)
        assert b"\r" not in after[name].replace(end, b"")
    assert compiled(after).generation is not None


def test_a_second_run_finds_nothing_and_the_rows_pass(seed: Mapping[str, bytes]) -> None:
    """With a third of the exact rows deleted at random, except the rows beside a wildcard."""
    for number in range(25):
        chance = random.Random(number)
        files = dict(seed)
        for name in ("expectations.csv", "routes.csv"):
            lines = seed[name].decode().splitlines(keepends=True)
            kept = [line for line in lines if line.startswith("#") or " developer, " in line or chance.random() < 0.67]
            files[name] = "".join(kept).encode()
        after = compiled(written(files))
        assert after.generation is not None, [str(one) for one in after.diagnostics if one.is_error]
        assert after.verdict.ok
        assert {one.code.value for one in after.diagnostics} <= {"unreviewed-row"}
        assert proposed(written(files)) == []


def test_the_lines_of_written_rows_are_known(edited: Edit) -> None:
    for one in proposed(with_section(edited, "integration")):
        lines = one.written.decode().splitlines()
        assert one.written_rows
        assert all(lines[line - 1] == row and lines[line - 2] == REVIEW for line, row in one.written_rows)
        assert one.written.count(f"{REVIEW}\n".encode()) == len(one.written_rows)
