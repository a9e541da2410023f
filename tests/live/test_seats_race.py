"""Invariants under a race of two real sidecars on one real Redis."""

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.live.conftest import Start
from tests.live.support import Http, Person, Process, found_account

ADMIN = "account-administrator"


async def test_of_100_parallel_invitations_to_the_last_seat_one_wins(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    first = start(REDIS_URL=real_redis_url)
    second = start(REDIS_URL=real_redis_url)
    found_account(first)
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    for number in range(3):
        assert (await api.invite(ada, f"early{number}@example.com", "marketer")).status == 201

    answers = await asyncio.gather(
        *(
            api.invite(ada, f"late{number}@example.com", "marketer", url=(first, second)[number % 2].url)
            for number in range(100)
        )
    )

    assert Counter(answer.status for answer in answers) == {201: 1, 409: 99}
    refused = [answer.body for answer in answers if answer.status == 409]
    assert all(body["code"] == "seat_limit" for body in refused)
    assert all(body["seats"]["cap"] == 5 and body["seats"]["used"] == 5 for body in refused)
    listed = (await api.ask("GET", "/v1/users", token=ada.access, url=second.url)).body
    assert len(listed["users"]) == 5
    assert listed["seats"]["available"] == 0


async def test_mutual_demotions_of_administrators_leave_one(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    first = start(REDIS_URL=real_redis_url)
    second = start(REDIS_URL=real_redis_url)
    found_account(first)
    api = http(first)
    ada = await api.sign_in("ada@example.com")
    bob = await api.join(ada, "bob@example.com", ADMIN)

    for _ in range(50):
        demotions = await asyncio.gather(demote(api, ada, bob, first.url), demote(api, bob, ada, second.url))
        assert min(demotions) == 200, demotions
        assert max(demotions) in (403, 409), demotions
        ada, bob = await restore(api, ada, bob)


async def demote(api: Http, actor: Person, other: Person, url: str) -> int:
    answer = await api.ask("PATCH", f"/v1/users/{other.id}", token=actor.access, url=url, json={"role": "marketer"})
    return answer.status


async def restore(api: Http, ada: Person, bob: Person) -> tuple[Person, Person]:
    """Exactly one of them is still an administrator; that one appoints the other again."""
    roles = [(await api.ask("GET", "/v1/me", token=who.access)).body["role"] for who in (ada, bob)]
    assert sorted(roles) == [ADMIN, "marketer"]
    keeper, demoted = (ada, bob) if roles[0] == ADMIN else (bob, ada)
    answer = await api.ask("PATCH", f"/v1/users/{demoted.id}", token=keeper.access, json={"role": ADMIN})
    assert answer.status == 200, answer
    return ada, bob
