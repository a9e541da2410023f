"""AuthZEN errors: the status, and "an error message string" as the whole body. Denials are not errors."""

from typing import Final

import msgspec

from sidecar.domain.problems import Problem
from sidecar.http.problems import told_by_header
from sidecar.http.response import Answer

_HEADERS: Final = (("Cache-Control", "no-store"), ("Content-Type", "application/json"))


def tell(problem: Problem) -> Answer:
    """Render a problem as a JSON string, so that a PEP can parse every response as JSON."""
    return Answer(problem.status, (*_HEADERS, *told_by_header(problem)), msgspec.json.encode(problem.detail))
