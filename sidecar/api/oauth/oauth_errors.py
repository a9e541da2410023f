"""OAuth errors (RFC 6749 section 5.2), and the challenge of RFC 6750 section 3 for a PEP key.

A description contains only the characters that section 5.2 allows: printable ASCII without quote and backslash.
"""

from typing import Any, Final

import msgspec

from sidecar.domain.problems import Problem
from sidecar.http.problems import described_by_header
from sidecar.http.request import Response
from sidecar.http.response import RawResponse
from sidecar.http.schemas import OAuthError

NO_STORE: Final = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))

_ERRORS: Final = {
    401: "invalid_token",
    403: "insufficient_scope",
    429: "rate_limited",
    500: "server_error",
    503: "temporarily_unavailable",
}
_WRITTEN: Final = str.maketrans({"…": "...", '"': "'", "\\": "/"})


def error(code: str, description: str, status: int = 400, retry_after: int | None = None, **members: Any) -> Response:
    """Return an error of the token, revocation and introspection endpoints. ``retry_after`` is in seconds.

    ``members``: further ones of OAuthError.
    """
    wait = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Response(status, msgspec.structs.replace(_body(code, description), **members), NO_STORE + wait)


def render_problem(problem: Problem) -> RawResponse:
    """Render a problem of authorization, body or store as an OAuth error."""
    headers = (*NO_STORE, ("Content-Type", "application/json"), *described_by_header(problem))
    body = _body(_ERRORS.get(problem.status, "invalid_request"), problem.detail)
    return RawResponse(problem.status, headers, msgspec.json.encode(body))


def _body(code: str, description: str) -> OAuthError:
    written = description.translate(_WRITTEN)
    return OAuthError(code, "".join(char if " " <= char <= "~" else "?" for char in written))
