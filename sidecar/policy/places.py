"""Places of a finding: findings that differ only in their position are one finding of several places."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from sidecar.policy.diagnostics import Diagnostic

SHOWN_PLACES: Final = 3
"""Maximum number of a finding's lines in its message."""

KNOWN: Final = "known: "
"""First word of a hint that lists the declared names, because none of them is close."""

Places = Sequence[tuple[int, int]]
"""Lines and columns."""

_DECLARED_IN: Final = {
    "unknown-role": "roles.toml",
    "unknown-section": "sections.toml",
    "unknown-action": "sections.toml",
    "unknown-condition": "conditions.toml",
}


class Place(msgspec.Struct, frozen=True):
    """Position in the file of a finding."""

    line: int
    column: int


def merged(ordered: Iterable["Diagnostic"]) -> list["Diagnostic"]:
    """Merge findings that differ only in their position. ``ordered``: by position."""
    causes: dict[object, list[Diagnostic]] = {}
    for index, one in enumerate(ordered):
        same = (one.file, one.code, one.severity, one.message, one.hint)
        causes.setdefault(index if one.places else same, []).append(one)
    return [_as_one(same) if len(same) > 1 else same[0] for same in causes.values()]


def _as_one(same: Sequence["Diagnostic"]) -> "Diagnostic":
    """Return the first of equal findings, with the positions of the others."""
    first, name = same[0], same[0].file.rpartition("/")[2]
    positions = list(dict.fromkeys((one.line, one.column) for one in same))
    if len(positions) == 1:
        return first
    message, hint = first.message, first.hint
    if first.code in _DECLARED_IN and hint.startswith(KNOWN):  # not misspelt: in several lines, probably removed
        message += " any more"
        hint = f"delete the lines, or declare it in {_DECLARED_IN[first.code]}; {hint}"
    further = tuple(Place(*place) for place in positions[1:])
    return replace(first, message=f"{message}: {listed(name, positions)}", hint=hint, places=further)


def listed(file: str, positions: Places) -> str:
    """Return ``expectations.csv 8, 9, 31 and 17 more``; the columns if there is one line."""
    lines = list(dict.fromkeys(line for line, _ in positions))
    numbers = lines if len(lines) > 1 else [column for _, column in positions]
    shown = ", ".join(map(str, numbers[:SHOWN_PLACES]))
    more = f" and {len(numbers) - SHOWN_PLACES:,} more" if len(numbers) > SHOWN_PLACES else ""
    return f"{file} {shown}{more}" if len(lines) > 1 else f"{file} {lines[0]}, columns {shown}{more}"
