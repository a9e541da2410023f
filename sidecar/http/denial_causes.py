"""Causes of denials that an operator can fix, and the cause of `cross_site`.

A detail names headers, endpoints and settings. Its only content from the request is a well-formed origin.
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.http.headers import RawHeaders, count_headers, single_header

ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,100}")


class CauseKind(StrEnum):
    """Closed list of causes, so each can be counted and logged separately."""

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
    """One cause: the problem and its remedy."""

    kind: CauseKind
    detail: str


def cross_site(headers: RawHeaders, origins: frozenset[str]) -> Cause | None:
    """Return the cause of a cross-site denial: the gateway drops Origin, or it differs from SIDECAR_PUBLIC_URL."""
    names = count_headers(headers)
    if b"origin" not in names:
        if b"sec-fetch-site" in names:
            return None
        return Cause(
            CauseKind.NO_ORIGIN, "Origin and Sec-Fetch-Site are missing: configure the gateway to pass both on"
        )
    if names[b"origin"] > 1:
        return Cause(CauseKind.DOUBLED_HEADER, "Origin is repeated")
    origin = single_header(headers, b"origin")
    if origin in origins:
        return None
    shown = f" {origin}" if origin is not None and ORIGIN.fullmatch(origin) else ""
    return Cause(
        CauseKind.FOREIGN_ORIGIN, f"Origin{shown} does not match SIDECAR_PUBLIC_URL, {', '.join(sorted(origins))}"
    )
