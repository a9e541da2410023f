"""Confusable characters (UTS #39): characters that look like others. Such mistakes are invisible in a review.

Letters are compared by appearance (`as_ascii`). Look-alikes of CSV and TOML punctuation are rejected outside comments
(`false_sign`).
"""

import re
import unicodedata
from typing import Final

from sidecar.domain.text import NormalForm, normalise

MAX_NAME: Final = 1024
"""Maximum length in characters of a name to compare. Ids have at most 64."""

_LOOKALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝкмтвнгАВЕКМНОРСТХαβεικνορτυχɑɡıℓ∗⁎✱٭",
    "aeopcyxijshdqwkmtbhrabekmhopctxabeiknoptuxagil****",
)
"""Cyrillic, Greek and IPA letters and asterisk variants, mapped to the ASCII characters they resemble."""

_SIGNS = {
    **dict.fromkeys("，、،﹐﹑､‚", ("a comma", "write ,")),
    **dict.fromkeys("＃﹟", ("#", "write #")),
    **dict.fromkeys("“”„‟＂〝〞″", ("a quotation mark", 'write "')),
}
_SIGN = re.compile(f"[{''.join(_SIGNS)}]")


def as_ascii(name: str) -> str:
    """Return the name as it appears to a reader: confusables as ASCII, without combining marks and width variants."""
    if name.isascii():
        return name
    latin = name.translate(_LOOKALIKES)
    decomposed = normalise(latin, NormalForm.NFKD, MAX_NAME)
    if decomposed is None:
        return latin
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def described(character: str) -> str:
    """Return code point and name of a character: ``U+0430 (CYRILLIC SMALL LETTER A)``."""
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'no name')})"


def false_sign(text: str) -> tuple[int, str, str] | None:
    """Return index, message and hint of the first look-alike of a comma, ``#`` or ``"``; None if there is none."""
    found = None if text.isascii() else _SIGN.search(text)
    if found is None:
        return None
    lookalike, hint = _SIGNS[found[0]]
    return found.start(), f"{described(found[0])} only looks like {lookalike}", hint
