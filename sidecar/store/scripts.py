"""Lua scripts, read once from ``scripts/``. A script is the prelude and its own file, as one text.

A file that starts with ``-- include: NAME`` has ``prelude_NAME.lua`` between them; one that starts with
``-- standalone, include: NAME`` has that prelude alone.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_INCLUDE: Final = re.compile(r"-- (?:standalone, )?include: (\w+)\n")


@dataclass(frozen=True, slots=True)
class Script:
    """Script text with the SHA-1 that EVALSHA takes."""

    text: str
    sha: str
    name: str = ""


@cache
def script(name: str) -> Script:
    """Return the script with this name. Raises FileNotFoundError for an unknown name: a bug, not an outcome."""
    folder = files("sidecar.store").joinpath("scripts")
    body = folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")
    parts = [] if body.startswith("-- standalone") else ["prelude"]
    if included := _INCLUDE.match(body):
        parts.append(f"prelude_{included[1]}")
    text = "".join(folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in parts) + body
    return Script(text, hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest(), name)


def names() -> list[str]:
    """Return the sorted names of all scripts."""
    folder = files("sidecar.store").joinpath("scripts")
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua") and not entry.name.startswith("prelude")
    )
