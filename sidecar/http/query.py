"""Query parameters of the API. A call under ``/v1/`` rejects unknown and repeated ones, as its body does members.

A misspelt filter would otherwise return more than the caller asked for.
"""

from typing import Final
from urllib.parse import parse_qsl

from sidecar.http.endpoint import Endpoint
from sidecar.http.json_body import InvalidBodyError

STRICT: Final = "/v1/"
"""Prefix of the calls that reject unknown parameters. OAuth and AuthZEN ignore them, as their standards say."""

MAX_FIELDS: Final = 64
MAX_ESCAPES: Final = 4096
"""Limits of a query that is parsed."""

MAX_SHOWN: Final = 64
"""Characters of an unknown name that the problem repeats."""


def read_query(endpoint: Endpoint, query: str) -> dict[str, str]:
    """Return the parameters of a query. Raises InvalidBodyError, which names the parameter and the known ones."""
    strict = endpoint.path.startswith(STRICT)
    if not query or not (strict or endpoint.query is not None):
        return {}
    fields = _parse(query)
    found = dict(fields)
    if not strict:
        return found
    known: tuple[str, ...] = () if endpoint.query is None else endpoint.query.__struct_encode_fields__
    for name, _ in fields:
        if name not in known:
            remedy = f"use {', '.join(known)}" if known else "this call has none"
            raise InvalidBodyError(f'"{name[:MAX_SHOWN]}" is not a query parameter of this call; {remedy}')
    if len(found) < len(fields):
        twice = next(name for name in found if [one for one, _ in fields].count(name) > 1)
        raise InvalidBodyError(f'the query parameter "{twice}" is repeated; send it once')
    return found


def _parse(query: str) -> list[tuple[str, str]]:
    if query.count("%") > MAX_ESCAPES:
        raise InvalidBodyError(f"the query contains more than {MAX_ESCAPES} percent-encoded bytes; send less")
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidBodyError(f"the query contains more than {MAX_FIELDS} fields; send less") from None
