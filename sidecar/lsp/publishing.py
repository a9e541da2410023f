"""Diagnostics of the policy as diagnostics of the protocol."""

import re
from collections.abc import Iterator
from typing import Any, Final

from lsprotocol import types

from sidecar.lsp.positions import Positions
from sidecar.policy.diagnostics import FILES, POLICY_FOLDER, Diagnostic, DiagnosticCode, Severity
from sidecar.policy.editing.buffers import Buffer

SOURCE: Final = "sidecar policy"
_SEVERITIES: Final = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
}
_FADED: Final = frozenset(
    (DiagnosticCode.SHADOWED_RULE, DiagnosticCode.UNREACHABLE_RULE, DiagnosticCode.UNUSED_CONDITION)
)
"""Findings of lines without effect, which editors show faded."""
_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|[^\s,="\[\]{}|]+|[^\s]')


def name_of(diagnostic: Diagnostic) -> str:
    """Return the bare name of the file that shows a finding. A finding of the folder is shown in policy.csv."""
    return "policy.csv" if diagnostic.file == POLICY_FOLDER else diagnostic.file.rpartition("/")[2]


def places_of(diagnostic: Diagnostic) -> list[tuple[str, int, int]]:
    """Return file, line and column of each place of a finding, its own first."""
    places = [(name_of(diagnostic), diagnostic.line, diagnostic.column)]
    for place in getattr(diagnostic, "places", ()):
        file, line, column = _place(diagnostic, place)
        if (file, line, column) not in places:
            places.append((file, line, column))
    return places


def _place(diagnostic: Diagnostic, place: Any) -> tuple[str, int, int]:
    """Return file, line and column of a further place: a value with these members, or a tuple that ends in them."""
    if isinstance(place, tuple):
        file = next((part for part in place if isinstance(part, str)), diagnostic.file)
        line, column = ([part for part in place if isinstance(part, int)] + [1, 1])[:2]
    else:
        file = getattr(place, "file", diagnostic.file)
        line, column = place.line, getattr(place, "column", 1)
    return file.rpartition("/")[2], line, column


def per_file(diagnostics: tuple[Diagnostic, ...]) -> dict[str, list[tuple[int, int, Diagnostic]]]:
    """Return, for every file, line and column of its findings."""
    found: dict[str, list[tuple[int, int, Diagnostic]]] = {name: [] for name in FILES}
    for diagnostic in diagnostics:
        for file, line, column in places_of(diagnostic):
            found.setdefault(file, []).append((line, column, diagnostic))
    return found


def to_protocol(
    found: list[tuple[int, int, Diagnostic]], buffer: Buffer, positions: Positions
) -> Iterator[types.Diagnostic]:
    """Yield the findings of one file as diagnostics. Their ``data`` has the parts of each finding."""
    for line, column, diagnostic in found:
        hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
        yield types.Diagnostic(
            range=positions.range(*span_of(buffer, line, column)),
            message=f"{diagnostic.message}{hint}",
            severity=_SEVERITIES[diagnostic.severity],
            code=diagnostic.code.value,
            source=SOURCE,
            tags=[types.DiagnosticTag.Unnecessary] if diagnostic.code in _FADED else None,
            data={
                "file": diagnostic.file,
                "line": line,
                "column": column,
                "message": diagnostic.message,
                "hint": diagnostic.hint,
            },
        )


def span_of(buffer: Buffer, line: int, column: int) -> tuple[int, int]:
    """Return the characters to underline: the field or word at the position, or the whole line at its start."""
    start, end = buffer.offset(line, column), buffer.offset(line, 10**9)
    if column > 1:
        match = _TOKEN.match(buffer.text, start, end)
        return (start, match.end()) if match else (max(start - 1, buffer.offset(line)), start)
    text = buffer.text[start:end]
    return start + len(text) - len(text.lstrip()), start + max(len(text.rstrip()), 0)
