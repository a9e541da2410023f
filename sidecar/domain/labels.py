"""Labels of accounts, set by the operator. Conditions of a policy can require a value of one label."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MAX_LABELS: Final = 16
"""Maximum labels of an account."""

WORD: Final = "[a-z0-9-]{1,40}"
"""Pattern of a label's name, and of its value."""

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})

_LABEL: Final = re.compile(f"({WORD})=({WORD})?")
_LABELS: Final = re.compile(f"{WORD}={WORD}(?: {WORD}={WORD}){{0,{MAX_LABELS - 1}}}")


def read_label(written: str) -> tuple[str, str] | None:
    """Return name and value of ``NAME=VALUE``; None for another form. ``NAME=`` has an empty value."""
    found = _LABEL.fullmatch(written)
    return (found[1], found[2] or "") if found else None


def labels_of(text: str) -> Mapping[str, str]:
    """Return the labels of their stored text."""
    return MappingProxyType(dict(word.split("=", 1) for word in text.split()))


def text_of(labels: Mapping[str, str]) -> str:
    """Return the labels as one text: words ``NAME=VALUE``, sorted."""
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def is_text(text: str) -> bool:
    """Return whether the text is one that ``text_of`` returns for at least one label."""
    return _LABELS.fullmatch(text) is not None and text == text_of(labels_of(text))
