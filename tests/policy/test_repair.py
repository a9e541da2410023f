"""`fmt --repair`: what spreadsheets and word processors do to the files is undone, and nothing ambiguous is."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.cli.main import run
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import content_hash
from sidecar.policy.text.csv_reader import read_lines, records
from sidecar.policy.text.format import format_csv
from sidecar.policy.text.repair import repair_csv
from tests.policy.needs_policies import CONDITIONS

CSV = ("policy.csv", "expectations.csv", "routes.csv", "needs.csv")
NEEDS = """\
# Needs: a comment with "quotes", commas; and semicolons, and – dashes “smart”.

needs, accountant, billing, change-plan, second-factor | office
needs, *,          *,       *,           recent-sign-in
"""
PATHS = 'public,    GET, "/a,b"\npublic,    GET, "/a ""q"""\npublic,    GET, "/a #b"\n'


@pytest.fixture(scope="module")
def files(seed: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The shipped files with needs, and with paths that need quotes, in the format of `fmt`."""
    routes = format_csv(seed["routes.csv"] + b"\n" + PATHS.encode(), "routes.csv", DiagnosticSink())
    assert routes is not None
    return {**seed, "needs.csv": NEEDS.encode(), "routes.csv": routes, "conditions.toml": CONDITIONS.encode()}


def repaired(data: bytes, name: str) -> bytes | None:
    content = repair_csv(data, name).content
    return None if content is None else format_csv(content, name, DiagnosticSink())


def rows(data: bytes, name: str = "policy.csv") -> list[tuple[str, ...]]:
    sink = DiagnosticSink()
    return [record.fields for record in records(read_lines(data, name, sink), name, sink)]


# -- what is repaired


def sheet(separator: str, *, quote_all: bool = False) -> Callable[[str], str]:
    """Return the text as a spreadsheet saves it: split at commas, padded, quoted where it must be."""

    def written(field: str) -> str:
        if quote_all or set(field) & {separator, '"'}:
            return '"' + field.replace('"', '""') + '"'
        return field

    def cells(line: str) -> list[str]:
        found, rest = [], line
        while rest:
            plain = rest.lstrip(" ")
            if plain.startswith('"'):
                end = plain.replace('""', "__").index('"', 1)
                found.append(plain[1:end].replace('""', '"'))
                rest = plain[end + 1 :].removeprefix(",")
            else:
                cell, _, rest = rest.partition(",")
                found.append(cell)
        return found

    def save(text: str) -> str:
        table = [cells(line) for line in text.split("\n")[:-1]]
        width = max(map(len, table))
        lines = [separator.join(map(written, [*row, *[""] * (width - len(row))])) for row in table]
        return "\n".join(lines) + "\n"

    return save


def quoted_lines(text: str) -> str:
    return "".join('"' + line.replace('"', '""') + '"\n' if line else "\n" for line in text.split("\n")[:-1])


def typed_in_words(text: str) -> str:
    """Smart quotes and dashes in rules, as a word processor types them."""
    lines = text.split("\n")
    plain = [line if line.startswith("#") or "/" in line else line.replace("-", "–") for line in lines]
    return "\n".join(line if line.startswith("#") else line.replace('"', "”", 1).replace('"', "“", 1) for line in plain)


DAMAGE: dict[str, Callable[[str], str]] = {
    "byte order mark": lambda text: "\ufeff" + text,
    "CR LF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "commas, padded": sheet(","),
    "semicolons, padded": sheet(";"),
    "tabs, padded": sheet("\t"),
    "all quoted": sheet(",", quote_all=True),
    "all quoted, with semicolons": sheet(";", quote_all=True),
    "quotes around whole lines": quoted_lines,
    "smart quotes and dashes": typed_in_words,
    "all of Excel": lambda text: "\ufeff" + sheet(";")(text).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", CSV)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_undone_to_the_byte(files: Mapping[str, bytes], name: str, damage: Callable[[str], str]) -> None:
    damaged = damage(files[name].decode()).encode()
    assert repair_csv(damaged, name).refusals == []
    assert repaired(damaged, name) == files[name]


@pytest.mark.parametrize("name", CSV)
def test_a_whole_file_is_left_alone(files: Mapping[str, bytes], name: str) -> None:
    repair = repair_csv(files[name], name)
    assert (repair.content, repair.changes, repair.refusals) == (files[name], [], [])


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("p;a;b;*;allow", "p, a, b, *, allow"),
        ("p\ta\tb\t*\tallow", "p, a, b, *, allow"),
        ("p,a,b,*,allow,,,", "p, a, b, *, allow"),
        ("g;a;b;;", "g, a, b"),
        (",,,,", ""),
        ('"p, a, b, *, allow"', "p, a, b, *, allow"),
        ('"p;a;b;*;allow"', "p, a, b, *, allow"),
        ("“p”, “a”, “b”, “*”, “allow”", "p, a, b, *, allow"),
        ("p, media–library, image—settings, *, allow", "p, media-library, image-settings, *, allow"),
        ('"# a, comment"', "# a, comment"),
    ],
)
def test_a_line_is_repaired_and_shown(line: str, after: str) -> None:
    repair = repair_csv(f"# x\n{line}\np, c, d, *, allow\n".encode(), "policy.csv")
    assert repair.content == f"# x\n{after}\np, c, d, *, allow\n".encode()
    [change] = repair.changes
    assert (change.line, change.before, change.after) == (2, line, after)
    assert change.causes


def test_lines_with_other_separators_may_be_mixed() -> None:
    data = b"p, a, b, *, allow\np;c;d;*;allow\n\np\te\tf\t*\tallow\n"
    assert repaired(data, "policy.csv") == b"p, a, b, *, allow\np, c, d, *, allow\n\np, e, f, *, allow\n"


def test_comments_keep_their_signs() -> None:
    """Dashes and quotes of a comment are prose. Nothing but a spreadsheet's padding is removed."""
    comments = "# a – b; “c”, d,\n#e\n"
    data = f"{comments}p;a;b;*;allow\n".encode()
    assert repaired(data, "policy.csv") == f"{comments}p, a, b, *, allow\n".encode()


def test_a_path_keeps_its_dash_and_its_semicolon() -> None:
    data = "public; GET; /a–b\nunmatched, GET, /x;a=1\nunmatched\tGET\t/y;a=1\n".encode()
    after = "public,    GET, /a–b\nunmatched, GET, /x;a=1\nunmatched, GET, /y;a=1\n"
    assert repaired(data, "routes.csv") == after.encode()


# -- what is refused


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("policy.csv", "p, a; b, *, allow", "two separators, comma and semicolon"),
        ("policy.csv", "p,\ta,\tb,\t*,\tallow", "two separators, comma and tab"),
        ("policy.csv", "p;a\tb;*;allow", "two separators, semicolon and tab"),
        ("policy.csv", "p;a;b,c;*;allow", "two separators"),
        ("routes.csv", "public;GET;/a,b", "two separators"),
        ("routes.csv", "public, GET, /a,b", "4 fields instead of 3: quote a field that contains a comma"),
        ("routes.csv", "public;GET;/a;b", "4 fields instead of 3: quote a field that contains a semicolon"),
        ("policy.csv", "p;a;b;*;allow;deny", "6 fields instead of 5"),
        ("policy.csv", 'p, "a, b, *, allow', "quotes of the row do not balance"),
        ("policy.csv", "# see below\rp, a, b, *, allow", "a CR in a comment"),
        ("policy.csv", "p, c, d, *, allow\r# so\rp, a, b, *, allow", "a CR in a comment"),
    ],
)
def test_an_ambiguous_line_is_refused_and_its_file_stays(name: str, line: str, reason: str) -> None:
    repair = repair_csv(f"\ufeff# x\n{line}\n# y\n".encode(), name)
    assert repair.content is None
    [refusal] = repair.refusals
    assert refusal.line == 2
    assert reason in refusal.message


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("p, mаrketer, billing, *, allow;", None),
        ("p;m\u0430rketer;billing;*;allow", None),
        ("p;mark\u200beter;billing;*;allow", "invisible-character"),
        ("p;mark\u00a0eter;billing;*;allow", "invisible-character"),
        ("p;marketer；billing;*;allow", None),
        ("p, marketer， billing, *, allow", None),
        ("＃ p;a;b;*;allow", None),
    ],
)
def test_lookalikes_and_invisible_characters_are_never_repaired(line: str, code: str | None) -> None:
    repair = repair_csv(f"p;c;d;*;allow\n{line}\n".encode(), "policy.csv")
    strange = {character for character in line if not character.isascii()}
    if repair.content is not None:
        assert strange <= set(repair.content.decode()), "the character is still there for the check"
        findings = DiagnosticSink()
        formatted = format_csv(repair.content, "policy.csv", findings)
        assert formatted is None or strange <= set(formatted.decode())
        assert code is None or code in [found.code.value for found in findings.sorted()]


# -- any bytes


TEXT = st.text(st.sampled_from('p,g;\t "#\r\n*“”–-aаb\u200b\ufeff/|'), max_size=60)


@settings(max_examples=400, deadline=None)
@given(TEXT, st.sampled_from(CSV))
@example("# a\rp,a,b,*,allow\n", "policy.csv")
@example('"', "policy.csv")
@example("\ufeff", "routes.csv")
def test_any_text_is_repaired_refused_or_left(text: str, name: str) -> None:
    repair = repair_csv(text.encode(), name)
    assert (repair.content is None) is bool(repair.refusals)
    if repair.content is None:
        return
    again = repair_csv(repair.content, name)
    assert again.content is None or "\r" not in again.content.decode()
    if not repair.changes:
        assert repair.content == text.encode()
    kept = {character for character in text if character in "а\u200b"}
    assert kept <= set(repair.content.decode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_repaired_refused_or_left(data: bytes) -> None:
    for name in CSV:
        repair_csv(data, name)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_no_comment_of_a_file_with_lf_becomes_a_rule(text: str) -> None:
    """Every line that begins with ``#`` for a reader of LF holds no rule after the repair."""
    comments = [line for line in ("x\n" + text + "\n").split("\n") if line.lstrip(" ").startswith("#")]
    data = ("".join(f"{line}\n" for line in comments)).encode()
    repair = repair_csv(data, "policy.csv")
    if repair.content is not None and b"\n" in data.replace(b"\r\n", b""):
        assert rows(repair.content) == []


def test_a_large_file_is_repaired_in_linear_time(files: Mapping[str, bytes]) -> None:
    rng = random.Random(3)
    lines = [f"p;role-{rng.randrange(50)};section-{index};*;allow;;" for index in range(20_000)]
    assert len(repair_csv("\n".join(lines).encode(), "policy.csv").changes) == 20_000


# -- the verb


@pytest.fixture
def place(write_policy, files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder, _ = write_policy(files)
    monkeypatch.chdir(tmp_path)
    return Path(folder)


def test_the_verb_shows_changes_and_restores_the_generation(
    place: Path, files: Mapping[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in CSV:
        (place / name).write_bytes(("\ufeff" + sheet(";")(files[name].decode())).encode())
    assert run(("policy", "fmt", "--repair", "--check")) == 1
    checked = capsys.readouterr().out
    assert (place / "policy.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert run(("policy", "fmt", "--repair")) == 0
    assert capsys.readouterr().out == checked
    assert "policy/policy.csv:1: byte order mark: U+FEFF → nothing\n" in checked.replace("\\ufeff", "U+FEFF")
    assert (
        "policy/needs.csv:4: semicolon as separator: needs; *;          *;       *;           recent-sign-in"
        " → needs, *, *, *, recent-sign-in\n"
    ) in checked
    assert "policy/policy.csv\n" in checked
    found = {name: (place.parent / name if name == "model.conf" else place / name).read_bytes() for name in files}
    assert content_hash(found) == content_hash(files)
    assert run(("policy", "fmt", "--repair", "--check")) == 0
    assert capsys.readouterr().out == ""


def test_the_verb_refuses_and_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = (place / "policy.csv").read_bytes() + b"# x\rp, marketer, billing, *, allow\np;a;b;*;allow\n"
    (place / "policy.csv").write_bytes(damaged)
    assert run(("policy", "fmt", "--repair")) == 1
    assert capsys.readouterr().out == (
        "policy/policy.csv:36: not repaired: a CR in a comment: as a line end it would make a rule of its rest\n"
    )
    assert (place / "policy.csv").read_bytes() == damaged


def test_without_repair_nothing_is_repaired(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = b"\xef\xbb\xbf" + (place / "policy.csv").read_bytes()
    (place / "policy.csv").write_bytes(damaged)
    assert run(("policy", "fmt")) == 1
    assert "byte-order-mark" in capsys.readouterr().out
    assert (place / "policy.csv").read_bytes() == damaged


# -- LibreOffice


SOFFICE = shutil.which("soffice")
OPENED = {"comma": "44,34,76,1", "semicolon": "59,34,76,1", "default": ""}
SAVED = {
    "comma": "44,34,76,1,,0,false,true,false",
    "semicolon": "59,34,76,1,,0,false,true,false",
    "tab": "9,34,76,1,,0,false,true,false",
    "quoted": "44,34,76,1,,0,true,true,false",
    "default": "",
}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of LibreOffice, which it writes once."""
    return tmp_path_factory.mktemp("profile")


@pytest.mark.slow
@pytest.mark.skipif(SOFFICE is None, reason="soffice is not installed: apt-get install libreoffice-calc")
@pytest.mark.parametrize(
    ("opened", "saved"),
    [
        *(("comma", saved) for saved in SAVED),
        ("semicolon", "comma"),
        ("semicolon", "semicolon"),
        ("default", "default"),
    ],
)
def test_libreoffice_opens_and_saves_without_a_lasting_change(
    files: Mapping[str, bytes], tmp_path: Path, profile: Path, opened: str, saved: str
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    if opened == "default":  # its encoding is that of the machine
        files = {**files, "needs.csv": NEEDS.encode("ascii", "ignore")}
    for name in CSV:
        (before / name).write_bytes(files[name])
    infilter = [f"--infilter=Text - txt - csv (StarCalc):{OPENED[opened]}"] if OPENED[opened] else []
    form = f"csv:Text - txt - csv (StarCalc):{SAVED[saved]}" if SAVED[saved] else "csv"
    names = [str(before / name) for name in CSV]
    done = subprocess.run(
        [
            str(SOFFICE),
            f"-env:UserInstallation=file://{profile}",
            "--headless",
            *infilter,
            "--convert-to",
            form,
            "--outdir",
            str(after),
            *names,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "HOME": str(profile), "LC_ALL": "C.UTF-8"},
        preexec_fn=lambda: os.nice(19),
    )
    assert done.returncode == 0, done.stderr
    for name in CSV:
        content = (after / name).read_bytes()
        assert repair_csv(content, name).refusals == [], name
        assert repaired(content, name) == files[name], name
