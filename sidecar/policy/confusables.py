"""Characters that pass for others. A policy that reads right and means something else is the hardest mistake to find.

Letters are compared as a reader sees them (`as_ascii`); the signs that give a line its form are refused wherever they
stand outside a comment (`false_sign`).
"""

import re
import unicodedata
from typing import Final

from sidecar.domain.text import Form, normalise

MAX_NAME: Final = 1024
"""Characters of a name that is looked at: an id has at most 64."""

_LOOKALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝкмтвнгАВЕКМНОРСТХαβεικνορτυχɑɡıℓ∗⁎✱٭",
    "aeopcyxijshdqwkmtbhrabekmhopctxabeiknoptuxagil****",
)
"""Cyrillic, Greek and IPA letters and other stars, and what they are taken for."""

_SIGNS = {
    **dict.fromkeys("，、،﹐﹑､‚", ("a comma", "write ,")),
    **dict.fromkeys("＃﹟", ("#", "write #")),
    **dict.fromkeys("“”„‟＂〝〞″", ("a quotation mark", 'write "')),
}
_SIGN = re.compile(f"[{''.join(_SIGNS)}]")


def as_ascii(name: str) -> str:
    """What a reader sees: look-alikes of other scripts as the letters they resemble, marks and widths taken off."""
    if name.isascii():
        return name
    latin = name.translate(_LOOKALIKES)
    decomposed = normalise(latin, Form.NFKD, MAX_NAME)
    if decomposed is None:
        return latin
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def described(character: str) -> str:
    """``U+0430 (CYRILLIC SMALL LETTER A)``."""
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'no name')})"


def false_sign(text: str) -> tuple[int, str, str] | None:
    """The first sign that only looks like a comma, ``#`` or ``"``: where it is, what is wrong, what to write."""
    found = None if text.isascii() else _SIGN.search(text)
    if found is None:
        return None
    what, hint = _SIGNS[found[0]]
    return found.start(), f"{described(found[0])} only looks like {what}", hint
