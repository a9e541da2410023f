"""Routing of the API: exact, then named segments, never a prefix."""

import pytest

from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.request import Request, Response
from sidecar.http.router import Router


async def handler(_call: Request[None]) -> Response:
    return Response(200)


def row(method: str, path: str) -> Endpoint:
    return Endpoint(method, path, Require.OPEN, handler, "")


TABLE = Router(
    [row("GET", "/v1/users"), row("POST", "/v1/users"), row("PATCH", "/v1/users/{id}"), row("GET", "/v1/users/me")]
)


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        ("GET", "/v1/users", {}),
        ("HEAD", "/v1/users", {}),
        ("GET", "/v1/users/me", {}),
        ("PATCH", "/v1/users/usr_x", {"id": "usr_x"}),
    ],
)
def test_found(method: str, path: str, names: dict[str, str]) -> None:
    found = TABLE.find(method, path)
    assert not isinstance(found, Problem)
    assert found[1] == names


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/users/", "/v1/users/a/b", "/v1//users", "/V1/users", "http://x/v1/users"]
)
def test_not_found(path: str) -> None:
    found = TABLE.find("GET", path)
    assert isinstance(found, Problem)
    assert found.code is Code.NOT_FOUND


def test_a_wrong_method_names_the_right_ones() -> None:
    found = TABLE.find("DELETE", "/v1/users")
    assert isinstance(found, Problem)
    assert found.code is Code.METHOD_NOT_ALLOWED
    assert found.extra["allow"] == "GET, POST"


def test_two_rows_of_one_method_and_path_do_not_start() -> None:
    with pytest.raises(ValueError, match="two endpoints for GET /a"):
        Router([row("GET", "/a"), row("GET", "/a")])
