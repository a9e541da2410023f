"""R6: the back end receives every cookie of a request except the sidecar's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.access import NO_CREDENTIAL
from sidecar.gateways.cookie_filter import kept_cookies
from sidecar.http.credentials import HOST_COOKIE, LOOPBACK_COOKIE, from_cookies

OURS = ("__Host-sidecar", "__Secure-sidecar-refresh", "sidecar", "sidecar-refresh")


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([], ""),
        ([b""], ""),
        ([b"a=1"], "a=1"),
        ([b"a=1; b=2"], "a=1; b=2"),
        ([b"a=1", b"b=2"], "a=1; b=2"),
        ([b"__Host-sidecar=t"], ""),
        ([b"a=1; __Host-sidecar=t;b=2"], "a=1; b=2"),
        ([b"a=1; sidecar=t; sidecar=u; __Secure-sidecar-refresh=v; sidecar-refresh=w; b=2"], "a=1; b=2"),
        ([b"a=1=2; b"], "a=1=2; b"),
        ([b'a="x y"; b=2'], 'a="x y"; b=2'),
        ([b";; ; a=1;"], "a=1"),
        ([b"sidecars=1; my-sidecar=2; __Host-sidecar2=3"], "sidecars=1; my-sidecar=2; __Host-sidecar2=3"),
    ],
)
def test_R6_kept(lines: list[bytes], kept: str) -> None:
    assert kept_cookies([(b"Cookie", line) for line in lines]) == kept


@pytest.mark.parametrize(
    "pair",
    [
        b"__HOST-SIDECAR=t",
        b" \t__Host-sidecar =t",
        b"\x0b__Host-sidecar=t",
        b"\xc2\xa0__Host-sidecar=t",
        b'"__Host-sidecar"=t',
        b"__Host-sidecar",
        b"a=\xff",
        b"a=b\x7f",
        b"a=b\x00",
    ],
)
def test_R6_what_a_lax_back_end_could_take_for_ours_goes_too(pair: bytes) -> None:
    assert kept_cookies([(b"cookie", b"a=1; " + pair + b"; b=2")]) == "a=1; b=2"


def test_only_cookie_headers_are_read() -> None:
    assert kept_cookies([(b"X-Cookie", b"a=1"), (b"Cookie2", b"b=2")]) == ""


PAIRS = st.builds(
    lambda name, value: name + b"=" + value,
    st.one_of(st.sampled_from([name.encode() for name in OURS]), st.binary(max_size=6)),
    st.binary(max_size=6),
)


@given(st.lists(st.lists(PAIRS, max_size=5), max_size=3))
def test_R6_nothing_that_is_kept_is_a_credential(lines: list[list[bytes]]) -> None:
    kept = kept_cookies([(b"Cookie", b"; ".join(pairs)) for pairs in lines])
    assert kept.isascii()
    assert kept.isprintable()
    for name in (HOST_COOKIE, LOOPBACK_COOKIE):
        assert from_cookies([kept.encode()], name) == NO_CREDENTIAL
