"""Strict JSON bodies. Rejects input that two parsers could read differently: duplicate members, NaN, lone surrogates.

A handler names the msgspec type of its body; a body of another form raises ``InvalidBodyError``.
"""

import json
import re
from math import isinf
from typing import Any, Final, TypeVar

import msgspec

from sidecar.domain.ambiguous_json import AmbiguousJsonError, no_constant, unique_members

MAX_DEPTH = 16
"""Levels of nesting: far above any valid body, and far below the recursion limit."""

MAX_MEMBERS: Final = 1024
"""Members and elements of a body, all levels together. A hundred checks have 400."""

MAX_DIGITS: Final = 32
"""Consecutive digits of a number in a long body. A float has 17 significant ones, and converting hundreds is slow."""

SHORT: Final = 1024
"""Bytes of a body that is cheap to parse without limits."""

T = TypeVar("T")


class InvalidBodyError(ValueError):
    """The body does not fit the endpoint. The message names the member and the remedy, and is safe to show."""


def strict_json(raw: bytes, max_members: int = MAX_MEMBERS) -> Any:
    """Parse one JSON document (RFC 8259, with unique names per I-JSON, RFC 7493). Raises InvalidBodyError."""
    if len(raw) > SHORT:
        _bound(raw, max_members)
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except InvalidBodyError:
        raise
    except AmbiguousJsonError as error:
        raise InvalidBodyError(f"the body {error}") from None
    except UnicodeDecodeError:
        raise InvalidBodyError("the body is not UTF-8") from None
    except RecursionError:
        raise InvalidBodyError(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # not JSON, or an integer with too many digits to convert
        raise InvalidBodyError("the body is not JSON") from None
    few = len(raw) > SHORT or raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH  # then nesting is known to be shallow
    if b"\\u" in raw or not few:
        _inspect(value, MAX_DEPTH)
    return value


_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_LONG_NUMBER: Final = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))


def _bound(raw: bytes, max_members: int) -> None:
    """Check a long body before parsing, because parsing it could block the event loop.

    Raises InvalidBodyError for too many members, too deep nesting or too long numbers. Content of strings is ignored;
    an unterminated string extends to the end.
    """
    most = 2 * max_members + 2  # a name and a value each
    bare, strings = _STRING.subn(b"", raw, count=most + 1)
    if strings > most:
        raise InvalidBodyError(f"the body contains more than {max_members} members; send less at once")
    nested = bare.count(b"{") + bare.count(b"[")
    if nested > MAX_DEPTH and _is_deep(bare.translate(None, _NO_BRACKETS)[: 2 * max_members]):
        raise InvalidBodyError(f"the body is nested deeper than {MAX_DEPTH} levels")
    if nested + bare.count(b",") > max_members:
        raise InvalidBodyError(f"the body contains more than {max_members} members; send less at once")
    if _LONG_NUMBER.search(bare):
        raise InvalidBodyError(f"the body contains a number of more than {MAX_DIGITS} digits")


def _is_deep(brackets: bytes) -> bool:
    level = 0
    for byte in brackets:
        level += 1 if byte in b"[{" else -1
        if level > MAX_DEPTH:
            return True
    return False


_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def decode(raw: bytes, kind: type[T]) -> T:
    """Parse ``raw`` into ``kind``, a Struct that forbids unknown members. Raises InvalidBodyError."""
    return convert(strict_json(raw), kind)


def convert(value: object, kind: type[T]) -> T:
    """Convert a parsed JSON value to ``kind``.

    Raises InvalidBodyError that names the member (``$.email``), never its value.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidBodyError(str(error)) from None


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise InvalidBodyError("the body contains a number above 1.8e308")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=unique_members, parse_constant=no_constant, parse_float=_finite)


def _inspect(value: Any, levels: int) -> None:
    """Raise InvalidBodyError for half a surrogate pair, which cannot be encoded, and for nesting below ``levels``."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidBodyError("the body contains half of a surrogate pair") from None
    elif isinstance(value, dict | list):
        if levels == 0:
            raise InvalidBodyError(f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for name in value:
                _inspect(name, levels)
        for member in value.values() if isinstance(value, dict) else value:
            _inspect(member, levels - 1)
