"""Gateway endpoints in the OpenAPI document.

They are not table rows: any method is accepted, and 200 means allow (R1).
"""

from typing import Any, Final

from sidecar.api.openapi.examples import ANSWERS
from sidecar.domain.decision import Reason
from sidecar.domain.factors import FactorKind
from sidecar.http.response import IDENTITY

_REASONS: Final = [reason.value for reason in Reason]
_DENIAL: Final = {
    "application/json": {
        "schema": {"$ref": "#/components/schemas/Denial"},
        "examples": {"Denial": {"value": ANSWERS["Denial"]}},
    }
}

CHECK_SCHEMAS: Final[dict[str, Any]] = {
    "Denial": {
        "type": "object",
        "description": "Denial of a gateway check.",
        "required": ["decision", "reason", "message", "generation"],
        "properties": {
            "decision": {"const": False},
            "reason": {"enum": _REASONS},
            "message": {"type": "string"},
            "generation": {"type": "string"},
            "detail": {"type": "string", "description": "Remedy for the operator of the gateway."},
            "unmet": {"type": "array", "items": {"type": "string"}, "description": "Conditions that would do."},
            "enrol": {
                "type": "array",
                "items": {"enum": [kind.value for kind in FactorKind]},
                "description": "Kinds of second factors, one of which the user has to enrol first.",
            },
        },
    }
}

_FORWARDED: Final = (
    "Traefik ForwardAuth, Caddy forward_auth, HAProxy: checks the request in X-Forwarded-Method and X-Forwarded-Uri."
)
_PATHS: Final[dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]]] = {
    "/check": ("check_forwarded", _FORWARDED, ("X-Forwarded-Method", "X-Forwarded-Uri"), ()),
    "/check/nginx": (
        "check_nginx",
        "nginx auth_request: checks the request in X-Original-Method and X-Original-URI.",
        ("X-Original-Method", "X-Original-URI"),
        (),
    ),
    "/check/envoy/{path}": (
        "check_envoy",
        "Envoy ext_authz over HTTP: checks the request line after the prefix; {path} may contain slashes.",
        (),
        ("path",),
    ),
    "/check/sections/{section}": (
        "check_section",
        "Any gateway whose configuration names the section; the action is view.",
        (),
        ("section",),
    ),
    "/check/sections/{section}/{action}": (
        "check_section_action",
        "Any gateway whose configuration names section and action.",
        (),
        ("section", "action"),
    ),
}
_EXAMPLES: Final = {
    "X-Forwarded-Method": "GET",
    "X-Forwarded-Uri": "/dashboard/billing/",
    "X-Original-Method": "GET",
    "X-Original-URI": "/dashboard/billing/",
    "path": "dashboard/billing/",
    "section": "billing",
    "action": "view",
}


def check_paths() -> dict[str, Any]:
    """Return one operation per endpoint.

    Other methods get the same response, because the check's own method is ignored.
    """
    return {
        path: {"get": _operation(name, about, headers, names)} for path, (name, about, headers, names) in _PATHS.items()
    }


def _operation(name: str, about: str, headers: tuple[str, ...], names: tuple[str, ...]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "operationId": name,
        "summary": "Check a request",
        "description": f"{about} Exactly 200 is an allow. All methods are accepted; the body is not read.",
        "tags": ["checks"],
        "security": [{"accessToken": []}, {"sessionCookie": []}, {}],
        "parameters": [
            *(
                {"name": one, "in": "path", "required": True, "schema": text, "example": _EXAMPLES[one]}
                for one in names
            ),
            *(
                {"name": one, "in": "header", "required": False, "schema": text, "example": _EXAMPLES[one]}
                for one in headers
            ),
        ],
        "responses": {status: {"$ref": f"#/components/responses/Check{status}"} for status in _ANSWERS},
    }


def _headers(*more: str) -> dict[str, Any]:
    always = {
        "X-Auth-Reason": {"schema": {"enum": _REASONS}},
        "X-Auth-Generation": {"schema": {"type": "string"}},
        "X-Request-ID": {"$ref": "#/components/headers/RequestId"},
        "Cache-Control": {"schema": {"const": "no-store"}},
    }
    return {**always, **{name: {"schema": {"type": "string"}} for name in more}}


_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "200": {"description": "Allow.", "headers": _headers(*IDENTITY)},
    "302": {
        "description": "Only with SIDECAR_LOGIN_URL, to a browser that navigates without a session.",
        "headers": _headers("Location"),
    },
    "401": {"description": "Unauthenticated.", "headers": _headers("WWW-Authenticate"), "content": _DENIAL},
    "403": {"description": "Deny, or undetermined.", "headers": _headers(), "content": _DENIAL},
    "503": {
        "description": "Undetermined, with SIDECAR_UNAVAILABLE_STATUS=503.",
        "headers": _headers("Retry-After"),
        "content": _DENIAL,
    },
}
CHECK_RESPONSES: Final = {f"Check{status}": answer for status, answer in _ANSWERS.items()}
