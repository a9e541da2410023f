"""R30: a response is no older than the revision that its caller names, or there is none; gateways cannot set one."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import RawTestServer, TestClient

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import API, CHECKS
from sidecar.domain.users import Status
from sidecar.gateways.ext_authz import HEADERS_READ
from sidecar.http.min_revision import AT_LEAST
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.revision_status import RevisionStatus
from tests import pdp_fixture

WHO = "b"
USER = next(uid for uid in pdp_fixture.USERS if uid.endswith(WHO * 12))


class FakeFeed:
    """A feed at revision 5. The test sets the store's revision, and the result of a wait."""

    def __init__(self) -> None:
        self.outcome: RevisionStatus | Exception = RevisionStatus.REACHED
        self.change: dict[str, Any] = {}
        self.asked: list[int] = []

    def has(self, account: str, revision: int) -> bool:
        assert account == pdp_fixture.ACCOUNT
        return revision <= 5

    async def reach(self, _account: str, revision: int) -> RevisionStatus:
        self.asked.append(revision)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is RevisionStatus.REACHED:
            pdp_fixture.USERS[USER] = replace(pdp_fixture.USERS[USER], **self.change)
        return self.outcome


@pytest.fixture
def fresh() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
async def client(fresh: FakeFeed, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestClient[Any, Any]]:
    monkeypatch.setattr(pdp_fixture, "USERS", dict(pdp_fixture.USERS))
    app = replace(pdp_fixture.app(), revisions=fresh)  # type: ignore[arg-type]
    async with TestClient(RawTestServer(Dispatcher(app, (*CHECKS, *API), checks=True))) as made:
        yield made


async def ask(client: TestClient[Any, Any], *revisions: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = [("Authorization", f"Bearer {token or pdp_fixture.token(WHO)}")]
    headers += [("X-Sidecar-At-Least", revision) for revision in revisions]
    body = {"section": "billing", "action": "view"}
    async with client.post("/v1/check", json=body, headers=headers) as response:
        return response.status, json.loads(await response.read())


async def test_R30_a_revision_that_is_applied_is_answered_at_once(client: Any, fresh: FakeFeed) -> None:
    for revision in ("0", "5", "000005"):
        status, body = await ask(client, revision)
        assert (status, body["decision"]) == (200, True)
    assert fresh.asked == []


async def test_R30_the_answer_is_of_the_record_that_the_revision_made(client: Any, fresh: FakeFeed) -> None:
    fresh.change = {"role": "marketer"}
    status, body = await ask(client, "6")
    assert (status, body["decision"], body["reason"]) == (200, False, "no_rule")
    assert fresh.asked == [6]


async def test_R30_who_asks_is_judged_by_the_revision_too(client: Any, fresh: FakeFeed) -> None:
    fresh.change = {"epoch": 2}
    status, body = await ask(client, "6")
    assert (status, body["reason"]) == (401, "revoked")


async def test_R30_a_refusal_may_be_older_than_the_revision_as_well(client: Any, fresh: FakeFeed) -> None:
    pdp_fixture.USERS[USER] = replace(pdp_fixture.USERS[USER], status=Status.SUSPENDED)
    assert (await ask(client))[0] == 401
    fresh.change = {"status": Status.ACTIVE}
    assert (await ask(client, "6"))[0] == 200


async def test_R30_a_sidecar_that_has_not_heard_of_it_does_not_answer(client: Any, fresh: FakeFeed) -> None:
    for outcome in (RevisionStatus.LATE, StoreUnavailableError("out")):
        fresh.outcome = outcome
        status, body = await ask(client, "6")
        assert (status, body["code"], body["reason"]) == (503, "store_unavailable", "store_unavailable")


async def test_R30_beyond_the_feeds_tail_is_a_mistake(client: Any, fresh: FakeFeed) -> None:
    fresh.outcome = RevisionStatus.UNKNOWN
    status, body = await ask(client, "999999999999999")
    assert (status, body["code"]) == (400, "bad_request")


@pytest.mark.parametrize("revisions", [("",), ("-1",), ("1.0",), ("x",), ("1" * 16,), ("٣",), ("1 ,2",), ("1", "1")])
async def test_R30_anything_but_one_number_is_a_mistake(client: Any, revisions: tuple[str, ...]) -> None:
    assert (await ask(client, *revisions))[0] == 400


async def test_R30_a_token_that_is_none_learns_nothing_of_revisions(client: Any, fresh: FakeFeed) -> None:
    for revision in ("6", "x"):
        assert (await ask(client, revision, token="nothing"))[0] == 401
    assert fresh.asked == []


async def test_R30_gateway_endpoints_do_not_read_it(client: Any, fresh: FakeFeed) -> None:
    assert AT_LEAST not in HEADERS_READ
    headers = {
        "Authorization": f"Bearer {pdp_fixture.token(WHO)}",
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Uri": "/dashboard/billing",
        "X-Sidecar-At-Least": "6",
    }
    async with client.get("/check", headers=headers) as response:
        assert response.status == 200
    assert fresh.asked == []


def test_R30_it_is_the_checks_that_honour_it() -> None:
    honoured = {row.path for row in (*CHECKS, *API) if row.at_least}
    assert honoured == {
        "/v1/check",
        "/access/v1/evaluation",
        "/access/v1/evaluations",
        "/access/v1/search/subject",
        "/access/v1/search/resource",
        "/access/v1/search/action",
    }
