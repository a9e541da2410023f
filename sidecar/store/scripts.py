"""The Lua scripts, read once from ``scripts/``: the prelude, then the transition's own file, as one text."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Raises FileNotFoundError for a name that has no file: a bug, not an outcome."""
    folder = files("sidecar.store").joinpath("scripts")
    body = folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")
    prelude = "" if body.startswith("-- standalone") else folder.joinpath("prelude.lua").read_text(encoding="utf-8")
    text = prelude + body
    return Script(name, text, hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    folder = files("sidecar.store").joinpath("scripts")
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua") and entry.name != "prelude.lua"
    )
