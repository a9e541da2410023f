"""Every broken policy of the corpus, with exactly the findings it must have; see bad/README.md.

Each is tried through the compiler and through `sidecar policy check`, which must report the same.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.cli.main import run
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import DiagnosticCode

HERE = Path(__file__).parent
Write = Callable[[Mapping[str, bytes]], tuple[Path, Path]]


def cases(folder: str) -> list[Path]:
    return sorted(path for path in (HERE / folder).iterdir() if path.is_dir())


def files_of(case: Path, seed: Mapping[str, bytes]) -> dict[str, bytes]:
    files = dict(seed)
    for path in case.iterdir():
        if path.name == "absent.txt":
            for name in path.read_text().split():
                del files[name]
        elif path.name != "expected.txt":
            assert path.name in files, path
            files[path.name] = path.read_bytes()
    return files


def expected_of(case: Path) -> list[str]:
    return (case / "expected.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("case", [*cases("bad"), *cases("suspicious")], ids=lambda case: case.name)
def test_every_finding_says_what_to_do(case: Path, seed: Mapping[str, bytes]) -> None:
    assert [d for d in compile_policy(files_of(case, seed)).diagnostics if not d.hint.strip()] == []


def test_the_corpus_is_large_enough() -> None:
    assert len(cases("bad")) >= 120


@pytest.mark.parametrize("case", cases("bad"), ids=lambda case: case.name)
def test_a_broken_policy_is_refused_with_exactly_these_findings(case: Path, seed: Mapping[str, bytes]) -> None:
    compiled = compile_policy(files_of(case, seed))

    assert [str(diagnostic) for diagnostic in compiled.diagnostics] == expected_of(case)
    assert compiled.generation is None


@pytest.mark.parametrize("case", cases("suspicious"), ids=lambda case: case.name)
def test_a_suspicious_policy_compiles_with_these_warnings(case: Path, seed: Mapping[str, bytes]) -> None:
    compiled = compile_policy(files_of(case, seed))

    assert [str(diagnostic) for diagnostic in compiled.diagnostics] == expected_of(case)
    assert compiled.generation is not None


@pytest.mark.parametrize("case", [*cases("bad"), *cases("suspicious")], ids=lambda case: case.name)
def test_policy_check_says_what_the_compiler_says(
    case: Path,
    seed: Mapping[str, bytes],
    write_policy: Write,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, _ = write_policy(files_of(case, seed))
    monkeypatch.chdir(folder.parent)

    status = run(["policy", "check", "--model", "model.conf"])

    out, err = capsys.readouterr()
    assert out.splitlines() == expected_of(case)
    assert err == ""
    assert status == (1 if case.parent.name == "bad" else 0)


@pytest.mark.parametrize("case", cases("suspicious"), ids=lambda case: case.name)
def test_strict_makes_warnings_errors(
    case: Path, seed: Mapping[str, bytes], write_policy: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = write_policy(files_of(case, seed))

    status = run(["policy", "check", "--strict", "--policy-dir", str(folder), "--model", str(model)])

    assert status == (1 if expected_of(case) else 0)
    assert ": warning: " not in capsys.readouterr().out


def test_every_code_that_a_file_can_cause_is_in_the_corpus(seed: Mapping[str, bytes]) -> None:
    told = {
        line.split(": ")[1] for folder in ("bad", "suspicious") for case in cases(folder) for line in expected_of(case)
    }
    elsewhere = {
        DiagnosticCode.INTERRUPTED_RENAME,  # left by a kill: tests/sources/test_policy_exchange.py
        DiagnosticCode.UNREADABLE_FILE,  # visible on a disk alone: tests/policy/test_policy_files.py
        DiagnosticCode.FILE_TOO_LARGE,
        DiagnosticCode.FILE_PERMISSIONS,
        DiagnosticCode.CASBIN_DISAGREES,  # only a bug can cause it: test_oracle.py
        DiagnosticCode.CASBIN_INSTALLATION,
        DiagnosticCode.NEEDS_DISAGREE,  # only a bug can cause it: test_needs_oracle.py
        DiagnosticCode.ROLE_IN_USE,  # needs the running sidecar
        DiagnosticCode.SIGNATURE,  # needs SIDECAR_POLICY_KEYS: tests/pdp/test_policy_signatures.py
        DiagnosticCode.LOW_COVERAGE,  # `policy test --threshold` alone: tests/cli/test_policy.py
    }
    assert told == set(DiagnosticCode) - elsewhere


def test_a_deny_is_warned_of_until_an_expectation_states_it(seed: Mapping[str, bytes]) -> None:
    """Each cell by itself; a role without an assignment has no cell of its own."""
    files = dict(seed)
    files["policy.csv"] += b"p, marketer, media-library, *, deny\np, member, account-settings, *, deny\n"

    def warned(*stated: str) -> list[str]:
        expectations = files["expectations.csv"].decode()
        for cell in stated:
            role, section, action = cell.split()
            expectations, times = re.subn(
                rf"(?m)^allow(, +{role}, +{section}, +{action})$", r"deny\1", expectations, count=1
            )
            assert times == 1
        found = compile_policy({**files, "expectations.csv": expectations.encode()}).diagnostics
        told = [d.message for d in found if d.code is DiagnosticCode.DENY_OVERRIDES_ALLOW]
        assert not any(" member on " in message for message in told), "inheriting roles have the cells"
        return [message for message in told if "marketer on media-library" in message]

    actions = ("view", "upload", "manage")
    cells = [f"marketer media-library {action}" for action in actions]
    (whole,) = warned()
    assert whole.endswith("marketer on media-library/view and 2 more")
    (less,) = warned(cells[0])
    assert less.endswith(" and 1 more")
    assert "media-library/view" not in less
    assert warned(*cells) == []


@pytest.mark.parametrize("verb", ["check", "test"])
def test_strict_passes_a_deny_that_an_expectation_states(
    verb: str, seed: Mapping[str, bytes], write_policy: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = write_policy(files_of(HERE / "suspicious" / "deny-over-a-wide-allow", seed))
    flags = ["--strict", "--policy-dir", str(folder), "--model", str(model)]
    assert run(["policy", verb, *flags]) == 0, capsys.readouterr().out


def test_the_corpus_has_forty_broken_conditions_and_needs() -> None:
    needs = [case for case in cases("bad") if (case / "conditions.toml").exists() or (case / "needs.csv").exists()]
    assert len(needs) >= 40


@pytest.mark.parametrize("folder", ["bad", "suspicious"])
def test_a_hint_names_every_file_that_its_edit_touches(folder: str, seed: Mapping[str, bytes]) -> None:
    """A rule that is added belongs to policy.csv; what it changes is expected in expectations.csv."""
    checked = 0
    for case in cases(folder):
        for found in compile_policy(files_of(case, seed), proof=ProofScope.NONE).diagnostics:
            hint, here = found.hint, found.file.rpartition("/")[2]
            if found.code in LACKING_FILES and here != "needs.csv":
                checked += 1
                lacking = [file for file in LACKING_FILES[found.code] if file != here and file not in hint]
                assert lacking == [], f"{case.name}: {found}"
            if re.search(r"\bp, [a-z-]+, [a-z*-]+, [a-z*-]+, (allow|deny)\b", hint) and here != "policy.csv":
                assert "policy.csv" in hint, f"{case.name}: {found}"
    assert checked >= 4


LACKING_FILES = {
    DiagnosticCode.ADMINISTRATOR_MISSING: ("roles.toml", "policy.csv", "expectations.csv"),
    DiagnosticCode.ADMINISTRATOR_LOCKED_OUT: ("expectations.csv",),
    DiagnosticCode.MEMBER_TOO_WIDE: ("policy.csv", "expectations.csv"),
    DiagnosticCode.UNUSED_ROLE: ("policy.csv", "expectations.csv"),
    DiagnosticCode.UNUSED_CONDITION: ("needs.csv", "expectations.csv"),
    DiagnosticCode.DENY_OVERRIDES_ALLOW: ("policy.csv", "expectations.csv"),
    DiagnosticCode.PUBLIC_OVER_SECTION: ("sections.toml", "routes.csv"),
    DiagnosticCode.PUBLIC_EVERYTHING: ("sections.toml", "routes.csv"),
    DiagnosticCode.FAILED_ROUTE: ("sections.toml", "routes.csv"),
    DiagnosticCode.FAILED_EXPECTATION: ("expectations.csv",),
}
"""Files that belong to the remedy of a code, in its hint or as the place of the finding."""
