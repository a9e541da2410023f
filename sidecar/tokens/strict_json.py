"""Strict parsing of signed data: canonical base64url, and JSON without duplicate members.

Input that two parsers could read differently is rejected: padding, stray characters, the other alphabet, non-zero
trailing bits, duplicate members, ``NaN``, and numbers of another type than integer. A rejection is a
``MalformedJsonError``. Errors of the decoders are ValueErrors too, except RecursionError, which callers catch too.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NoReturn

from sidecar.domain.ambiguous_json import no_constant, unique_members

MAX_TOKEN: Final = 16 * 1024
MAX_HEADER: Final = 4096
MAX_SIGNATURE: Final = 2048
"""Characters of a part.

An RSA key of 8,192 bits signs with 1,366. A header with certificates is rejected.
"""

_MAX_INTEGER: Final = 2**53 - 1  # JSON parsers disagree above it (RFC 8259 section 6)


class MalformedJsonError(ValueError):
    """Raised for ambiguous input. It has no message, because token text must not leave this package."""


def segments(token: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the signed bytes, and the decoded header, payload and signature. Raises ValueError."""
    if len(token) > MAX_TOKEN:
        raise MalformedJsonError
    raw = token.encode("ascii")
    signed, _, signature = raw.rpartition(b".")
    header, dot, payload = signed.partition(b".")
    if not dot or len(header) > MAX_HEADER or len(signature) > MAX_SIGNATURE:
        raise MalformedJsonError
    return signed, segment(header), segment(payload), segment(signature)


def segment(text: bytes) -> bytes:
    """Decode base64url as defined by RFC 7515. Raises ValueError.

    Encoding the result and comparing rejects padding, stray characters (a second dot too), the other alphabet and
    non-zero trailing bits.
    """
    decoded = urlsafe_b64decode(text + b"==")
    if not text or urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise MalformedJsonError
    return decoded


def _refuse(_: str) -> NoReturn:
    raise MalformedJsonError


_WHOLE: Final = json.JSONDecoder(object_pairs_hook=unique_members, parse_float=_refuse, parse_constant=no_constant)
_ANY: Final = json.JSONDecoder(object_pairs_hook=unique_members, parse_constant=no_constant)


def whole_object(raw: bytes) -> dict[str, object]:
    """Return a JSON object. Fractions such as ``1.7e9``, ``NaN`` and infinity are rejected in every member."""
    return _object(_WHOLE, raw)


def any_object(raw: bytes) -> dict[str, object]:
    """Return a JSON object that may contain fractions. Read integer members with ``integer``."""
    return _object(_ANY, raw)


def _object(decoder: json.JSONDecoder, raw: bytes) -> dict[str, object]:
    value = decoder.decode(raw.decode("utf-8"))
    if not isinstance(value, dict):
        raise MalformedJsonError
    return value


def text(members: dict[str, object], name: str) -> str:
    """Return a required, non-empty string member."""
    value = members.get(name)
    if type(value) is not str or not value:
        raise MalformedJsonError
    return value


def integer(members: dict[str, object], name: str) -> int:
    """Return a required member that is an integer from 0 to 2**53 - 1."""
    value = members.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_INTEGER:  # type(): a bool is an int to isinstance
        raise MalformedJsonError
    return value


def number(members: dict[str, object], name: str) -> int | float:
    """Return a required number like ``integer``, but allow a fraction (NumericDate, RFC 7519 section 2)."""
    value = members.get(name)
    if type(value) is float and 0 <= value <= _MAX_INTEGER:  # excludes NaN and infinity
        return value
    return integer(members, name)
