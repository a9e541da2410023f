"""Display names of users and accounts: one clean line each, because lists, logs and mails show them."""

import unicodedata
from typing import Final

from sidecar.domain import text
from sidecar.policy.text.confusables import as_ascii

MAX_NAME: Final = 100
NAME_RULE: Final = (
    "must be one line of at most 100 visible characters, and not look like operator, sidecar or system, "
    "which the audit shows as actors"
)
"""Rule of `clean_person` for error messages."""

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


def clean_person(name: str) -> str | None:
    """Return the name of a user as `clean`, or None if it looks like an actor of the audit that is no user."""
    cleaned = clean(name)
    if cleaned is None:
        return None
    appearance = _appearance(cleaned)
    return None if appearance is None or appearance in _SYSTEM_ACTORS else cleaned


_DIGITS: Final = str.maketrans("0135i|!", "oleslll")
"""Digits and signs as the letters that they resemble. ``i`` and ``l`` are one letter: a capital I looks like l."""


def _appearance(name: str) -> str | None:
    """Return the letters of the name as a reader sees them, without case, spaces and punctuation; None if unknown."""
    letters = text.fold_case(as_ascii(name), 20 * MAX_NAME)
    return None if letters is None else "".join(char for char in letters.translate(_DIGITS) if char.isalnum())


_SYSTEM_ACTORS: Final = frozenset(
    _appearance(article + actor) for actor in ("operator", "sidecar", "system") for article in ("", "a", "an", "the")
)
