"""Path forms: an ambiguous path is rejected and never repaired."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.access import Target
from sidecar.domain.decision import Reason
from sidecar.policy.generation import Generation
from sidecar.policy.routes import PUBLIC, Route, RouteTable, ambiguity, path_segments, split_target

ADMIN = Target("users", "view")


@pytest.fixture
def table() -> RouteTable:
    """`/admin/**` is a section, all of `/pub/**` is public: a path that slips from one to the other is detected."""
    return RouteTable(
        (
            Route("/admin/**", ("admin", "**"), ("GET",), ADMIN, 1),
            Route("/pub/**", ("pub", "**"), ("GET",), PUBLIC, 2),
            Route("/bücher/*", ("bücher", "*"), ("GET",), PUBLIC, 3),
        )
    )


AMBIGUOUS = [
    "//admin//x",
    "//admin/x",
    "/admin//x",
    "/admin/x//",
    "//",
    "///",
    "/pub/../admin/x",
    "/pub/%2e%2e/admin/x",
    "/pub/%2E%2E/admin/x",
    "/pub/.%2e/admin/x",
    "/pub/..%2fadmin/x",
    "/pub/..%2Fadmin/x",
    "/pub/..%5cadmin",
    "/admin%2Fx",
    "/admin%2fx",
    "/pub%5c..%5cadmin",
    "/admin;a=1/x",
    "/admin;/x",
    "/a%3bb",
    "/a%3Bb",
    "/a%25ab",
    "/a%252fb",
    "/a%252e%252e/b",
    "/a%25%32%66b",
    "/a%25252f",
    "/a%25u002e%25u002e/b",
    "/a%25U002Fb",
    "/a%2541",
    "/pub/..;/admin/x",
    "/pub\\..\\admin",
    "/pub\\x",
    "/a%00b",
    "/a\x00b",
    "/a%0ab",
    "/a\nb",
    "/a%0d%0ab",
    "/a%7fb",
    "/a\x7fb",
    "/a%c2%85b",
    "/a\x85b",
    "/a%09b",
    "/a#frag",
    "/a%23frag",
    "/pub/#/admin",
    "/pub/.",
    "/pub/..",
    "/.",
    "/..",
    "/pub/./x",
    "/pub/%2e/x",
    "/pub/%c0%ae%c0%ae/admin",
    "/pub/%ff",
    "/pub/\udcff",
    "/pub/\udce2\udc82",
    "/pub/\ud800",
    "/pub/%",
    "/pub/%4",
    "/pub/%zz",
    "/pub/100%",
    "/pub/a%3fb",
    "/pub/a?b",
    "",
    "*",
    "admin",
    "admin/x",
    "http://other/admin",
    "pub/../admin",
    "%2fadmin",
    "\\admin",
    " /admin",
]


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_R2_a_path_with_two_readings_is_refused(table: RouteTable, path: str) -> None:
    assert table.resolve("GET", path) is Reason.AMBIGUOUS_PATH
    assert table.route_of("GET", path) is None


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", []),
        ("/admin", ["admin"]),
        ("/admin/", ["admin"]),
        ("/admin/x", ["admin", "x"]),
        ("/%61dmin/x", ["admin", "x"]),
        ("/%61%64%6d%69%6e/x/", ["admin", "x"]),
        ("/b%C3%BCcher/1", ["bücher", "1"]),
        ("/bücher/1", ["bücher", "1"]),
        ("/b\udcc3\udcbccher/1", ["bücher", "1"]),
        ("/a%20b", ["a b"]),
        ("/a+b", ["a+b"]),
        ("/.../x", ["...", "x"]),
        ("/..a/.b/c..", ["..a", ".b", "c.."]),
        ("/a:b@c,d=e&f", ["a:b@c,d=e&f"]),
        ("/~x/_y/-z/*/**", ["~x", "_y", "-z", "*", "**"]),
        ("/100%25", ["100%"]),
        ("/100%25.jpg", ["100%.jpg"]),
        ("/50%25%20off.png", ["50% off.png"]),
        ("/a%25zz.txt", ["a%zz.txt"]),
        ("/a%25b", ["a%b"]),
        ("/a%254", ["a%4"]),
        ("/%25%25", ["%%"]),
        ("/%25u12", ["%u12"]),
        ("/%25/2f", ["%", "2f"]),
    ],
)
def test_a_path_with_one_reading_is_decoded_once(path: str, segments: list[str]) -> None:
    assert path_segments(path) == segments


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/admin", ADMIN),
        ("/admin/", ADMIN),
        ("/%61dmin/x", ADMIN),
        ("/ADMIN/x", Reason.UNMATCHED_PATH),
        ("/Admin", Reason.UNMATCHED_PATH),
        ("/adminx", Reason.UNMATCHED_PATH),
        ("/admi", Reason.UNMATCHED_PATH),
        ("/admin ", Reason.UNMATCHED_PATH),
        ("/admin%20", Reason.UNMATCHED_PATH),
        ("/admın", Reason.UNMATCHED_PATH),
        ("/pub", PUBLIC),
        ("/pub/x", PUBLIC),
        ("/**", Reason.UNMATCHED_PATH),
        ("/", Reason.UNMATCHED_PATH),
        ("/b%C3%BCcher/1", PUBLIC),
        ("/bu%CC%88cher/1", Reason.UNMATCHED_PATH),
    ],
)
def test_R2_segments_are_compared_whole_and_case_sensitively(table: RouteTable, path: str, outcome: object) -> None:
    assert table.resolve("GET", path) == outcome


@pytest.mark.parametrize("method", ["get", "Get", "FOO", "", "GET ", "CONNECT", "TRACE", "OPTIONS", "POST"])
def test_a_method_that_is_not_listed_is_denied(table: RouteTable, method: str) -> None:
    assert table.resolve(method, "/admin") is Reason.UNMATCHED_PATH


def test_head_is_authorised_as_get(table: RouteTable) -> None:
    assert table.resolve("HEAD", "/admin") == ADMIN


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a?b", "/a"),
        ("/a?b?c#d", "/a"),
        ("/a", "/a"),
        ("/?x=/admin", "/"),
        ("/a%3fb?c", "/a%3fb"),
        ("//admin/x?y", "//admin/x"),
        ("/a#b?c", "/a#b"),
        ("", None),
        ("*", None),
        ("?x", None),
        ("http://other/admin", None),
        ("https://other", None),
        ("admin", None),
        ("\\admin", None),
        (" /admin", None),
    ],
)
def test_the_path_of_a_target_ends_at_the_first_question_mark(uri: str, path: str | None) -> None:
    assert split_target(uri) == path


@given(st.text())
def test_R2_no_text_raises_and_what_resolves_has_one_reading(shipped: Generation, path: str) -> None:
    outcome = shipped.routes.resolve("GET", path)
    segments = path_segments(path)
    assert (segments is None) == (outcome is Reason.AMBIGUOUS_PATH)
    if segments is not None:
        assert path.startswith("/")
        assert not {"", ".", ".."} & set(segments)
        assert not any(set(segment) & set("/\\;#?\x00\n") for segment in segments)
        assert [unquote(segment) for segment in segments] == segments


@given(st.lists(st.sampled_from(["a", "..", ".", "", "%2e", "%2f", "%25", "%61", ";", "\\", "é", "\udcff", "b"])))
def test_R2_decoding_again_would_change_nothing(parts: list[str]) -> None:
    segments = path_segments("/" + "/".join(parts))
    if segments is not None:
        assert [unquote(segment) for segment in segments] == segments
        assert path_segments("/" + "/".join(segment.replace("%", "%25") for segment in segments)) == segments


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/a%2Fb", '"%2F"'),
        ("/a%5cb", '"%5c"'),
        ("/100%", '"%" without two hexadecimal digits (write %25)'),
        ("/a%u002e", '"%" without two hexadecimal digits (write %25)'),
        ("/a%2541", '"%" and hexadecimal digits after decoding'),
        ("/a%25u0041", '"%" and hexadecimal digits after decoding'),
        ("/a%23b", '"#"'),
        ("/a#b", '"#"'),
        ("/a%3Bb", '";"'),
        ("/a%3fb", '"?"'),
        ("/a\\b", '"\\"'),
        ("/a//b", '"//"'),
        ("/a/../b", '"/.."'),
        ("/a/%2e", '"/."'),
        ("/a%00b", "the control character U+0000"),
        ("/a%c2%85b", "the control character U+0085"),
        ("/a%ff", "bytes that are not UTF-8"),
        ("admin", "no slash at its start"),
        ("/a%25b", ""),
    ],
)
def test_what_makes_a_path_ambiguous_is_named(path: str, named: str) -> None:
    assert ambiguity(path) == named


@given(st.one_of(st.text(), st.text(alphabet="/.%;#?\\25fFcCuU0\x00\x85\udcffa")))
def test_R2_an_ambiguous_path_is_named_in_a_closed_set_of_words(path: str) -> None:
    named = ambiguity("/" + path)
    assert bool(named) == (path_segments("/" + path) is None)
    assert named.isprintable() and len(named) < 60
