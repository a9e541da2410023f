"""Reading what was signed, strictly: base64url that is canonical, JSON in which every member stands once.

Refuses what two readers could read differently: padding, stray characters, the other alphabet, bits that are not zero,
duplicate members, ``NaN``, and numbers where the type is not exactly an integer. A refusal is a ``MalformedError``; the
decoders' own errors are ValueErrors too, but for RecursionError, which the callers catch beside it.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NoReturn

MAX_TOKEN: Final = 16 * 1024
MAX_HEADER: Final = 4096
MAX_SIGNATURE: Final = 2048
"""Characters of a part: an RSA key of 8,192 bits signs with 1,366, and a header that brings certificates is refused."""

_MAX_INTEGER: Final = 2**53 - 1  # past it JSON parsers disagree (RFC 8259 section 6)


class MalformedError(ValueError):
    """Not to be read in one way only. Says nothing of the bytes: no text of a token leaves the room."""


def segments(token: str) -> tuple[bytes, bytes, bytes, bytes]:
    """What was signed, and its header, payload and signature, decoded."""
    if len(token) > MAX_TOKEN:
        raise MalformedError
    raw = token.encode("ascii")
    signed, _, signature = raw.rpartition(b".")
    header, dot, payload = signed.partition(b".")
    if not dot or len(header) > MAX_HEADER or len(signature) > MAX_SIGNATURE:
        raise MalformedError
    return signed, segment(header), segment(payload), segment(signature)


def segment(text: bytes) -> bytes:
    """Base64url as RFC 7515 writes it. Writing it again and comparing refuses, in one stroke, padding, stray
    characters (a further dot too), the other alphabet and trailing bits that are not zero."""
    decoded = urlsafe_b64decode(text + b"==")
    if not text or urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise MalformedError
    return decoded


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError
    return members


def _refuse(_: str) -> NoReturn:
    raise MalformedError


_WHOLE: Final = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_float=_refuse, parse_constant=_refuse)
_ANY: Final = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse)


def whole_object(raw: bytes) -> dict[str, object]:
    """A JSON object without a fraction: ``1.7e9`` is refused wherever it stands, and so are ``NaN`` and kin."""
    return _object(_WHOLE, raw)


def any_object(raw: bytes) -> dict[str, object]:
    """A JSON object in which others may have put fractions; a member that must be an integer is asked for as one."""
    return _object(_ANY, raw)


def _object(decoder: json.JSONDecoder, raw: bytes) -> dict[str, object]:
    value = decoder.decode(raw.decode("utf-8"))
    if not isinstance(value, dict):
        raise MalformedError
    return value


def text(members: dict[str, object], name: str) -> str:
    """A member that is there, a string, and not empty."""
    value = members.get(name)
    if type(value) is not str or not value:
        raise MalformedError
    return value


def integer(members: dict[str, object], name: str) -> int:
    """A member that is there and a whole number from 0 on."""
    value = members.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_INTEGER:  # type(): a bool is an int to isinstance
        raise MalformedError
    return value


def number(members: dict[str, object], name: str) -> int | float:
    """As ``integer``, with or without a fraction (a NumericDate of RFC 7519 section 2)."""
    value = members.get(name)
    if type(value) is float and 0 <= value <= _MAX_INTEGER:  # which neither NaN nor infinity is
        return value
    return integer(members, name)
