"""The token of a request, and requests without one (R4)."""

import pytest

from sidecar.domain.access import NO_CREDENTIAL, Credential, CredentialSource
from sidecar.domain.decision import Reason
from sidecar.http.credentials import MAX_COOKIES, cookie_name, credential

HOST = "__Host-sidecar"


def header(token: str) -> Credential:
    return Credential(CredentialSource.HEADER, token)


def cookie(token: str) -> Credential:
    return Credential(CredentialSource.COOKIE, token)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], NO_CREDENTIAL),
        ([(b"Authorization", b"Bearer abc")], header("abc")),
        ([(b"authorization", b"bearer abc")], header("abc")),
        ([(b"Authorization", b"Bearer   abc ")], header("abc")),
        ([(b"Authorization", b"Bearer")], NO_CREDENTIAL),
        ([(b"Authorization", b"")], NO_CREDENTIAL),
        ([(b"Authorization", b"Basic YTpi")], NO_CREDENTIAL),
        ([(b"Authorization", b"Bearer a,Bearer b")], header("a,Bearer b")),
        ([(b"Cookie", b"__Host-sidecar=abc")], cookie("abc")),
        ([(b"Cookie", b"a=1;\t__Host-sidecar = abc ; b=2")], cookie("abc")),
        ([(b"Cookie", b"a=1"), (b"Cookie", b"__Host-sidecar=abc")], cookie("abc")),
        ([(b"Cookie", b"__Host-sidecar=")], NO_CREDENTIAL),
        ([(b"Cookie", b"__Host-sidecar")], NO_CREDENTIAL),
        ([(b"Cookie", b";;;=;\xff=\xfe")], NO_CREDENTIAL),
        ([(b"Cookie", b"sidecar=abc")], NO_CREDENTIAL),
        ([(b"Cookie", b"__host-sidecar=abc")], NO_CREDENTIAL),
    ],
)
def test_credential(lines: list[tuple[bytes, bytes]], expected: Credential) -> None:
    assert credential(lines, HOST) == expected


@pytest.mark.parametrize("authorization", [b"Bearer x", b"Basic YTpi", b"", b"Bearer", b"\xff"])
def test_R4_any_authorization_header_decides_before_the_cookie(authorization: bytes) -> None:
    lines = [(b"Cookie", b"__Host-sidecar=good"), (b"Authorization", authorization)]
    found = credential(lines, HOST)
    assert isinstance(found, Credential)
    assert found.proof is not CredentialSource.COOKIE


def test_R4_two_authorization_headers_are_a_bad_request() -> None:
    assert credential([(b"Authorization", b"Bearer a"), (b"authorization", b"Bearer a")], HOST) is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    "lines",
    [
        [(b"Cookie", b"__Host-sidecar=a; __Host-sidecar=a")],
        [(b"Cookie", b"__Host-sidecar=a"), (b"Cookie", b"__Host-sidecar=b")],
        [(b"Cookie", b"__Host-sidecar=; __Host-sidecar=b")],
    ],
)
def test_R4_two_pairs_of_the_cookie_are_a_bad_request(lines: list[tuple[bytes, bytes]]) -> None:
    assert credential(lines, HOST) is Reason.BAD_REQUEST


def test_R4_a_look_alike_cookie_is_not_ours() -> None:
    """aiohttp strips U+00A0 as white space and would read the second pair as the real cookie."""
    lines = [(b"Cookie", b"__Host-sidecar=real; \xc2\xa0__Host-sidecar=forged; \x0c__Host-sidecar=forged")]
    assert credential(lines, HOST) == cookie("real")


def test_R4_the_cookie_name_follows_the_public_url() -> None:
    assert cookie_name("https://dash.example") == "__Host-sidecar"
    assert cookie_name("http://127.0.0.1:9181") == "sidecar"


def test_a_credential_does_not_show_its_token() -> None:
    assert "abc" not in repr(header("abc"))


@pytest.mark.parametrize("beside", [[], [(b"Authorization", b"Bearer abc")]])
def test_R16_more_cookies_than_a_browser_keeps_are_a_bad_request(beside: list[tuple[bytes, bytes]]) -> None:
    ours = (b"Cookie", b"__Host-sidecar=abc")
    most = (b"Cookie", b";".join([b"a=1"] * (MAX_COOKIES - 1)))
    assert credential([*beside, most, ours], HOST) in (header("abc"), cookie("abc"))
    for lines in ([most, ours, ours], [(b"Cookie", b";" * MAX_COOKIES)], [(b"Cookie", b"a=1")] * (MAX_COOKIES + 1)):
        assert credential([*beside, *lines], HOST) is Reason.BAD_REQUEST
