"""OAuth parameters: form and JSON, unknown ones ignored, repeated ones rejected; only InvalidRequestError is raised."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.api.oauth.parameters import FORM, JSON, InvalidRequestError, read
from sidecar.http.request import RawBody


@pytest.mark.parametrize(
    ("media", "content"),
    [
        (FORM, b"a=1&b=x+y%C3%A9"),
        (FORM + "; charset=UTF-8", b"a=1&b=x%20y%c3%a9&c=&d"),
        ("Application/X-WWW-Form-Urlencoded", b"&a=1&&b=x+y%C3%A9&"),
        (JSON, '{"a":"1","b":"x yé","c":"","d":null,"e":{"f":1}}'.encode()),
        (JSON + ";charset=utf-8", b'{"b":"x y\\u00e9","a":"1"}'),
    ],
)
def test_both_forms_say_the_same(media, content):
    parameters = read(RawBody(media, content))
    assert parameters.required("a") == "1"
    assert parameters.required("b") == "x yé"
    assert parameters.optional("c") is None
    assert parameters.optional("nothing") is None


@pytest.mark.parametrize(
    ("media", "content", "says"),
    [
        (FORM, b"a=1&a=1", "repeat"),
        (FORM, b"a=1&%61=2", "repeat"),
        (JSON, b'{"a":"1","a":"1"}', "repeat"),
        (JSON, b'{"a":"1","\\u0061":"1"}', "repeat"),
        (FORM, b"a=%ff", "not a form in UTF-8"),
        (FORM, b"a=%ed%a0%80", "not a form in UTF-8"),
        (FORM, "a=é".encode(), "not a form in UTF-8"),
        (FORM, b"&".join(b"k%d=1" % number for number in range(65)), "not a form in UTF-8"),
        (JSON, b"[]", "not a JSON object"),
        (JSON, b"{", "not JSON"),
        (JSON, b"a=1", "not JSON"),
        (JSON, b"[" * 60_000, "nested"),
        ("", b"a=1", "Content-Type must be"),
        ("text/plain", b"a=1", "Content-Type must be"),
        ("multipart/form-data; boundary=x", b"", "Content-Type must be"),
    ],
)
def test_what_could_be_read_two_ways_is_refused(media, content, says):
    with pytest.raises(InvalidRequestError, match=says):
        read(RawBody(media, content))


@pytest.mark.parametrize("value", [b"1", b"true", b'["x"]', b'{"x":1}', b"1.5"])
def test_a_value_that_is_no_string_is_named(value):
    with pytest.raises(InvalidRequestError, match="a must be a string"):
        read(RawBody(JSON, b'{"a":' + value + b"}")).optional("a")


@given(media=st.sampled_from([FORM, JSON, "x"]), content=st.binary(max_size=200))
def test_any_body_is_judged(media, content):
    try:
        read(RawBody(media, content)).optional("grant_type")
    except InvalidRequestError as error:
        # Characters that RFC 6749 section 5.2 allows in error_description.
        assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", str(error))


def test_R16_a_form_is_bounded_before_decoding_a_value_after():
    password = "\U0001f9a6" * 1024
    sent = read(RawBody(FORM, f"password={quote(password)}&username={quote('é' * 320)}".encode()))
    assert sent.required("password") == password
    with pytest.raises(InvalidRequestError, match="6144 percent-encoded bytes; send JSON"):
        read(RawBody(FORM, b"password=" + b"%41" * 6145))
    with pytest.raises(InvalidRequestError, match="token must have at most 16384 characters"):
        read(RawBody(FORM, b"token=" + b"a" * 16_385)).required("token")
