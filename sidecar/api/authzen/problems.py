"""AuthZEN errors: the status, and "an error message string" as the whole body. Denials are not errors."""

from typing import Final

import msgspec

from sidecar.domain.problems import Problem
from sidecar.http.problems import described_by_header
from sidecar.http.response import RawResponse

_HEADERS: Final = (("Cache-Control", "no-store"), ("Content-Type", "application/json"))


def render_problem(problem: Problem) -> RawResponse:
    """Render a problem as a JSON string, so that a PEP can parse every response as JSON."""
    return RawResponse(problem.status, (*_HEADERS, *described_by_header(problem)), msgspec.json.encode(problem.detail))
