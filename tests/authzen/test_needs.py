"""Needs over AuthZEN: the key vouches for the user's address and session, and for nothing else (R20)."""

import time
from typing import Any

import pytest

from sidecar.domain.sessions import Method, NewProof
from sidecar.identity.sessions import Client
from sidecar.store.sessions import Opened
from tests.authzen.conftest import AccountsFixture, Pdp, entity, question
from tests.conftest import Clock
from tests.needs_world import policy_with

NEEDS = """
needs, marketer, media-library, view, office
needs, accountant, billing, view, recent-sign-in
"""
EVALUATION = "/access/v1/evaluation"
OFFICE = {"client_ip": "192.0.2.7"}


@pytest.fixture
def clock() -> Clock:
    """The store's time is real, and the ages of its proofs are compared with this clock."""
    return Clock(time.time())


@pytest.fixture
def needy(pdp: Pdp) -> Pdp:
    pdp.app.policy.generation = policy_with(NEEDS)
    return pdp


def media(subject: Any, **context: Any) -> dict[str, Any]:
    return {**question(subject, "view", ("section", "media-library")), "context": context}


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (OFFICE, True),
        ({"client_ip": "[2001:db8::1]:443"}, True),
        ({"client_ip": "203.0.113.9"}, False),
        ({}, False),
        ({"client_ip": None}, False),
        ({"client_ip": ["192.0.2.7"]}, False),
        ({"client_ip": "192.0.2.7, 192.0.2.7"}, False),
        ({"client_ip": "192.0.2.7" + " " * 100}, False),
        ({"ip": "192.0.2.7", "address": "192.0.2.7", "office": True}, False),
    ],
)
async def test_R20_an_address_is_one_that_the_key_vouches_for(needy: Pdp, context: Any, expected: bool) -> None:
    answer = await needy.ask(EVALUATION, media(("user", "mark@acme.example"), **context))
    unmet = {"decision": False, "context": {"reason": "condition_unmet", "unmet": ["office"]}}
    assert answer.body == ({"decision": True} if expected else unmet)
    batch = await needy.batch([media(("user", "mark@acme.example"), **context)])
    assert batch.body == {"evaluations": [{"decision": expected}]}
    bare = question(("user", "mark@acme.example"), "view", ("section", "media-library"))
    default = await needy.batch([bare], context=context)
    assert default.body == batch.body, "the batch's default"


async def test_R20_properties_prove_no_address_and_a_role_no_need(needy: Pdp) -> None:
    asked = media(("user", "mark@acme.example"))
    claimed = {name: {**one, "properties": OFFICE} for name, one in asked.items() if name != "context"}
    assert (await needy.ask(EVALUATION, claimed)).body["decision"] is False
    answer = await needy.ask(EVALUATION, media(("role", "marketer"), **OFFICE))
    assert answer.body["context"]["reason"] == "condition_unmet"


async def test_a_session_of_the_user_proves_its_sign_in(needy: Pdp, town: AccountsFixture) -> None:
    anna, mark = await signed_in(town, "anna"), await signed_in(town, "mark")
    for context, decision in (
        ({"session": anna}, True),
        ({"session": mark}, False),
        ({}, False),
        ({"session": 1}, False),
    ):
        asked = question(("user", "anna@acme.example"), "view", ("section", "billing"))
        answer = await needy.ask(EVALUATION, {**asked, "context": context})
        assert answer.body["decision"] is decision
        if not decision:
            assert answer.body["context"] == {"reason": "step_up_required", "unmet": ["recent-sign-in"]}


async def test_searches_use_the_same_facts(needy: Pdp, town: AccountsFixture) -> None:
    mark = town.users["mark"]
    asked = {"subject": {"type": "user"}, "action": {"name": "view"}, "resource": entity(("section", "media-library"))}
    for context, found in (({}, False), (OFFICE, True)):
        users = (await needy.search("subject", {**asked, "context": context})).body["results"]
        assert (mark.id in [one["id"] for one in users]) is found
        sent = {**asked, "subject": entity(("user", mark)), "resource": {"type": "section"}, "context": context}
        sections = (await needy.search("resource", sent)).body["results"]
        assert ("media-library" in [one["id"] for one in sections]) is found
        sent = {"subject": entity(("user", mark)), "resource": asked["resource"], "context": context}
        names = (await needy.search("action", sent)).body["results"]
        assert ("view" in [one["name"] for one in names]) is found
    roles = (await needy.search("subject", {**asked, "subject": {"type": "role"}, "context": OFFICE})).body["results"]
    assert "marketer" not in [one["id"] for one in roles]


async def signed_in(town: AccountsFixture, name: str) -> str:
    """Open a session by password, and return its id."""
    record = town.users[name]
    session = town.issuer.new_session(Client(), NewProof(Method.PASSWORD))
    opened = await town.people.sessions.open(record.id, expected_epoch=record.epoch, session=session)
    assert isinstance(opened, Opened)
    return session.id
