"""Display names of users and accounts: one clean line each, because lists, logs and mails show them."""

import unicodedata
from typing import Final

from sidecar.domain import text

MAX_NAME: Final = 100

# Control, format (bidirectional overrides, zero width), surrogate, private, unassigned, line and paragraph ends.
_REFUSED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")  # part of the spelling in Persian, in several Indic scripts and in emoji


def clean(name: str) -> str | None:
    """Return the name in NFC with single spaces, or None if it is invalid."""
    if not text.is_bounded(name, 4 * MAX_NAME):
        return None
    if any(unicodedata.category(char) in _REFUSED and char not in _JOINERS for char in name):
        return None
    composed = text.normalise(name, text.NormalForm.NFC, 4 * MAX_NAME)
    if composed is None:
        return None
    name = " ".join(composed.split())
    return name if len(name) <= MAX_NAME else None
