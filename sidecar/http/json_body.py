"""Strict JSON bodies. Refuses what two parsers could read differently (duplicate members, NaN, lone surrogates).

Nothing here knows what a body means: a handler names the msgspec type, and anything else is a ``BadBody``.
"""

import json
import re
from math import isinf
from typing import Any, Final, TypeVar

import msgspec

MAX_DEPTH = 16
"""Levels of nesting: far above any body of ours, far below what costs a stack."""

MAX_MEMBERS: Final = 1024
"""Members and elements of a body, those of all levels: a hundred checks have 400."""

MAX_DIGITS: Final = 32
"""In a row, of a number in a long body: a float has 17 that count, and converting hundreds of them is slow."""

SHORT: Final = 1024
"""Bytes of a body whose parsing costs too little to be bounded."""

T = TypeVar("T")


class BadBody(ValueError):
    """The body is not what the endpoint takes. The text names the member and the fix and is safe to show."""


def strict_json(raw: bytes, max_members: int = MAX_MEMBERS) -> Any:
    """Parse one JSON document (RFC 8259, with I-JSON's unique names, RFC 7493). Raises BadBody."""
    if len(raw) > SHORT:
        _bound(raw, max_members)
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except BadBody:
        raise
    except UnicodeDecodeError:
        raise BadBody("the body is not UTF-8") from None
    except RecursionError:
        raise BadBody(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # not JSON, or an integer with too many digits to convert
        raise BadBody("the body is not JSON") from None
    few = len(raw) > SHORT or raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH  # then the levels are known to be few
    if b"\\u" in raw or not few:
        _inspect(value, MAX_DEPTH)
    return value


_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_LONG_NUMBER: Final = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))


def _bound(raw: bytes, max_members: int) -> None:
    """Raise BadBody, before anything is made of it, for what would hold the loop: too many members, too deep a
    nesting, or numbers without end. Only what is outside of strings counts; one that never ends is a string."""
    most = 2 * max_members + 2  # a name and a value each
    bare, strings = _STRING.subn(b"", raw, count=most + 1)
    if strings > most:
        raise BadBody(f"the body holds more than {max_members} members; send less at once")
    nested = bare.count(b"{") + bare.count(b"[")
    if nested > MAX_DEPTH and _is_deep(bare.translate(None, _NO_BRACKETS)[: 2 * max_members]):
        raise BadBody(f"the body is nested deeper than {MAX_DEPTH} levels")
    if nested + bare.count(b",") > max_members:
        raise BadBody(f"the body holds more than {max_members} members; send less at once")
    if _LONG_NUMBER.search(bare):
        raise BadBody(f"the body holds a number of more than {MAX_DIGITS} digits")


def _is_deep(brackets: bytes) -> bool:
    level = 0
    for byte in brackets:
        level += 1 if byte in b"[{" else -1
        if level > MAX_DEPTH:
            return True
    return False


_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def decode(raw: bytes, kind: type[T]) -> T:
    """Parse ``raw`` into ``kind``, a Struct that forbids unknown members. Raises BadBody."""
    return convert(strict_json(raw), kind)


def convert(value: object, kind: type[T]) -> T:
    """A parsed JSON value as ``kind``. Raises BadBody that names the member (``$.email``), never its value."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise BadBody(str(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadBody("a member of the body stands twice")
    return members


def _refuse_constant(_name: str) -> Any:
    raise BadBody("the body holds a number that JSON does not have (NaN or Infinity)")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise BadBody("the body holds a number that no program can hold (over 1.8e308)")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)


def _inspect(value: Any, levels: int) -> None:
    """Refuse what no encoder writes again, half a surrogate pair, and nesting below ``levels``."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise BadBody("the body holds half of a surrogate pair") from None
    elif isinstance(value, dict | list):
        if levels == 0:
            raise BadBody(f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for name in value:
                _inspect(name, levels)
        for member in value.values() if isinstance(value, dict) else value:
            _inspect(member, levels - 1)
