"""OpenAPI 3.1 document, derived from the tables that serve the API: paths, requirements, bodies, statuses, errors.

Members that a row leaves out are derived from its requirement and its body. Only the gateway endpoints, which are no
rows, are written by hand, in checks.py.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

from sidecar import __version__
from sidecar.api.authzen import problems as authzen_refusals
from sidecar.api.oauth import oauth_errors as oauth_refusals
from sidecar.api.openapi.checks import CHECK_RESPONSES, CHECK_SCHEMAS, check_paths
from sidecar.api.openapi.examples import named
from sidecar.http.endpoint import Endpoint, Require, RequirePermission, RequireScope
from sidecar.http.query import STRICT
from sidecar.http.request import RawBody, Request, Response
from sidecar.http.schemas import OAuthError, ProblemBody

PATH: Final = "/openapi.json"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
PROBLEM: Final = "application/problem+json"
REF: Final = "#/components/schemas/{name}"

ABOUT: Final = """\
A policy-as-code authorization sidecar. Gateways call `/check…` before each request. Services call `POST /v1/check` with
the user's token, or AuthZEN's `/access/v1/…` with their own key. Users sign in at `/token`, and manage their profile
and their account under `/v1`.

Errors are `application/problem+json` with a stable `code`, except on OAuth's endpoints (RFC 6749 section 5.2) and on
AuthZEN's (a message string). Each response has `X-Request-ID`, echoed from the request if it is well formed."""

Schema = dict[str, Any]

_SECURITY: Final[Schema] = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A user's access token, from /token.",
    },
    "sessionCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-sidecar",
        "description": "A browser's session, from POST /v1/session; `sidecar` where the public URL is plain HTTP.",
    },
    "pepKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "pep_…",
        "description": "A PEP's key, from `sidecar pep create`.",
    },
}
_HEADERS: Final[Schema] = {
    "RequestId": {"description": "Names this request in the logs.", "schema": {"type": "string"}},
    "Challenge": {"description": "RFC 6750 section 3.", "schema": {"type": "string"}},
    "RetryAfter": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}},
}


@dataclass(frozen=True, slots=True)
class EndpointTables:
    """All endpoint rows, per listener."""

    checks: tuple[Endpoint, ...]
    api: tuple[Endpoint, ...]
    ops: tuple[Endpoint, ...]


def endpoint(tables: Callable[[], EndpointTables]) -> Endpoint:
    """Return the row that serves the document. ``tables`` is a function, because they contain this row."""
    kept: dict[tuple[str, str], bytes] = {}

    async def serve(call: Request[None]) -> Response:
        """Return this document."""
        urls = (call.app.public_config.public_url, call.app.public_config.pdp_url)
        if urls not in kept:
            kept[urls] = msgspec.json.encode(document(tables(), *urls))
        return Response(200, kept[urls], (("Content-Type", JSON), ("Cache-Control", "public, max-age=300")))

    return Endpoint("GET", PATH, Require.OPEN, serve, "This document")


def document(tables: EndpointTables, url: str, checks_url: str = "") -> Schema:
    """Return the document. ``url``: the public listener's; ``checks_url``: that of a separate listener for checks."""
    rows = (*tables.checks, *tables.api, *tables.ops)
    schemas, components = _schemas(rows)
    apart = [{"url": checks_url, "description": "The listener for checks."}] if checks_url else []
    paths = {path: _at(apart) | item for path, item in check_paths().items()}
    for listed, servers in ((tables.checks, apart), (tables.api, []), (tables.ops, [_OPS_SERVER])):
        for row in listed:
            paths.setdefault(row.path, _at(servers))[row.method.lower()] = _operation(row, schemas)
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "policy-sidecar",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": url, "description": "The public listener."}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**components, **CHECK_SCHEMAS}.items())),
            "responses": {**_errors(rows, schemas), **CHECK_RESPONSES},
            "securitySchemes": _SECURITY,
            "headers": _HEADERS,
        },
    }


def _at(servers: list[Schema]) -> Schema:
    return {"servers": servers} if servers else {}


_OPS_SERVER: Final[Schema] = {
    "url": "http://{ops}",
    "description": "The operator's listener, which no gateway can reach.",
    "variables": {"ops": {"default": "127.0.0.1:9182"}},
}


def statuses(row: Endpoint) -> list[int]:
    """Return the statuses of a row, including those of its requirement, its query, its body and the store."""
    found = {*row.statuses, 503}
    if row.guard is not Require.OPEN:
        found |= {400, 401, 403}  # two Authorization headers, unauthenticated, denied
    if isinstance(row.guard, RequireScope):
        found.add(429)
    if row.body is not None:
        found |= {400, 413}
    if row.path.startswith(STRICT):
        found.add(400)  # an unknown query parameter
    return sorted(found)


def _schemas(rows: Iterable[Endpoint]) -> tuple[dict[Any, Schema], dict[str, Schema]]:
    """Return the schema of each type, and the components that these schemas refer to."""
    types = [ProblemBody, OAuthError]
    for row in rows:
        types += [
            kind for kind in (row.response_schema, *row.other_responses.values(), *_bodies(row)) if kind is not None
        ]
    listed = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(listed, ref_template=REF)
    return dict(zip(listed, schemas, strict=True)), dict(components)


def _bodies(row: Endpoint) -> tuple[Any, ...]:
    return row.request_schemas or (() if row.body in (None, RawBody) else (row.body,))


def _operation(row: Endpoint, schemas: Mapping[Any, Schema]) -> Schema:
    operation: Schema = {
        "operationId": _operation_id(row),
        "summary": row.summary,
        "description": _described(row),
        "tags": [_tag(row.path)],
        "security": _security(row),
        "parameters": _parameters(row),
        "responses": {str(status): _response(row, status, schemas) for status in statuses(row)},
    }
    bodies = [schemas[kind] for kind in _bodies(row)]
    if bodies:
        schema = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
        # A form alone, if both are accepted: client generators cannot handle two media types for one body.
        operation["requestBody"] = {"required": True, "content": _content(FORM if row.form else JSON, schema)}
    return {name: value for name, value in operation.items() if value != [] or name == "security"}


def _described(row: Endpoint) -> str:
    """Return the handler's docstring, followed by the row's requirement."""
    text = " ".join((row.handler.__doc__ or row.summary).split())
    if isinstance(row.guard, RequirePermission):
        text += f" Needs {row.guard.section}/{row.guard.action}."
    if isinstance(row.guard, RequireScope):
        text += f" Needs a key with the scope {row.guard.scope}."
    return text


def _operation_id(row: Endpoint) -> str:
    words = re.findall(r"[A-Za-z0-9]+", row.path)
    return "_".join([row.method.lower(), *words])


def _tag(path: str) -> str:
    for start, tag in _TAGS.items():
        if path.startswith(start):
            return tag
    return "about"


_TAGS: Final = {
    "/access/": "authzen",
    "/.well-known/authzen": "authzen",
    "/v1/check": "checks",
    "/v1/me": "me",
    "/v1/session": "sessions",
    "/v1/policy": "policy",
    "/v1/audit": "audit",
    "/v1/": "people",
    "/token": "oauth",
    "/revoke": "oauth",
    "/introspect": "oauth",
    "/.well-known/": "oauth",
    "/livez": "ops",
    "/readyz": "ops",
    "/status": "ops",
    "/metrics": "ops",
}


def _security(row: Endpoint) -> list[Schema]:
    if row.guard is Require.OPEN:
        return []
    return [{"pepKey": []}] if isinstance(row.guard, RequireScope) else [{"accessToken": []}, {"sessionCookie": []}]


_REVISION: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "description": "An X-Sidecar-Revision: the response is no older than that change, or 503.",
}


def _parameters(row: Endpoint) -> list[Schema]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", row.path)
    ]
    if row.query is not None:
        shape = msgspec.json.schema(row.query)["$defs"][row.query.__name__]
        found += [
            {"name": name, "in": "query", "required": name in shape["required"], "schema": schema}
            for name, schema in shape["properties"].items()
        ]
    if row.at_least:
        found.append({"name": "X-Sidecar-At-Least", "in": "header", "required": False, "schema": _REVISION})
    return found


def _response(row: Endpoint, status: int, schemas: Mapping[Any, Schema]) -> Schema:
    """Return a response. A success is the row's own; all rows of a standard share their errors."""
    if status >= 300:
        return {"$ref": f"#/components/responses/{_words(row)}{status}"}
    response: Schema = {"description": HTTPStatus(status).phrase, "headers": _headers(status)}
    schema = row.other_responses.get(status, row.response_schema)
    if schema is not None:
        response["content"] = _content(JSON, schemas[schema])
        if row.text:
            response["content"]["text/plain"] = {"schema": {"type": "string"}, "example": row.text}
    return response


def _content(media: str, schema: Schema) -> Schema:
    """Return a body of one media type, with its examples."""
    examples = named(schema)
    return {media: {"schema": schema, **({"examples": examples} if examples else {})}}


def _words(row: Endpoint) -> str:
    """Return the standard that defines the row's errors."""
    if row.render_problem is authzen_refusals.render_problem:
        return "Authzen"
    return "Oauth" if row.render_problem is oauth_refusals.render_problem else "Problem"


def _errors(rows: Iterable[Endpoint], schemas: Mapping[Any, Schema]) -> dict[str, Schema]:
    contents: dict[str, Schema] = {
        "Authzen": {JSON: {"schema": {"type": "string"}, "example": "subject: type must be a string"}},
        "Oauth": _content(JSON, schemas[OAuthError]),
        "Problem": _content(PROBLEM, schemas[ProblemBody]),
    }
    reported = {(_words(row), status) for row in rows for status in statuses(row) if status >= 300}
    return {
        f"{words}{status}": {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(status),
            "content": contents[words],
        }
        for words, status in sorted(reported)
    }


def _headers(status: int) -> Schema:
    headers = {"X-Request-ID": "RequestId"}
    if status == 401:
        headers["WWW-Authenticate"] = "Challenge"
    if status in (429, 503):
        headers["Retry-After"] = "RetryAfter"
    return {name: {"$ref": f"#/components/headers/{known}"} for name, known in headers.items()}
