"""THE table of the API: method, path, guard, handler, body. Routing, guards and the OpenAPI document come from it.

A row without a guard does not type-check; ``Gate.OPEN`` has to be written down. The gateway endpoints (``/check…``)
are not rows: they answer any method and never 404 (see checks.py).
"""

from sidecar.edge import (
    audit,
    authzen,
    authzen_search,
    browser,
    json_check,
    me,
    oauth,
    oauth_tokens,
    openapi,
    ops,
    passwords,
    shapes,
    users,
)
from sidecar.edge.call import Endpoint, Gate

CHECKS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        json_check.ENDPOINT,
        Gate.SIGNED_IN,
        json_check.check,
        "Decide one or many sections and actions for the caller",
        json_check.CheckBody,
        answer=shapes.Checked,
        asks=(shapes.Check, shapes.Checks),
    ),
    *authzen.ENDPOINTS,
    *authzen_search.ENDPOINTS,
    *oauth_tokens.INTROSPECTION,
)

API: tuple[Endpoint, ...] = (
    *oauth.ENDPOINTS,
    *browser.ENDPOINTS,
    *me.ENDPOINTS,
    *passwords.ENDPOINTS,
    *users.ENDPOINTS,
    *audit.ENDPOINTS,
    openapi.endpoint(lambda: openapi.Tables(CHECKS, API, OPS)),
)

OPS: tuple[Endpoint, ...] = ops.ENDPOINTS
