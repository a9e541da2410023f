"""Findings as diagnostics: each of their places is shown, and each place names the whole finding."""

import msgspec
import pytest

from sidecar.lsp.positions import Positions
from sidecar.lsp.publishing import per_file, span_of, to_protocol
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, Severity
from sidecar.policy.editing.buffers import Buffer


class Spot(msgspec.Struct, frozen=True):
    """Position in the file of a finding."""

    line: int
    column: int


class Grouped(Diagnostic, frozen=True):
    """Finding of several places, which may also have the same field itself."""

    places: tuple[Spot, ...] = ()


TEXT = "p, x, users, view, allow\np, y, users, view, allow\np, x, audit, view, allow\n"


@pytest.mark.parametrize("spots", [(), (Spot(2, 4),), (Spot(2, 4), Spot(3, 4)), (Spot(1, 4),)])
def test_each_place_of_a_finding_is_shown(spots: tuple[Spot, ...]) -> None:
    code = DiagnosticCode.UNKNOWN_ROLE
    grouped = Grouped(Severity.ERROR, code, "policy/policy.csv", 1, 4, '"x" is not a role', "hint", places=spots)
    found = per_file((grouped,))["policy.csv"]
    shown = list(to_protocol(found, Buffer("policy.csv", TEXT), Positions(TEXT)))
    expected = sorted({(1, 4), *((spot.line, spot.column) for spot in spots)})
    assert [(one.range.start.line + 1, one.range.start.character + 1) for one in shown] == expected
    assert {one.message for one in shown} == {'"x" is not a role (hint)'}


@pytest.mark.parametrize(
    ("line", "column", "underlined"),
    [(1, 1, "p, x, users, view, allow"), (1, 4, "x"), (1, 7, "users"), (1, 20, "allow"), (1, 25, "w"), (9, 1, "")],
)
def test_a_finding_underlines_its_field_or_its_line(line: int, column: int, underlined: str) -> None:
    start, end = span_of(Buffer("policy.csv", TEXT), line, column)
    assert TEXT[start:end] == underlined


@pytest.mark.parametrize("file", ["policy", "policy/policy.csv", "model.conf"])
def test_a_finding_of_the_folder_is_shown_in_a_file(file: str) -> None:
    finding = Diagnostic(Severity.WARNING, DiagnosticCode.FILE_PERMISSIONS, file, 1, 1, "message", "hint")
    assert sum(map(len, per_file((finding,)).values())) == 1
