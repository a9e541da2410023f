"""Own segments of routes: ``{account}`` and ``{user}`` match the caller's own ids alone, byte for byte.

An own segment is as specific as ``*``. It holds an id, never a name, because a name is editable. The caller is not
known while a path is resolved, so the result carries the segments (`OwnTarget`), and the decision compares them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sidecar.domain.access import OwnTarget, Target

ACCOUNT: Final = "{account}"
USER: Final = "{user}"
OWN: Final = (ACCOUNT, USER)
STARS: Final = frozenset(("*", *OWN))
"""Segments of a pattern that match one segment of any name."""


class OwnSegments(NamedTuple):
    """Positions of the own segments in a path; None for one that it does not have."""

    account: int | None
    user: int | None

    def target_in(self, target: Target, segments: Sequence[str]) -> OwnTarget:
        """Return the target of a path with these segments, which its pattern matches."""
        account = None if self.account is None else segments[self.account]
        return OwnTarget(target, account, None if self.user is None else segments[self.user])

    @property
    def text(self) -> str:
        """Return the own segments with their numbers, counted from 1: ``{account} as segment 2``."""
        places = sorted((place, name) for name, place in zip(OWN, self, strict=True) if place is not None)
        return " and ".join(f"{name} as segment {place + 1}" for place, name in places)

    def is_kept_by(self, other: "OwnSegments | None") -> bool:
        """Return whether ``other`` has each of these segments, so that it allows no further callers."""
        return other is not None and self.account in (None, other.account) and self.user in (None, other.user)


def own_of(segments: Sequence[str]) -> OwnSegments | None:
    """Return the own segments of a pattern, or None if it has none."""
    if ACCOUNT not in segments and USER not in segments:
        return None
    account, user = (segments.index(one) if one in segments else None for one in OWN)
    return OwnSegments(account, user)


def shape(segments: tuple[str, ...]) -> tuple[str, ...]:
    """Return a pattern with ``*`` in place of its own segments. It matches the same paths."""
    return segments if own_of(segments) is None else tuple("*" if one in OWN else one for one in segments)
