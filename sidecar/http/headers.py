"""Raw header lines of a request. Lookups return nothing for a repeated header."""

from collections import Counter
from collections.abc import Iterable, Mapping

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Unparsed header lines: name and value, in order, repeats included."""


def single_header(headers: RawHeaders, wanted: bytes) -> str | None:
    """Return the value of the header ``wanted`` (lower case); None when it is absent or repeated."""
    found = header_values(headers, wanted)
    return decode_header(found[0]) if len(found) == 1 else None


def header_values(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    """Return the values of all lines of the header ``wanted`` (lower case), in order."""
    return [value for name, value in headers if name.lower() == wanted]


def decode_header(value: bytes) -> str:
    """Decode UTF-8. Other bytes become surrogates, which no valid path or method contains."""
    return value.decode("utf-8", "surrogateescape")


def count_headers(headers: RawHeaders) -> Mapping[bytes, int]:
    """Return how often each name (lower case) occurs."""
    return Counter(name.lower() for name, _ in headers)
