"""THE table of the API: method, path, guard, handler, body. Routing, guards and the OpenAPI document come from it.

A row without a guard does not type-check; ``Gate.OPEN`` has to be written down. The gateway endpoints (``/check…``)
are not rows: they answer any method and never 404 (see checks.py).
"""

from sidecar.edge import (
    audit,
    browser,
    json_check,
    me,
    ops,
    passwords,
    policy,
    shapes,
    users,
)
from sidecar.edge.authzen import evaluation, search
from sidecar.edge.call import Endpoint, Gate
from sidecar.edge.oauth import grants, tokens
from sidecar.edge.openapi import document

CHECKS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        json_check.ENDPOINT,
        Gate.SIGNED_IN,
        json_check.check,
        "Decide one or many sections and actions for the caller",
        json_check.CheckBody,
        at_least=True,
        answer=shapes.Checked,
        asks=(shapes.Check, shapes.Checks),
    ),
    *evaluation.ENDPOINTS,
    *search.ENDPOINTS,
    *tokens.INTROSPECTION,
)

API: tuple[Endpoint, ...] = (
    *grants.ENDPOINTS,
    *browser.ENDPOINTS,
    *me.ENDPOINTS,
    *passwords.ENDPOINTS,
    *users.ENDPOINTS,
    *audit.ENDPOINTS,
    *policy.ENDPOINTS,
    document.endpoint(lambda: document.Tables(CHECKS, API, OPS)),
)

OPS: tuple[Endpoint, ...] = ops.ENDPOINTS
