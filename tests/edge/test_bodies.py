"""Strict JSON: what two parsers could read differently is refused."""

import asyncio
import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.edge import dispatch
from sidecar.edge.bodies import BadBody, decode, strict_json
from sidecar.edge.json_check import CheckBody
from tests.people import Open


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
    with pytest.raises(BadBody):
        strict_json(raw)


def test_sixteen_levels_are_enough() -> None:
    assert strict_json(b"[" * 16 + b"]" * 16)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_bad_body(raw: bytes) -> None:
    with contextlib.suppress(BadBody):
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
    with pytest.raises(BadBody, match=member.replace("$", r"\$")):
        decode(raw, CheckBody)


def test_an_over_long_string_is_refused_without_being_repeated() -> None:
    body = msgspec.json.encode({"section": "s" * 200, "action": "view"})
    with pytest.raises(BadBody) as caught:
        decode(body, CheckBody)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize("came", [b"", b"ab"])
async def test_a_body_that_does_not_come_is_given_up(
    open_web: Open, monkeypatch: pytest.MonkeyPatch, came: bytes
) -> None:
    assert dispatch.BODY_SECONDS == 10
    monkeypatch.setattr(dispatch, "BODY_SECONDS", 0.1)
    web = await open_web()
    reader, writer = await asyncio.open_connection("127.0.0.1", web.client.port)
    writer.write(b"POST /token HTTP/1.1\r\nHost: sidecar.example\r\nContent-Length: 10\r\n\r\n" + came)
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive within" in answer
    writer.close()
