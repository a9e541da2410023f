"""Conversion of replies: forms that differ by server and client."""

import pytest

from sidecar.store.codec import info_fields


@pytest.mark.parametrize(
    ("reply", "fields"),
    [
        ("# Memory\r\nmaxmemory:0\r\nused_memory:1024\r\n", {"maxmemory": "0", "used_memory": "1024"}),
        (
            "role:master\nexecutable:/usr/bin/redis-server:x\n",
            {"role": "master", "executable": "/usr/bin/redis-server:x"},
        ),
        ({"maxmemory": 0, "role": "slave"}, {"maxmemory": "0", "role": "slave"}),
        ("", {}),
    ],
)
def test_an_info_reply_has_equal_fields_as_text_and_mapping(reply: object, fields: dict[str, str]) -> None:
    assert info_fields(reply) == fields
