"""An account with somebody in each role, and questions about it whose answers are known."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.traffic import Question
from tests.live.support import Http, Person, Process, found_account

OPEN = {
    "accountant": ("billing", "analytics"),
    "developer": ("media-library", "integration", "analytics"),
    "marketer": ("media-library",),
}
SECTIONS = ("users", "billing", "analytics", "integration", "media-library", "policy")


def may(role: str, section: str) -> bool:
    return role == "account-administrator" or section in OPEN[role]


@dataclass
class Scenario:
    """``ada`` runs it; ``old`` is a token that was revoked before anything else happened."""

    http: Http
    ada: Person
    people: dict[str, Person]
    old: str

    def questions(self) -> list[Question]:
        found = []
        for role, person in (("account-administrator", self.ada), *self.people.items()):
            for section in SECTIONS:
                right = (200, "allowed") if may(role, section) else (403, "no_rule")
                found.append(Question(role, person.access, f"/dashboard/{section}/x", *right))
        found += [Question("revoked", self.old, f"/dashboard/{section}/x", 401, "revoked") for section in SECTIONS]
        return found


async def settle(http: Http, process: Process) -> Scenario:
    """Through the API, as people do it."""
    found_account(process, seats=12)
    ada = await http.sign_in("ada@example.com")
    people = {
        role: await http.join(ada, f"{role}@example.com", role) for role in ("accountant", "developer", "marketer")
    }
    mia = people["marketer"]
    changed = await http.ask(
        "POST",
        "/v1/me/password",
        token=mia.access,
        json={"old_password": "five green bottles on a wall", "new_password": "six green bottles on a shelf"},
    )
    assert changed.status == 200, changed
    people["marketer"] = Person(
        mia.email, mia.id, mia.account, changed.body["access_token"], changed.body["refresh_token"]
    )
    return Scenario(http, ada, people, mia.access)


def any_of(questions: Sequence[Question]) -> Callable[[random.Random], Question]:
    return lambda chance: chance.choice(questions)
