"""Causes of denials that an operator can mend, as values, and the cause of `cross_site`.

A detail names headers, endpoints and settings. It repeats nothing of the request but an origin that is well formed.
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.http.headers import RawHeaders, count_headers, single_header

ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,100}")


class Kind(StrEnum):
    """Kinds of causes. Their number is closed, so each may be counted and logged by itself."""

    MISSING_HEADER = "missing_header"
    DOUBLED_HEADER = "doubled_header"
    UNUSABLE_HEADER = "unusable_header"
    WRONG_ENDPOINT = "wrong_endpoint"
    METHOD_OVERRIDE = "method_override"
    UPGRADE = "upgrade"
    AMBIGUOUS_PATH = "ambiguous_path"
    NO_ROUTE = "no_route"
    NO_METHOD = "no_method"
    NO_ORIGIN = "no_origin"
    FOREIGN_ORIGIN = "foreign_origin"


class Cause(msgspec.Struct, frozen=True):
    """One cause, with what is wrong and how to mend it."""

    kind: Kind
    detail: str


def cross_site(headers: RawHeaders, origins: frozenset[str]) -> Cause | None:
    """Compare Origin with SIDECAR_PUBLIC_URL: a gateway that drops it, or a URL of another scheme, host or port."""
    names = count_headers(headers)
    if b"origin" not in names:
        if b"sec-fetch-site" in names:
            return None
        return Cause(Kind.NO_ORIGIN, "neither Origin nor Sec-Fetch-Site came: have the gateway pass both on")
    if names[b"origin"] > 1:
        return Cause(Kind.DOUBLED_HEADER, "Origin came more than once")
    origin = single_header(headers, b"origin")
    if origin in origins:
        return None
    shown = f" {origin}" if origin is not None and ORIGIN.fullmatch(origin) else ""
    return Cause(Kind.FOREIGN_ORIGIN, f"Origin{shown} is not that of SIDECAR_PUBLIC_URL, {', '.join(sorted(origins))}")
