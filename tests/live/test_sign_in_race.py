"""A password change racing sign-in, refresh and check over two sidecars: after the 200, no older token is accepted.

The suite runs two dozen rounds; ``SIDECAR_TEST_ROUNDS=500`` the full length, ``SIDECAR_TEST_SEED`` another course.
"""

import asyncio
import base64
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from tests.live.conftest import Start
from tests.live.support import PASSWORD, Answer, Http, Process, found_account

ROUNDS = int(os.environ.get("SIDECAR_TEST_ROUNDS", "24"))
SEED = int(os.environ.get("SIDECAR_TEST_SEED", "20261124"))
BILLING = "/dashboard/billing/"

pytestmark = pytest.mark.slow


def epoch_of(token: str) -> int:
    text = token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["tv"])


@dataclass
class Race:
    """One user, two sidecars, and every issued token."""

    api: Http
    urls: list[str]
    chance: random.Random
    addresses: "count[int]" = field(default_factory=count)
    seen: Counter[str] = field(default_factory=Counter)
    access: set[str] = field(default_factory=set)
    refreshes: set[str] = field(default_factory=set)
    changed: bool = False

    def take(self, answer: Answer) -> None:
        if answer.status in {200, 201}:
            self.access.add(answer.body["access_token"])
            self.refreshes.add(answer.body["refresh_token"])

    def url(self) -> str:
        return self.chance.choice(self.urls)

    def from_anywhere(self) -> dict[str, str]:
        """Return a new address each time: a wrong password here is no attack, and no limit may hide the race."""
        number = next(self.addresses)
        return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}

    async def pause(self) -> None:
        await asyncio.sleep(self.chance.random() * 0.08)

    async def sign_in(self, password: str) -> None:
        await self.pause()
        form = {"grant_type": "password", "username": "ada@example.com", "password": password}
        answer = await self.api.ask("POST", "/token", url=self.url(), data=form, headers=self.from_anywhere())
        self.seen[f"sign-in {answer.status}"] += 1
        assert answer.status in {200, 400, 503}, answer
        self.take(answer)

    async def refresh(self, token: str) -> None:
        for _ in range(2):
            await self.pause()
            form = {"grant_type": "refresh_token", "refresh_token": token}
            answer = await self.api.ask("POST", "/token", url=self.url(), data=form)
            self.seen[f"refresh {answer.status}"] += 1
            assert answer.status in {200, 400, 503}, answer
            self.take(answer)
            if answer.status != 200:
                return
            token = answer.body["refresh_token"]

    async def check(self, token: str, stop: asyncio.Event) -> None:
        """Send checks to both. A check after the response to the change must reject an older token."""
        while not stop.is_set():
            await asyncio.sleep(0.001)
            for url in self.urls:
                late = self.changed
                answer = await self.api.check(BILLING, token=token, url=url)
                self.seen[f"check {answer.status}{' late' if late else ''}"] += 1
                assert answer.status == 401 if late else answer.status in {200, 401}, (late, answer)

    async def change(self, token: str, old: str, new: str) -> Answer:
        await self.pause()
        body = {"old_password": old, "new_password": new}
        answer = await self.api.ask(
            "POST", "/v1/me/password", token=token, url=self.url(), json=body, headers=self.from_anywhere()
        )
        self.changed = True
        assert answer.status == 200, answer
        assert answer.body["revocation"]["complete"] is True
        return answer

    async def nothing_older_passes(self, epoch: int) -> None:
        older = [token for token in self.access if epoch_of(token) < epoch]
        assert older
        for token in older:
            for url in self.urls:
                answer = await self.api.check(BILLING, token=token, url=url)
                assert (answer.status, answer.body["reason"]) == (401, "revoked")
        for token in self.access - set(older):
            for url in self.urls:
                answer = await self.api.check(BILLING, token=token, url=url)
                assert answer.status == 200, answer


async def one_round(race: Race, access: str, refresh: str, old: str, new: str) -> tuple[str, str]:
    race.changed, race.access, race.refreshes = False, {access}, {refresh}
    stop = asyncio.Event()
    checks = [asyncio.create_task(race.check(access, stop)) for _ in range(2)]
    others = [race.sign_in(old), race.sign_in(old), race.sign_in(new), race.refresh(refresh)]
    try:
        changed, *_ = await asyncio.gather(race.change(access, old, new), *others)
        await asyncio.sleep(0.005)
    finally:
        stop.set()
        await asyncio.gather(*checks)
    race.take(changed)
    epoch = epoch_of(changed.body["access_token"])
    await race.nothing_older_passes(epoch)
    for token in race.refreshes - {changed.body["refresh_token"]}:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        answer = await race.api.ask("POST", "/token", url=race.url(), data=form)
        assert answer.status == 400 or epoch_of(answer.body["access_token"]) == epoch
    return changed.body["access_token"], changed.body["refresh_token"]


async def test_after_a_password_change_no_older_token_passes_anywhere(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    settings = {"REDIS_URL": real_redis_url, "TRUSTED_PROXIES": "127.0.0.1", "DECISION_LOG": "off"}
    pair = [start(**settings) for _ in range(2)]
    found_account(pair[0])
    api = http(pair[0])
    ada = await api.sign_in("ada@example.com")
    race = Race(api, [process.url for process in pair], random.Random(SEED))
    access, refresh, password = ada.access, ada.refresh, PASSWORD
    for number in range(ROUNDS):
        new = f"green bottles on the wall, round {number} of them"
        access, refresh = await one_round(race, access, refresh, password, new)
        password = new
    print(f"\n{ROUNDS} rounds, seed {SEED}: {dict(sorted(race.seen.items()))}")  # noqa: T201
    assert race.seen["check 200"]
    assert race.seen["sign-in 200"]
    assert race.seen["check 401 late"]
