"""The seed's matrix over HTTP: four roles × all sections × all actions, equal to policy/expectations.csv."""

import csv
from collections.abc import Callable

from tests.expected_cells import expected_cells
from tests.live.conftest import Start
from tests.live.support import ROLES, ROOT, Http, Person, Process, found_account


def routes() -> list[tuple[str, str, str]]:
    with (ROOT / "policy" / "routes.csv").open() as lines:
        rows = csv.reader((line for line in lines if line.strip() and not line.startswith("#")), skipinitialspace=True)
        return [(target, method, path) for target, method, path in rows]


async def people(api: Http) -> dict[str, Person]:
    ada = await api.sign_in("ada@example.com")
    others = {role: await api.join(ada, f"{role}@example.com", role) for role in ROLES[1:]}
    return {ROLES[0]: ada, **others}


async def test_the_matrix_over_every_check_equals_the_expectations(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url)
    found_account(process)
    api = http(process)
    expected = expected_cells()
    assert {role for role, _, _ in expected} == set(ROLES)
    for role, who in (await people(api)).items():
        cells = [(section, action) for at, section, action in expected if at == role]
        asked = [{"section": section, "action": action} for section, action in cells]
        many = await api.ask("POST", "/v1/check", token=who.access, json={"checks": asked})
        assert many.status == 200
        assert many.body["generation"] == many.headers["X-Auth-Generation"]
        for (section, action), decision in zip(cells, many.body["decisions"], strict=True):
            allowed = expected[role, section, action]
            assert decision["decision"] is allowed, (role, section, action)
            one = await api.ask("POST", "/v1/check", token=who.access, json={"section": section, "action": action})
            assert one.body["decision"] is allowed
            gateway = await api.ask("GET", f"/check/sections/{section}/{action}", token=who.access)
            assert gateway.status == (200 if allowed else 403), (role, section, action)
            assert gateway.headers["X-Auth-Reason"] == decision["reason"]


async def test_every_route_over_check_answers_as_its_cell(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url)
    found_account(process)
    api = http(process)
    expected = expected_cells()
    for role, who in (await people(api)).items():
        for target, method, path in routes():
            answer = await api.check(path, token=who.access, method=method)
            if target == "public":
                assert (answer.status, answer.headers["X-Auth-User"]) == (200, "")
            elif target == "unmatched":
                assert answer.status == 403
                assert answer.body["reason"] in ("unmatched_path", "ambiguous_path")
            else:
                section, action = target.split("/")
                assert answer.status == (200 if expected[role, section, action] else 403), (role, method, path)
