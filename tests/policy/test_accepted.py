"""Accepted variants: spacing, comments, quotes, CR LF, every TOML form of the same value."""

from collections.abc import Callable, Mapping

import pytest

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.declarations import default_title
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, closest, did_you_mean
from sidecar.policy.generation import Generation
from sidecar.policy.model import MODEL, check_model
from sidecar.policy.text.csv_reader import read_lines, records
from sidecar.policy.text.toml_reader import read_toml

Edit = Callable[..., dict[str, bytes]]


def accepted(files: Mapping[str, bytes]) -> Generation:
    compiled = compile_policy(files, proof=ProofScope.NONE)
    assert compiled.generation is not None, list(map(str, compiled.diagnostics))
    assert compiled.diagnostics == ()
    return compiled.generation


@pytest.mark.parametrize(
    "name", ["policy.csv", "roles.toml", "sections.toml", "expectations.csv", "routes.csv", "model.conf"]
)
def test_cr_lf_line_ends(seed: Mapping[str, bytes], shipped: Generation, name: str) -> None:
    generation = accepted({**seed, name: seed[name].replace(b"\n", b"\r\n")})
    assert generation.id != shipped.id
    assert generation.allowed == shipped.allowed
    assert [rule.line for rule in generation.rules] == [rule.line for rule in shipped.rules]


@pytest.mark.parametrize(
    "line",
    [
        "p,marketer,media-library,*,allow",
        "   p ,  marketer ,media-library  , * ,allow   ",
        'p, "marketer", "media-library", "*", "allow"',
        '"p", marketer, media-library, *, allow',
        '  "p"  ,  "marketer"  ,media-library,*,allow  ',
    ],
)
def test_spacing_and_quotes_of_a_rule(edited: Edit, shipped: Generation, line: str) -> None:
    files = edited("policy.csv", ("p, marketer,              media-library,      *, allow", line))
    assert accepted(files).rules == shipped.rules


def test_comments_and_blank_lines_anywhere(edited: Edit) -> None:
    accepted(
        edited("policy.csv", ("g, marketer", '  # indented, with "quotes", commas, a # and é\n\n   \n#\ng, marketer'))
    )


def test_a_line_is_what_a_newline_ends(seed: Mapping[str, bytes]) -> None:
    """Not a line end of str.splitlines."""
    findings = DiagnosticSink()
    lines = read_lines("a\x0bb\x0cc\x1cd\u2028e\x85f\n".encode(), "policy.csv", findings)
    assert len(lines) == 1
    assert len(findings.sorted()) == 5


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a,b", ("a", "b")),
        ('"a,b",c', ("a,b", "c")),
        ('"a ""b"" c"', ('a "b" c',)),
        ('"# a" , b', ("# a", "b")),
        ("a#b, c", ("a#b", "c")),
        ('" a "', (" a ",)),
    ],
)
def test_fields_as_rfc_4180_has_them(line: str, fields: tuple[str, ...]) -> None:
    findings = DiagnosticSink()
    [record] = records(read_lines(line.encode() + b"\n", "policy.csv", findings), "policy.csv", findings)
    assert record.fields == fields
    assert findings.sorted() == ()


def test_columns_count_characters_not_bytes() -> None:
    findings = DiagnosticSink()
    [record] = records(read_lines("é,  ü, x\n".encode(), "policy.csv", findings), "policy.csv", findings)
    assert [record.at(index) for index in range(4)] == [(1, 1), (1, 5), (1, 8), (1, 9)]


# -- model.conf


def problems(text: str) -> list[str]:
    findings = DiagnosticSink()
    check_model(text.encode(), findings)
    return [f"{found.line}: {found.code}" for found in findings.sorted()]


SPACED = MODEL.replace(", ", " ,").replace("(", "( ").replace(")", " )").replace(" && ", "&&").replace("==", " == ")


@pytest.mark.parametrize(
    "text",
    [
        MODEL,
        MODEL.rstrip("\n"),
        MODEL.replace("\n", "\r\n"),
        MODEL.replace("[", "\n\n# comment = [x]\n; another\n   ["),
        MODEL.replace(" = ", "="),
        SPACED,
        MODEL.replace("r = sub, obj, act", "r = sub, obj, act  # who, where, what"),
        MODEL.replace(") && (p.act", ") \\\n   && (p.act"),
        "\n".join(reversed(MODEL.split("\n\n"))),
        MODEL.replace("m = g", "\tm\t=\tg"),
    ],
)
def test_spacing_comments_and_order_of_the_model_are_free(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("sub, obj, act, eft", "sub, obj, act, eft,", Code.MODEL_POLICY),
        ("sub, obj, act, eft", "sub obj, act, eft", Code.MODEL_POLICY),
        ("g = _, _", "g = _,_,", Code.MODEL_ROLES),
        ('"*"', '"* "', Code.MODEL_MATCHER),
        ('"*"', "*", Code.MODEL_MATCHER),
        ("r.sub", "r. sub", Code.MODEL_MATCHER),
        ("&& (p.act", "and (p.act", Code.MODEL_MATCHER),
        ("== allow", '== "allow"', Code.MODEL_EFFECT),
        ("some(where", "some (wher", Code.MODEL_EFFECT),
        ("!some", "! ! some", Code.MODEL_EFFECT),
        ("r.act == p.act", "r.act == p.act || true", Code.MODEL_MATCHER),
        ("m = g", "m = m = g", Code.MODEL_MATCHER),
        ("e = some", "e == some", Code.MODEL_EFFECT),
    ],
)
def test_a_word_more_or_less_is_another_model(old: str, new: str, code: Code) -> None:
    assert MODEL.count(old) >= 1
    assert [told.partition(": ")[2] for told in problems(MODEL.replace(old, new, 1))] == [code.value]


# -- the TOML files


def test_routes_may_be_written_as_tables(edited: Edit, shipped: Generation) -> None:
    files = edited(
        "sections.toml",
        (
            'routes = [\n  { path = "/dashboard/audit/**", methods = ["GET"], action = "view" },\n]\n',
            '[[sections.audit.routes]]\npath = "/dashboard/audit/**"\nmethods = ["GET"]\naction = "view"\n',
        ),
    )
    assert [route.path for route in accepted(files).routes.routes] == [r.path for r in shipped.routes.routes]


def test_get_and_head_may_stand_together(edited: Edit, shipped: Generation) -> None:
    files = edited("sections.toml", ('methods = ["GET"]', 'methods = ["GET", "HEAD"]'))
    assert accepted(files).routes.resolve("HEAD", "/login") == shipped.routes.resolve("HEAD", "/login")


def test_quoted_keys_dotted_keys_and_literal_strings(edited: Edit) -> None:
    files = edited(
        "roles.toml",
        ('[roles.marketer]\ntitle = "Marketer"\n', "[roles.'marketer']\n\"title\" = '''Marketer'''\n"),
        ("assignable = false\n", "assignable = false # never\n"),
    )
    assert accepted(files).roles["marketer"].title == "Marketer"
    dotted = edited("roles.toml", ('[roles.member]\ntitle = "Member"\n', '[roles]\nmember.title = "Member"\n'))
    moved = dotted["roles.toml"].replace(b"description = \"One's", b"member.description = \"One's")
    accepted({**dotted, "roles.toml": moved.replace(b"\nassignable", b"\nmember.assignable")})


def test_a_description_may_be_left_out(edited: Edit) -> None:
    files = edited("roles.toml", ('description = "The media library."\n', ""))
    assert accepted(files).roles["marketer"].description == ""


def test_a_section_needs_no_routes(edited: Edit) -> None:
    files = edited(
        "sections.toml",
        ("[sections.audit]", '[sections.extra]\ntitle = "Extra"\nactions = ["view"]\n\n[sections.audit]'),
    )
    for role, effect in (
        ("account-administrator", "allow"),
        ("accountant", "deny"),
        ("developer", "deny"),
        ("marketer", "deny"),
    ):
        files = edited("expectations.csv", add=f"{effect}, {role}, extra, view\n", files=files)
    assert "extra" in accepted(files).sections


def test_every_key_knows_its_line() -> None:
    text = (
        b'# comment with [brackets] = "x"\n'
        b"[a]\n"
        b'b = """\nlong\n"""\n'
        b"c.d = [ # why\n  { e = 1, f = ']' },\n  {\n  e = 2 },\n]\n"
        b"[[t]]\nx = '''\n[not a table]\n'''\n[[t]]\nx = 2\n[t.u]\ny = 2020-01-01 10:00:00\n"
    )
    root = read_toml(text.replace(b"{\n  e = 2 }", b"{ e = 2 }"), "roles.toml", DiagnosticSink())
    assert root is not None
    at = root.document.at
    assert at(("a",)) == (2, 1)
    assert at(("a", "b")) == (3, 1)
    assert at(("a", "c", "d")) == (6, 1)
    assert at(("a", "c", "d", 0, "f")) == (7, 12)
    assert at(("a", "c", "d", 1)) == (8, 3)
    assert at(("t", 0)) == (10, 1)
    assert at(("t", 1, "x")) == (15, 1)
    assert at(("t", 1, "u", "y")) == (17, 1)
    assert at(("t", 1, "nothing", "known")) == (14, 1)
    assert at(("nothing",)) == (1, 1)


# -- did you mean


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("marketeer", "marketer"),
        ("Marketer", "marketer"),
        ("MEDIA LIBRARY", "media-library"),
        ("media_library", "media-library"),
        ("medialibrary", "media-library"),
        ("billling", "billing"),
        ("xyz", None),
        ("", None),
    ],
)
def test_what_was_most_likely_meant(name: str, nearest: str | None) -> None:
    assert closest(name, ["marketer", "media-library", "billing"]) == nearest
    assert did_you_mean(name, ["marketer", "media-library", "billing"]) == (
        f'did you mean "{nearest}"?' if nearest else ""
    )


@pytest.mark.parametrize(
    "written",
    [
        'action_titles = { change-plan = "Change the plan" }',
        'action_titles = { "change-plan" = "Change the plan" }',
        'action_titles.change-plan = "Change the plan"',
    ],
)
def test_an_action_has_the_declared_title_or_its_id(edited: Edit, written: str) -> None:
    actions = 'actions = ["view", "change-plan"]\n'
    billing = accepted(edited("sections.toml", (actions, f"{actions}{written}\n"))).sections["billing"]
    assert billing.action_titles == ("View", "Change the plan")


def test_action_titles_as_a_table_of_their_own(edited: Edit) -> None:
    files = edited("sections.toml", add='[sections.media-library.action_titles]\nmanage = "Édit and delete"\n')
    assert accepted(files).sections["media-library"].action_titles == ("View", "Upload", "Édit and delete")


@pytest.mark.parametrize(
    ("action", "title"),
    [("view", "View"), ("change-plan", "Change plan"), ("a_b-c", "A b c"), ("2fa", "2fa"), ("x-", "X")],
)
def test_the_default_title_of_an_action_is_its_id_as_words(action: str, title: str) -> None:
    assert default_title(action) == title


def test_two_actions_of_one_default_title_are_no_finding(edited: Edit, codes: Callable[..., list[str]]) -> None:
    """Only a declared title is compared: a policy without titles compiles as before."""
    actions = 'actions = ["view", "change-plan", "change_plan"]\n'
    replaced = ('actions = ["view", "change-plan"]\n', actions)
    assert "confusable-name" not in codes(edited("sections.toml", replaced))
    titled = (replaced[0], f'{actions}action_titles = {{ view = "change plan" }}\n')
    assert codes(edited("sections.toml", titled)).count("confusable-name") == 1
