"""Fixes of findings over the corpus: a hint with an edit has that edit, and the edit ends the finding."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.editing.buffers import Buffer, apply_edits
from sidecar.policy.editing.missing import missing_edits
from sidecar.policy.editing.quick_fixes import Finding, Fix, fixes_of
from sidecar.policy.stages import RememberedStages
from tests.policy.test_corpus import cases, files_of

Files = Mapping[str, bytes]

WITHOUT_EDIT = (
    r"(make one of them|write exactly one|ask for a method|keep a way|rename one|change one|a request has)",
    r"(write the intended value|write without A|a rule is|a test is|add \[|the form is|like GET|an? \w+ is \d+ to \d+)",
    r"(like /|write the decoded path|write public, unmatched|write own SECTION|give the rule|move the rule|declare )",
    r"(a test names|name one section and one action|write a line for each role)",
    r"(`sidecar init|name another section|delete the unused|use |list the public|inherit from)",
    r"(give it a rule|add rules to|write \{account\} or \{user\} in the path)",
    r"(write \[table\]|a quoted field|known here|assign roles|add path|name at least one$|name each day once)",
    r"(write 1m to|write a name like|write a whole number|write account =|write an address|write hours and minutes)",
    r'(write [\w-]+ = ("…"|\["…", "…"\]|\{ name = "…" \})$|write \[\[?[\w.-]+\]|save )',
)
"""Hints that leave the words to the author, or that are about more than the text."""


UNNAMED = {
    "escape-sequence",
    "expectations-of-a-removed-section",
    "expression-in-a-cell",
    "regex-as-section",
    "route-test-slash-only",
    "three-unknown-names-in-one-rule",
}
"""Cases with a name that the text does not have as the message quotes it, or with too many names to choose from."""


STAGES = RememberedStages()


def texts_of(files: Files) -> dict[str, str] | None:
    """Return the text of all files, or None if an editor could not show one of them."""
    if any(b"\r" in data.replace(b"\r\n", b"") for data in files.values()):
        return None
    try:
        return {name: data.decode() for name, data in files.items()}
    except UnicodeDecodeError:
        return None


def compiled(texts: Mapping[str, str]) -> Compiled:
    files = {name: text.encode() for name, text in texts.items()}
    return compile_policy(files, proof=ProofScope.NONE, stages=STAGES)


def finding_of(diagnostic: Diagnostic, texts: Mapping[str, str]) -> Finding:
    buffers = {name: Buffer(name, text) for name, text in texts.items()}
    name, found = diagnostic.file.rpartition("/")[2], diagnostic
    places = tuple((place.line, place.column) for place in getattr(found, "places", ()))
    everywhere = ((found.line, found.column), *places) if places else ()
    return Finding(found.code, name, found.line, found.column, found.message, found.hint, buffers, everywhere)


def same_kind(found: Compiled, like: Diagnostic) -> int:
    """Count the places of findings of a code that name the same thing."""
    head = like.message.split(": ")[0]
    return sum(
        1 + len(getattr(one, "places", ()))
        for one in found.diagnostics
        if (one.code, one.file) == (like.code, like.file) and one.message.split(": ")[0] == head
    )


def corpus(seed: Files) -> Iterator[tuple[Path, dict[str, str]]]:
    for case in [*cases("bad"), *cases("suspicious")]:
        texts = texts_of(files_of(case, seed))
        if texts is not None:
            yield case, texts


@pytest.mark.slow
def test_every_fix_ends_its_finding(seed: Files) -> None:
    tried = 0
    for case, texts in corpus(seed):
        before = compiled(texts)
        for diagnostic in before.diagnostics:
            for fix in fixes_of(finding_of(diagnostic, texts)):
                tried += 1
                after = compiled(apply_edits(texts, fix.edits))
                assert same_kind(after, diagnostic) < same_kind(before, diagnostic), f"{case.name}: {fix.title}"
    assert tried > 250


def test_every_hint_with_an_edit_has_a_fix(seed: Files) -> None:
    without = re.compile("|".join(WITHOUT_EDIT))
    missing, unused = [], set(WITHOUT_EDIT)
    for case, texts in corpus(seed):
        for diagnostic in compiled(texts).diagnostics:
            if not fixes_of(finding_of(diagnostic, texts)):
                unused -= {one for one in WITHOUT_EDIT if re.match(one, diagnostic.hint)}
                if not without.match(diagnostic.hint):
                    missing.append(f"{case.name}: {diagnostic}")
    assert unused == set()
    assert {one.partition(": ")[0] for one in missing} - UNNAMED == set(), missing


def fixes(texts: Mapping[str, str], code: Code) -> list[Fix]:
    diagnostic = next(one for one in compiled(texts).diagnostics if one.code is code)
    return fixes_of(finding_of(diagnostic, texts))


def test_a_misspelt_name_is_corrected_where_it_is(seed: Files) -> None:
    texts = {name: data.decode() for name, data in seed.items()}
    texts["policy.csv"] += "p, developer, bilIing, view, allow\n"
    (one,) = fixes(texts, Code.UNKNOWN_SECTION)
    assert one.certain
    assert apply_edits(texts, one.edits)["policy.csv"].endswith("p, developer, billing, view, allow\n")


def test_crlf_files_keep_their_line_ends(seed: Files) -> None:
    texts = {name: data.decode().replace("\n", "\r\n") for name, data in seed.items()}
    texts["policy.csv"] += "p, developer, billing, view, allow # why\r\n"
    (one,) = fixes(texts, Code.INLINE_COMMENT)
    assert apply_edits(texts, one.edits)["policy.csv"].endswith("# why\r\np, developer, billing, view, allow\r\n")


def test_missing_tests_are_written_in_their_blocks(seed: Files) -> None:
    texts = {name: data.decode() for name, data in seed.items()}
    texts["sections.toml"] += (
        '\n[sections.reports]\ntitle = "Reports"\nactions = ["view", "create"]\n'
        'routes = [{ path = "/reports/**", methods = ["GET"], action = "view" }]\n'
    )
    texts["policy.csv"] += "p, accountant, reports, view, allow\n"
    before = compiled(texts)
    buffers = {name: Buffer(name, text) for name, text in texts.items()}
    after = apply_edits(texts, missing_edits(before, buffers))
    found = compiled(after).diagnostics
    assert [one for one in found if one.is_error] == []
    rows = [[field.strip() for field in line.split(",")] for line in after["expectations.csv"].split("\n")]
    row = rows.index(["allow", "accountant", "reports", "view"])
    assert rows[row - 1] == ["# review"]
    following = next(number for number, fields in enumerate(rows) if fields[1:2] == ["developer"])
    assert rows[row - 2][1] == "accountant", "inside the accountant's block"
    assert row < following
    assert re.search(r"# review\nreports/view, +GET, +/reports/example\n", after["routes.csv"])


def test_both_sides_of_a_conflict_can_be_kept(seed: Files) -> None:
    texts = {name: data.decode() for name, data in seed.items()}
    upper, lower = "p, marketer, analytics, view, allow\n", "p, marketer, billing, view, allow\n"
    texts["policy.csv"] += f"<<<<<<< ours\n{upper}||||||| base\n=======\n{lower}>>>>>>> theirs\n"
    kept = [apply_edits(texts, one.edits)["policy.csv"] for one in fixes(texts, Code.MERGE_CONFLICT)]
    base = seed["policy.csv"].decode()
    assert kept == [base + upper, base + lower]


def test_an_implied_alternative_moves_to_a_line_of_its_own(seed: Files) -> None:
    texts = {name: data.decode() for name, data in seed.items()}
    texts["conditions.toml"] += '[conditions.key]\nmethods = ["passkey"]\n[conditions.second]\nsecond_factor = true\n'
    texts["needs.csv"] += "needs, accountant, billing, change-plan, key | second\n"
    titles = {one.title: apply_edits(texts, one.edits)["needs.csv"] for one in fixes(texts, Code.IMPLIED_ALTERNATIVE)}
    assert titles['Delete "key"'].endswith("change-plan, second\n")
    assert titles['Write "key" in a line of its own'].endswith(
        "change-plan, second\nneeds, accountant, billing, change-plan, key\n"
    )
