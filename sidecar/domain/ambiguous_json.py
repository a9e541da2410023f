"""Hooks of `json.JSONDecoder` that reject JSON which two parsers could read differently (RFC 8259, RFC 7493)."""

from typing import Any, NoReturn


class AmbiguousJsonError(ValueError):
    """The document is ambiguous. The message names the fault, and contains no part of the document."""


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of ``pairs``, for ``object_pairs_hook``."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise AmbiguousJsonError("repeats a member")
    return members


def no_constant(_name: str) -> NoReturn:
    """Reject a constant, for ``parse_constant``."""
    raise AmbiguousJsonError("contains NaN or Infinity, which are not JSON")
