"""Errors in AuthZEN's words: the status, and "an error message string" as the whole body. Denials are no errors."""

from typing import Final

import msgspec

from sidecar.domain.problems import Problem
from sidecar.http.problems import told_by_header
from sidecar.http.response import Answer

_HEADERS: Final = (("Cache-Control", "no-store"), ("Content-Type", "application/json"))


def tell(problem: Problem) -> Answer:
    """The message is a JSON string, so that a PEP that parses every answer as JSON never breaks on one."""
    return Answer(problem.status, (*_HEADERS, *told_by_header(problem)), msgspec.json.encode(problem.detail))
