"""Query parameters: every call under /v1 rejects unknown and repeated ones, and no other call changes."""

import pytest

from sidecar.api.endpoints import API, CHECKS
from sidecar.api.openapi.document import statuses
from sidecar.api.openapi.examples import EXAMPLES
from sidecar.http.endpoint import Endpoint
from tests.fixtures import PUBLIC

ROWS = [row for row in (*CHECKS, *API) if row.path.startswith("/v1/")]
UNKNOWN = [
    "debug=1",
    "debug",
    "=1",
    "Limit=1",
    "limit%20=1",
    "user=x&debug=",
    "__proto__=1",
    "&&debug=1",
    "%ff=1",
    "a.b=%00",
]


@pytest.fixture
async def web(open_web):
    return await open_web()


def named(row: Endpoint) -> str:
    return f"{row.method} {row.path}"


async def send(web, row, query, **more):
    """Send the row's example body to existing ids, so that only the query is wrong."""
    admin = await web.town.people.users.find(web.account, "ada@example.com")
    path = row.path.replace("{id}", admin).replace("{sid}", web.grant.session)
    body = EXAMPLES.get(row.body.__name__) if row.body is not None else None
    headers = {"Origin": PUBLIC, "Content-Type": "application/json"}
    return await web.ask(row.method, f"{path}?{query}", body, headers=headers, **more)


@pytest.fixture
async def signed_in(web, town):
    web.account = (await town.found()).account
    web.grant = await town.grant("ada@example.com")
    return web


async def state(town, account):
    roster = await town.people.users.roster(account)
    return [member.record for member in roster.members]


@pytest.mark.parametrize("row", ROWS, ids=named)
async def test_an_unknown_parameter_is_400_on_every_row(signed_in, town, row):
    before = await state(town, signed_in.account)
    for query in UNKNOWN:
        answer = await send(signed_in, row, query, token=signed_in.grant.access_token)
        assert (answer.status, answer.body["code"]) == (400, "bad_request"), query
        assert "is not a query parameter of this call" in answer.body["detail"], query
        assert "Set-Cookie" not in answer.headers
    assert await state(town, signed_in.account) == before
    assert 400 in statuses(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.query is not None], ids=named)
async def test_a_problem_lists_the_known_parameters(signed_in, row):
    known = row.query.__struct_encode_fields__
    answer = await send(signed_in, row, "sektion=1", token=signed_in.grant.access_token)
    assert answer.body["detail"] == f'"sektion" is not a query parameter of this call; use {", ".join(known)}'
    twice = f"{known[0]}=1&{known[0]}=2"
    answer = await send(signed_in, row, twice, token=signed_in.grant.access_token)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert f'"{known[0]}" is repeated' in answer.body["detail"]


async def test_a_query_without_parameters_is_none(signed_in):
    for query in ("", "&", "&&"):
        answer = await signed_in.ask("GET", f"/v1/me?{query}", token=signed_in.grant.access_token)
        assert answer.status == 200


async def test_a_long_name_is_repeated_in_part_alone(signed_in):
    answer = await signed_in.ask("GET", f"/v1/me?{'x' * 5000}=1", token=signed_in.grant.access_token)
    assert answer.status == 400
    assert len(answer.raw) < 400
    headers = {"Authorization": f"Bearer {signed_in.grant.access_token}"}
    assert (await signed_in.client.head("/v1/me?x=1", headers=headers)).status == 400
    assert (await signed_in.client.head("/v1/me", headers=headers)).status == 200


async def test_authorization_comes_before_the_query(signed_in, town):
    """A caller without access learns nothing of the parameters."""
    assert (await signed_in.ask("GET", "/v1/audit?debug=1")).status == 401
    admin = await town.people.users.record(await town.people.users.find(signed_in.account, "ada@example.com"))
    await town.join(admin, "mia@example.com", "marketer")
    mia = await signed_in.token("mia@example.com")
    assert (await signed_in.ask("GET", "/v1/audit?debug=1", token=mia)).status == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/.well-known/jwks.json", 200),
        ("GET", "/.well-known/oauth-authorization-server", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/.well-known/authzen-configuration", 200),
        ("GET", "/check", 401),
        ("POST", "/token", 200),
    ],
)
async def test_other_calls_ignore_a_query(signed_in, method, path, status):
    headers = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/dashboard/billing"}
    raw = (
        b"grant_type=refresh_token&refresh_token=" + signed_in.grant.refresh_token.encode()
        if method == "POST"
        else None
    )
    form = {"Content-Type": "application/x-www-form-urlencoded"} if raw else {}
    answer = await signed_in.ask(method, f"{path}?debug=1{'&debug=2' * 70}", headers=headers | form, raw=raw)
    assert answer.status == status
