"""Strict JSON: a text that two parsers could read differently is rejected."""

import asyncio
import contextlib
from time import thread_time
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.api import dispatcher
from sidecar.api.check_api import CheckBody
from sidecar.http import json_body
from sidecar.http.json_body import MAX_MEMBERS, InvalidBodyError, decode, strict_json
from tests.fixtures import Open


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"{",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b"[" * 17 + b"]" * 17,
        b"[" * 50_000,
        b"[" + b"9" * 5000 + b"]",
        b'\xef\xbb\xbf{"a": 1}',
    ],
)
def test_hostile_json_is_a_bad_body(raw: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        strict_json(raw)


def test_sixteen_levels_are_enough() -> None:
    assert strict_json(b"[" * 16 + b"]" * 16)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_bad_body(raw: bytes) -> None:
    with contextlib.suppress(InvalidBodyError):
        decode(raw, CheckBody)


@pytest.mark.parametrize(
    ("raw", "member"),
    [
        (b'{"section": 1, "action": "view"}', "$.section"),
        (b'{"section": "billing", "action": null}', "$.action"),
        (b'{"section": "billing", "action": "view", "role": "x"}', "role"),
        (b'{"section": "", "action": "view"}', "$.section"),
        (b'{"checks": []}', "$.checks"),
        (b"[]", "array"),
    ],
)
def test_the_error_names_the_member(raw: bytes, member: str) -> None:
    with pytest.raises(InvalidBodyError, match=member.replace("$", r"\$")):
        decode(raw, CheckBody)


def test_an_over_long_string_is_refused_without_being_repeated() -> None:
    body = msgspec.json.encode({"section": "s" * 200, "action": "view"})
    with pytest.raises(InvalidBodyError) as caught:
        decode(body, CheckBody)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize("came", [b"", b"ab"])
async def test_a_body_that_does_not_come_is_given_up(
    open_web: Open, monkeypatch: pytest.MonkeyPatch, came: bytes
) -> None:
    assert dispatcher.BODY_SECONDS == 10
    monkeypatch.setattr(dispatcher, "BODY_SECONDS", 0.1)
    web = await open_web()
    reader, writer = await asyncio.open_connection("127.0.0.1", web.client.port)
    writer.write(b"POST /token HTTP/1.1\r\nHost: sidecar.example\r\nContent-Length: 10\r\n\r\n" + came)
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive within" in answer
    writer.close()


ELEMENTS = [b"0", b"[]", b"{}", b'""', b"1.5", b'{"a":1}', b"null"]


@pytest.mark.parametrize("element", ELEMENTS)
def test_R16_members_are_counted_before_any_is_made(element: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("parsed")

    most = MAX_MEMBERS // 2 - 1
    assert len(strict_json(b"[" + b",".join([element] * most) + b"]")) == most
    monkeypatch.setattr(json_body, "_DECODER", SimpleNamespace(decode=never))
    with pytest.raises(InvalidBodyError, match="more than 1024 members"):
        strict_json(b"[" + b",".join([element] * (MAX_MEMBERS + 1)) + b"]")


@pytest.mark.parametrize(
    "raw", [b"9" * 2000, b"0." + b"9" * 2000, b"1e" + b"9" * 2000, b"[1," + b"9" * 33 + b" " * 1000]
)
def test_R16_a_number_without_end_is_not_converted(raw: bytes) -> None:
    with pytest.raises(InvalidBodyError, match="32 digits"):
        strict_json(raw)


def test_R16_what_stands_in_a_string_is_no_member_and_no_level() -> None:
    password = ',[{\\"' * 3000 + "9" * 1000
    assert strict_json(b'{"password":"%s"}' % password.encode()) == {"password": password.replace("\\", "")}


@pytest.mark.parametrize("raw", [b'"' + b'\\"' * 30_000, b'"' * 60_000, b"\\" * 60_000, b'{"a' * 20_000])
def test_R16_a_string_without_an_end_costs_no_more_than_one_with(raw: bytes) -> None:
    started = thread_time()
    with pytest.raises(InvalidBodyError):
        strict_json(raw)
    assert thread_time() - started < 0.02
