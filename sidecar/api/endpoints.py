"""Endpoint table of the API: method, path, requirement, handler, body. Routing and the OpenAPI document derive from it.

A row without a requirement fails type checking; ``Require.OPEN`` must be explicit. Gateway endpoints (``/check…``) are
not rows: they accept any method and never return 404 (see openapi/checks.py).
"""

from sidecar.api import (
    audit,
    browser_sessions,
    check_api,
    factors,
    health,
    me,
    password_reset,
    policy,
    policy_shadow,
    second_factor,
    user_factors,
    users,
)
from sidecar.api.authzen import evaluation, search
from sidecar.api.oauth import revocation_introspection, token_endpoint
from sidecar.api.openapi import document
from sidecar.http.endpoint import Endpoint, Require

CHECKS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        check_api.ENDPOINT,
        Require.SIGNED_IN,
        check_api.check,
        "Decide one or many sections and actions for the caller",
        check_api.CheckBody,
        at_least=True,
        response_schema=check_api.CheckResponse,
        request_schemas=(check_api.Check, check_api.Checks),
    ),
    *evaluation.ENDPOINTS,
    *search.ENDPOINTS,
    *revocation_introspection.INTROSPECTION,
)

API: tuple[Endpoint, ...] = (
    *token_endpoint.ENDPOINTS,
    *browser_sessions.ENDPOINTS,
    *second_factor.ENDPOINTS,
    *me.ENDPOINTS,
    *factors.ENDPOINTS,
    *password_reset.ENDPOINTS,
    *users.ENDPOINTS,
    *user_factors.ENDPOINTS,
    *audit.ENDPOINTS,
    *policy.ENDPOINTS,
    *policy_shadow.ENDPOINTS,
    document.endpoint(lambda: document.EndpointTables(CHECKS, API, OPS)),
)

OPS: tuple[Endpoint, ...] = health.ENDPOINTS
