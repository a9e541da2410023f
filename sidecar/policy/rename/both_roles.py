"""Files with the old and the new role, of equal rights, for the time in which people are moved from one to the other.

The additions are between two comments. A later run finds and removes them, also after other edits.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from sidecar.policy.declarations import Role
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.rename.edits import TextEdit, apply_edits
from sidecar.policy.rename.plan import aligned_as
from sidecar.policy.text.csv_reader import read_lines, records

FILES: Final = ("roles.toml", "policy.csv", "expectations.csv")
MAX_TITLE: Final = 500


def with_both(files: Mapping[str, bytes], old: Role, new: str) -> dict[str, bytes]:
    """Return the changed files with ``new`` beside the role ``old``. ``new`` inherits its rules and needs."""
    added = {
        "roles.toml": _declaration(old, new),
        "policy.csv": [f"g, {new}, {old.id}"],
        "expectations.csv": _copies(files["expectations.csv"], old.id, new),
    }
    changed = {}
    for name in FILES:
        block = [_mark(old.id, new, "begin"), *added[name], _mark(old.id, new, "end")]
        end = b"\r\n" if b"\r\n" in files[name] else b"\n"
        data = files[name] + end + b"".join(line.encode() + end for line in block)
        changed[name] = aligned_as(name, files[name], data)
    return changed


def without_both(files: Mapping[str, bytes], old: str, new: str) -> dict[str, bytes]:
    """Return the changed files without what `with_both` added."""
    begin, end = re.escape(_mark(old, new, "begin")), re.escape(_mark(old, new, "end"))
    block = re.compile(rf"\r?\n{begin}\r?\n(?:.*\n)*?{end}(?:\r?\n|$)".encode())
    changed = {}
    for name in FILES:
        data = block.sub(b"", files[name])
        if data != files[name]:
            changed[name] = aligned_as(name, files[name], data)
    return changed


def has_both(files: Mapping[str, bytes], old: str, new: str) -> bool:
    """Return whether the files are those of an unfinished move of people from ``old`` to ``new``."""
    return _mark(old, new, "begin").encode() in files.get("roles.toml", b"")


def _mark(old: str, new: str, which: str) -> str:
    return f"# {which} of the move from {old} to {new}: sidecar policy rename role {old} {new} --in-store"


def _declaration(old: Role, new: str) -> list[str]:
    title = f"{old.title[: MAX_TITLE - len(new) - 3]} ({new})"
    lines = [f"[roles.{new}]", f"title = {_quoted(title)}"]
    if old.description:
        lines.append(f"description = {_quoted(old.description)}")
    return lines if old.assignable else [*lines, "assignable = false"]


def _quoted(text: str) -> str:
    """Return a TOML string. Escapes of JSON are also those of TOML."""
    return json.dumps(text, ensure_ascii=False)


def _copies(data: bytes, old: str, new: str) -> list[str]:
    unused = DiagnosticSink()
    rows = records(read_lines(data, "expectations.csv", unused), "expectations.csv", unused)
    return [apply_edits(row.text, [TextEdit(*row.span(1), new)]) for row in rows if row.fields[1:2] == (old,)]
