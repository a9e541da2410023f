"""Proposed rows for expectations.csv and routes.csv, as edits of these files. For `policy expect` and for editors."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.policy.decision_table import Cell
from sidecar.policy.editing.row_placement import Insertion, insert, place_expectations, place_route_tests, row_lines
from sidecar.policy.expectations import EXPECTATIONS, ROUTES, Suite, TestResults
from sidecar.policy.generation import Generation
from sidecar.policy.missing_rows import missing_expectations, missing_need_tests, missing_route_tests


class Proposal(NamedTuple):
    """Missing rows of one file. ``content`` is the file now."""

    file: str
    content: bytes
    insertions: tuple[Insertion, ...]

    @property
    def written(self) -> bytes:
        """The file with the rows, each under a line ``# review``."""
        return insert(self.content, self.insertions, review=True)

    @property
    def written_rows(self) -> list[tuple[int, str]]:
        """Line and text of each row in `written`."""
        return row_lines(self.insertions)


def proposals(generation: Generation, suite: Suite, results: TestResults, *, explicit: bool = False) -> list[Proposal]:
    """Return the missing rows of each file that lacks some. ``explicit``: allows need exact rows.

    ``generation`` may be a draft whose tests fail. Both files must be readable (`Suite.whole`).
    """
    missing = (*results.missing, *(_inexact(generation, suite) if explicit else ()))
    in_order = {cell: None for cell in generation.cells if cell in set(missing)}
    rows = [
        *missing_expectations(generation, in_order, explicit=explicit),
        *missing_need_tests(generation, results.untested_needs),
    ]
    expectations, routes = generation.files[EXPECTATIONS], generation.files[ROUTES]
    found = (
        Proposal(EXPECTATIONS, expectations, tuple(place_expectations(expectations, rows, generation))),
        Proposal(
            ROUTES,
            routes,
            tuple(place_route_tests(routes, missing_route_tests(generation, results.untested), generation)),
        ),
    )
    return [one for one in found if one.insertions]


def _inexact(generation: Generation, suite: Suite) -> Iterator[Cell]:
    """Yield the allowed cells of assignable roles that only a row with ``*`` expects."""
    rows = suite.rows()
    for cell, ruling in generation.cells.items():
        row = rows.row_of(*cell)
        if row is not None and not row.exact and ruling.allowed and generation.roles[cell[0]].assignable:
            yield cell
