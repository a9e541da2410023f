"""Row of the endpoint table, with the requirement that admits a caller."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sidecar.domain.peps import Scope
from sidecar.domain.problems import Problem
from sidecar.http.problems import problem_answer
from sidecar.http.request import Request, Response
from sidecar.http.response import RawResponse


class Require(Enum):
    """Requirements without parameters."""

    OPEN = "open"
    SIGNED_IN = "signed-in"


@dataclass(frozen=True, slots=True)
class RequirePermission:
    """Requires a signed-in user with permission for ``action`` in ``section``."""

    section: str
    action: str


@dataclass(frozen=True, slots=True)
class RequireScope:
    """Requires a PEP key with ``scope``. User tokens are rejected here, and PEP keys everywhere else (R20)."""

    scope: Scope


Requirement = Require | RequirePermission | RequireScope

Handler = Callable[[Request[Any]], Awaitable[Response | Problem]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the endpoint table.

    ``path`` contains ``{names}`` for single segments. ``body``: a Struct, ``RawBody``, or None for no body.
    ``render_problem``: in the endpoint's standard. ``max_body`` overrides SIDECAR_MAX_BODY. ``at_least``: the endpoint
    reads ``X-Sidecar-At-Least``.
    The rest is for the OpenAPI document. ``response_schema``: JSON of the first status. ``other_responses``: JSON of
    further statuses below 300. ``request_schemas``:
    alternatives of the body where ``body`` does not define it. ``form``: a form is accepted, too. ``query``: a Struct
    of the query parameters. ``text``: example of a plain-text alternative.
    """

    method: str
    path: str
    guard: Requirement
    handler: Handler
    summary: str
    body: type[Any] | None = None
    statuses: tuple[int, ...] = (200,)
    render_problem: Callable[[Problem], RawResponse] = problem_answer
    max_body: int = 0
    at_least: bool = False
    response_schema: type[Any] | None = None
    other_responses: Mapping[int, type[Any]] = field(default_factory=dict)
    request_schemas: tuple[type[Any], ...] = ()
    form: bool = False
    query: type[Any] | None = None
    text: str = ""
