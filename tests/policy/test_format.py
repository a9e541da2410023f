"""`fmt`: stable, keeps comments, order and meaning."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.text.csv_reader import read_lines, records
from sidecar.policy.text.format import format_csv


def formatted(text: str, name: str = "policy.csv") -> str:
    findings = DiagnosticSink()
    written = format_csv(text.encode(), name, findings)
    assert written is not None, findings.sorted()
    return written.decode()


@pytest.mark.parametrize("name", ["policy.csv", "expectations.csv", "routes.csv"])
def test_the_shipped_files_are_formatted(seed: Mapping[str, bytes], name: str) -> None:
    assert formatted(seed[name].decode(), name) == seed[name].decode()


FORMATTED = {
    "fields are aligned, and the last one ends the line": (
        "p,a,media-library,*,allow\np, accountant ,x,view, deny\n",
        "p, a,          media-library, *,    allow\np, accountant, x,             view, deny\n",
    ),
    "p and g have columns of their own": (
        "p,a,b,c,allow\ng,long-name,x\n",
        "p, a, b, c, allow\ng, long-name, x\n",
    ),
    "comments stay in place": (
        "# one\np,a,b,c,allow\n   # two: é, \t ü  \n\np,b,b,c,allow\n# end\n",
        "# one\np, a, b, c, allow\n# two: é, \t ü\n\np, b, b, c, allow\n# end\n",
    ),
    "one blank line separates groups": (
        "\n\n# a\n\n\n\np,a,b,c,allow\n\n \n",
        "# a\n\np, a, b, c, allow\n",
    ),
    "line ends become LF, and a missing one is added": (
        "p,a,b,c,allow\r\ng,a,b",
        "p, a, b, c, allow\ng, a, b\n",
    ),
    "names need not exist": (
        "p,nobody,nowhere,nothing,allow\n",
        "p, nobody, nowhere, nothing, allow\n",
    ),
}


@pytest.mark.parametrize(("text", "expected"), FORMATTED.values(), ids=FORMATTED)
def test_a_policy_is_formatted(text: str, expected: str) -> None:
    assert formatted(text) == expected


def test_quotes_stay_only_where_they_must() -> None:
    text = (
        'public, GET, "/plain"\npublic, GET, "/a,b"\npublic, GET, "/a ""q"""\npublic, GET, "/a #b"\npublic, GET, /a#b\n'
    )
    assert formatted(text, "routes.csv") == (
        'public, GET, /plain\npublic, GET, "/a,b"\npublic, GET, "/a ""q"""\npublic, GET, "/a #b"\npublic, GET, /a#b\n'
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("p,a,b,c,allow # why\n", Code.INLINE_COMMENT),
        ('p,"a,b,c,allow\n', Code.UNBALANCED_QUOTE),
        ("p\ta\tb\n", Code.TAB),
        ("p,a,b,c,allow,\n", Code.TRAILING_COMMA),
        ("p,a\u200b,b,c,allow\n", Code.INVISIBLE_CHARACTER),
        ("p,a,b,c,allow\rp,b\n", Code.CR_LINE_END),
        ("", Code.EMPTY_FILE),
    ],
)
def test_a_file_that_cannot_be_read_is_left_alone(text: str, code: Code) -> None:
    findings = DiagnosticSink()
    assert format_csv(text.encode(), "policy.csv", findings) is None
    assert [found.code for found in findings.sorted()] == [code]


FIELD = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z", "M"]), min_size=1, max_size=8).filter(
    lambda field: "#" not in field
)
LINE = st.one_of(
    st.lists(FIELD, min_size=1, max_size=6).map(
        lambda fields: ",".join('"' + f.replace('"', '""') + '"' if set(f) & set('",') else f" {f} " for f in fields)
    ),
    st.just(""),
    FIELD.map(lambda text: f"# {text}"),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=12))
def test_formatting_keeps_content_and_is_idempotent(lines: list[str]) -> None:
    data = ("\n".join(lines) + "\n").encode()
    findings = DiagnosticSink()
    written = format_csv(data, "policy.csv", findings)
    if written is None:
        assert findings.has_errors
        return
    assert format_csv(written, "policy.csv", DiagnosticSink()) == written
    assert fields_of(written) == fields_of(data)
    assert comments_of(written) == comments_of(data)


def fields_of(data: bytes) -> list[tuple[str, ...]]:
    return [r.fields for r in records(read_lines(data, "policy.csv", DiagnosticSink()), "policy.csv", DiagnosticSink())]


def comments_of(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode().split("\n") if line.strip().startswith("#")]


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_formatting_changes_no_cell(seed: Mapping[str, bytes], random, spaces: int) -> None:  # type: ignore[no-untyped-def]
    lines = seed["policy.csv"].decode().splitlines()
    ragged = [
        line if line.startswith("#") else line.replace(",", "," + " " * random.randint(0, spaces)) for line in lines
    ]
    files = {**seed, "policy.csv": ("\n\n".join(ragged) + "\n").encode()}
    written = format_csv(files["policy.csv"], "policy.csv", DiagnosticSink())
    assert written is not None
    before = compile_policy(files, proof=ProofScope.NONE).generation
    after = compile_policy({**files, "policy.csv": written}, proof=ProofScope.NONE).generation
    assert before is not None
    assert after is not None
    assert before.allowed == after.allowed
