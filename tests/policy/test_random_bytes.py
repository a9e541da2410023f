"""For any bytes the compiler returns diagnostics: it never raises, and never accepts a broken policy."""

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import FILES, DiagnosticSink, path_of
from sidecar.policy.model import check_model
from sidecar.policy.text.format import format_csv

# Elements of the formats, so that random input gets past the first checks.
PIECES = [
    b"p", b"g", b",", b", ", b"\n", b"\r\n", b"\r", b"#", b" #", b'"', b'""', b"\t", b"\xef\xbb\xbf", b"\xff", b"\x00",
    "\u200b".encode(), "а".encode(), b"marketer", b"member", b"media-library", b"view", b"*", b"**", b"allow", b"deny",
    b"[", b"]", b"[[", b"]]", b"=", b"{", b"}", b"'", b"'''", b'"""', b"\\", b".", b"roles", b"sections", b"public",
    b"routes", b"path", b"methods", b"actions", b"title", b"GET", b"/", b"/a", b"1", b"1e9", b"true", b"2020-01-01",
    b"[conditions.a]", b"second_factor = true", b"methods = [", b"hours = {", b"needs", b" | ", b"without", b"a",
    b"[request_definition]", b"[matchers]", b"m = ", b"e = ", b"g(r.sub, p.sub)", b"&&", b"unmatched", b"(", b")", b";",
]  # fmt: skip
JUNK = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))


def assert_told(files: Mapping[str, bytes]) -> None:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.diagnostics == tuple(sorted(compiled.diagnostics))
    assert (compiled.generation is None) == any(d.is_error for d in compiled.diagnostics)
    names = {path_of(name) for name in FILES}
    for diagnostic in compiled.diagnostics:
        assert diagnostic.file in names
        assert diagnostic.line >= 1
        assert diagnostic.column >= 1
        assert diagnostic.message
        lines = files.get(diagnostic.file.removeprefix("policy/"), b"").count(b"\n") + 1
        assert diagnostic.line <= lines


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FILES), JUNK)
@example("sections.toml", b"[" * 3_000 + b"\n")
@example("sections.toml", b"a = " + b"[" * 3_000 + b"\n")
@example("roles.toml", b"a = " + b"9" * 5_000 + b"\n")
@example("roles.toml", b'a = """' + b'"' * 50)
@example("roles.toml", b"[roles.x]\ntitle = '''\n'''''\n")
@example("policy.csv", b"," * 10_000 + b"\n")
@example("policy.csv", b'"' * 10_001 + b"\n")
@example("routes.csv", b"public, GET, " + b"/a" * 10_000 + b"\n")
@example("model.conf", b"\\\n" * 1_000)
def test_one_file_of_junk(seed: Mapping[str, bytes], name: str, junk: bytes) -> None:
    assert_told({**seed, name: junk})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=st.sampled_from(FILES), junk=JUNK)
def test_junk_in_the_middle_of_a_file(seed: Mapping[str, bytes], data: st.DataObject, name: str, junk: bytes) -> None:
    content = seed[name]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    assert_told({**seed, name: content[:start] + junk + content[end:]})


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(FILES), JUNK))
def test_any_set_of_files(files: dict[str, bytes]) -> None:
    assert_told(files)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["policy.csv", "expectations.csv", "routes.csv", "needs.csv"]), JUNK)
def test_formatting_junk_gives_findings_or_a_stable_file(name: str, junk: bytes) -> None:
    findings = DiagnosticSink()
    written = format_csv(junk, name, findings)
    assert (written is None) == findings.has_errors
    if written is not None:
        assert format_csv(written, name, findings) == written
        assert not findings.has_errors


@settings(max_examples=100, deadline=None)
@given(JUNK)
def test_junk_is_never_the_model(junk: bytes) -> None:
    findings = DiagnosticSink()
    check_model(junk, findings)
    assert findings.has_errors


@pytest.mark.parametrize("cut", range(0, 900, 7))
def test_no_beginning_of_the_shipped_rules_is_taken_for_a_policy(seed: Mapping[str, bytes], cut: int) -> None:
    """A half-written file, cut at any place (also at a line's end, where only the expectations detect it)."""
    content = seed["policy.csv"]
    start = content.index(b"\np, account-administrator") + 1
    assert compile_policy({**seed, "policy.csv": content[: start + cut]}, proof=ProofScope.NONE).generation is None


@pytest.mark.parametrize("name", FILES)
def test_no_half_of_any_shipped_file_is_taken_for_a_policy(seed: Mapping[str, bytes], name: str) -> None:
    for part in range(1, 20):
        cut = seed[name][: len(seed[name]) * part // 20]
        assert compile_policy({**seed, name: cut}, proof=ProofScope.NONE).generation is None
