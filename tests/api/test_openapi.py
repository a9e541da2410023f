"""The OpenAPI document: valid, complete for the tables of endpoints, and matching a real sidecar's responses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from sidecar.api.endpoints import API, CHECKS, OPS
from sidecar.api.openapi.document import EndpointTables, document, statuses
from sidecar.api.openapi.examples import EXAMPLES
from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code
from sidecar.gateways.ext_authz import EXACT
from sidecar.http.endpoint import Endpoint, Require, RequireScope
from sidecar.http.request import RawBody, Request, Response
from tests.api.fuzz.run import Run, faults, fuzz, prepare, serve

ROWS = (*CHECKS, *API)
TABLES = EndpointTables(CHECKS, API, OPS)
URL = "https://sidecar.example"
NO_JSON = {"/metrics", "/openapi.json", "/revoke"}
"""Rows with a 200 that is text, this document, or empty."""


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return json.loads(json.dumps(document(TABLES, URL)))


def named(row: Endpoint) -> str:
    return f"{row.method} {row.path}"


each_row = pytest.mark.parametrize("row", [*ROWS, *OPS], ids=named)


def test_it_is_valid_openapi_3_1(spec: dict[str, Any]) -> None:
    assert spec["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(spec).iter_errors()] == []


@each_row
def test_every_row_is_in_it(spec: dict[str, Any], row: Endpoint) -> None:
    operation = spec["paths"][row.path][row.method.lower()]
    assert operation["summary"] == row.summary
    assert set(operation["responses"]) == {str(status) for status in statuses(row)}
    names = [part["name"] for part in operation.get("parameters", []) if part["in"] == "path"]
    assert names == [part[1:-1] for part in row.path.split("/") if part.startswith("{")]


def test_nothing_else_is_in_it_but_the_gateway_endpoints(spec: dict[str, Any]) -> None:
    rows = {row.path for row in (*ROWS, *OPS)}
    gateways = {path for path in spec["paths"] if path not in rows}
    assert all(path == "/check" or path.startswith("/check/") for path in gateways)
    assert gateways >= set(EXACT)
    assert {method for path in gateways for method in spec["paths"][path]} == {"get"}, "one operation per endpoint"


def test_operation_ids_are_unique(spec: dict[str, Any]) -> None:
    found = [operation["operationId"] for _, _, operation in operations(spec)]
    assert len(found) == len(set(found))


@each_row
def test_a_good_answer_has_a_shape(row: Endpoint) -> None:
    """A new row declares its response: ``response_schema`` in the row, a Struct in schemas.py."""
    if row.statuses[0] != 204 and row.path not in NO_JSON:
        assert row.response_schema is not None
    else:
        assert row.response_schema is None


@each_row
def test_a_raw_body_says_what_it_holds(row: Endpoint) -> None:
    assert row.request_schemas or row.body is not RawBody


@each_row
def test_guards_are_told_as_security(spec: dict[str, Any], row: Endpoint) -> None:
    security = spec["paths"][row.path][row.method.lower()]["security"]
    if row.guard is Require.OPEN:
        assert security == []
    elif isinstance(row.guard, RequireScope):
        assert security == [{"pepKey": []}]
    else:
        assert security == [{"accessToken": []}, {"sessionCookie": []}]


def test_closed_lists_stand_in_it_whole(spec: dict[str, Any]) -> None:
    schemas = spec["components"]["schemas"]
    assert set(schemas["Code"]["enum"]) == {code.value for code in Code}
    assert set(schemas["Reason"]["enum"]) == {reason.value for reason in Reason}
    assert set(schemas["Denial"]["properties"]["reason"]["enum"]) == {reason.value for reason in Reason}


def test_gateways_read_an_allow_from_200_alone(spec: dict[str, Any]) -> None:
    for path, _, operation in operations(spec):
        if path.startswith("/check"):
            assert [status for status in operation["responses"] if status.startswith("2")] == ["200"]


def test_the_operators_listener_is_a_server_of_its_own(spec: dict[str, Any]) -> None:
    assert spec["servers"][0]["url"] == URL
    for row in OPS:
        assert "ops" in spec["paths"][row.path]["servers"][0]["variables"]


def test_checks_on_a_listener_of_their_own_are_found_there() -> None:
    spec = document(TABLES, URL, "http://127.0.0.1:9183")
    apart = {
        path for path, item in spec["paths"].items() if item.get("servers", [{}])[0].get("url", "").endswith("9183")
    }
    assert apart == {"/check", *(path for path in spec["paths"] if path.startswith("/check/"))} | {
        row.path for row in CHECKS
    }
    assert not [error.message for error in OpenAPIV31SpecValidator(json.loads(json.dumps(spec))).iter_errors()]


def test_a_query_is_told_name_by_name() -> None:
    class Wanted(msgspec.Struct):
        after: str
        limit: int = 100

    async def listing(_call: Request[None]) -> Response:
        return Response(200)

    row = Endpoint("GET", "/v1/things/{id}", Require.OPEN, listing, "Things", query=Wanted)
    told = document(EndpointTables((), (row,), ()), URL)["paths"]["/v1/things/{id}"]["get"]["parameters"]
    assert [(one["name"], one["in"], one["required"]) for one in told] == [
        ("id", "path", True), ("after", "query", True), ("limit", "query", False)
    ]  # fmt: skip
    assert told[2]["schema"]["type"] == "integer"


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict):
                yield path, method, operation


def test_no_schema_is_left_without_use(spec: dict[str, Any]) -> None:
    text = json.dumps(spec)
    for kind in ("schemas", "responses", "headers"):
        for name in spec["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


def bodies(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every media type of a request or a response, shared responses included, by its place."""
    for path, method, operation in operations(spec):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            yield f"{method} {path} asks", media
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                yield f"{method} {path} {status}", media
    for name, response in spec["components"]["responses"].items():
        for media in response.get("content", {}).values():
            yield name, media


def test_every_body_has_an_example(spec: dict[str, Any]) -> None:
    """A new body or response has an example in api/openapi/examples.py."""
    assert [where for where, media in bodies(spec) if not media.get("examples") and "example" not in media] == []
    for where, media in bodies(spec):
        if "anyOf" in media["schema"]:
            assert len(media["examples"]) == len(media["schema"]["anyOf"]), where


def test_every_example_is_one(spec: dict[str, Any]) -> None:
    for where, media in bodies(spec):
        schema = {**media["schema"], "components": spec["components"]}
        shown = [one["value"] for one in media.get("examples", {}).values()] or [media["example"]]
        for value in shown:
            faults = [fault.message for fault in Draft202012Validator(schema).iter_errors(value)]
            assert faults == [], where
            properties = media["schema"].get("$ref", "").rpartition("/")[2]
            if isinstance(value, dict) and properties:
                assert set(value) <= set(spec["components"]["schemas"][properties]["properties"]), where


def test_no_example_is_left_without_use(spec: dict[str, Any]) -> None:
    shown = {name for _, media in bodies(spec) for name in media.get("examples", {})}
    assert set(EXAMPLES) == shown


def test_oauth_bodies_are_told_as_forms_alone(spec: dict[str, Any]) -> None:
    """JSON is accepted as well, but two media types for one body break generated clients."""
    for path in ("/token", "/revoke", "/introspect"):
        assert set(spec["paths"][path]["post"]["requestBody"]["content"]) == {"application/x-www-form-urlencoded"}
    for path, method, operation in operations(spec):
        assert len(operation.get("requestBody", {"content": [1]})["content"]) == 1, f"{method} {path}"


# -- against a real sidecar --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Run], Path]]:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install policy-sidecar[fuzz]")
    folder = tmp_path_factory.mktemp("fuzz")
    process = serve(folder)
    try:
        key = prepare(process.settings)
        runs = [fuzz(process, key, max_examples=4, seed=20261124, report=folder, ops=ops) for ops in (False, True)]
        yield runs, process.log
    finally:
        process.popen.terminate()
        process.popen.wait(20)


@pytest.mark.slow
def test_schemathesis_finds_no_undocumented_status_and_no_5xx(short_runs: tuple[list[Run], Path]) -> None:
    """Run ``python -m tests.api.fuzz.run`` in its short form: about a thousand cases, always the same."""
    runs, log = short_runs
    for run in runs:
        assert run.status == 0, run.output[run.output.find("FAILURES") :][:8000]
    assert sum(run.cases for run in runs) >= 1000
    assert not faults(log)
