"""Own segments through every gateway: another's id, in every form, never reaches the back end."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.domain.users import Actor
from sidecar.identity.account_creation import NewAccount, create_account
from sidecar.identity.hashing import Hashing
from sidecar.sources.key_files import load_or_create
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store.accounts import Accounts, Created
from sidecar.store.connection import Store
from tests.conftest import PATIENT
from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import reason_of
from tests.gateways.rig.people import PASSWORD, PUBLIC_URL, SidecarProcess, sign_in
from tests.gateways.rig.rows import request
from tests.own_forms import foreign_forms
from tests.policy.own_policies import with_own

OTHER = "bob@bolt.example"
ACCOUNT, USER = "/accounts/{}/invoices/1", "/reports/{}/1"


@dataclass(frozen=True)
class Person:
    """User with a token. ``ids``: by the path that has them."""

    ids: dict[str, str]
    token: str


@dataclass(frozen=True)
class World:
    """A sidecar with own paths, an accountant of one account, and the administrator of another."""

    sidecar: SidecarProcess
    mine: Person
    other: Person
    lanes: dict[str, Lane] = field(default_factory=dict)

    def lane(self, bench: Bench, gateway: str) -> Lane:
        if gateway not in self.lanes:
            self.lanes[gateway] = bench.start(gateway, sidecar=self.sidecar)
        return self.lanes[gateway]


@pytest.fixture(scope="module")
def world(bench: Bench) -> Iterator[World]:
    folder = bench.folder / "policy-with-own-paths"
    folder.mkdir()
    for name, data in with_own(read_policy_files(*packaged()).files).items():
        (folder / name).write_bytes(data)
    asyncio.run(found_other(bench.folder / "keys", f"unix://{bench.store_socket}"))
    with ExitStack() as stack:
        settings = {"POLICY_DIR": str(folder), "MODEL": str(folder / "model.conf")}
        sidecar = stack.enter_context(bench.another_sidecar(**settings))
        sidecar.wait_ready()
        person = bench.cast.people["accountant"]
        mine = Person({ACCOUNT: person.account, USER: person.id}, bench.cast.tokens["accountant"])
        grant = sign_in(sidecar, OTHER)
        me = sidecar.call("GET", "/v1/me", token=grant["access_token"])
        uid = me["id"] if "id" in me else me["user"]["id"]
        other = Person({ACCOUNT: f"acc_{uid.split('_')[1]}", USER: uid}, grant["access_token"])
        yield World(sidecar, mine, other)


async def found_other(keys_dir: Path, redis_url: str) -> None:
    """Create another account in the running store."""
    keys = load_or_create(keys_dir)
    store = await Store.open(redis_url, **PATIENT)
    hashing = Hashing(keys.pepper)
    try:
        await store.check_meta(issuer=PUBLIC_URL, audience="dashboard", demo=False, pepper=keys.pepper.identity)
        founding = NewAccount("Bolt", OTHER, PASSWORD, seats=20)
        made = await create_account(Accounts(store), hashing, founding, actor=Actor.operator(), entropy=os.urandom)
    finally:
        hashing.close()
        await store.close()
    assert isinstance(made, Created), made


def outcome(lane: Lane, path: str, token: str) -> tuple[int, str, list[str]]:
    """Return status, reason and the targets that reached the back end."""
    response, arrivals = lane.ask(request(path, f"Authorization: Bearer {token}"))
    if lane.gateway.program.grpc or not lane.relay.answers:
        told = response.value("x-auth-reason") or ("allowed" if response.status == 200 else "no reason")
    else:
        told = reason_of(lane.relay.answers[-1])
    return response.status, told, [arrival.target for arrival in arrivals]


def test_ones_own_path_reaches_the_back_end(bench: Bench, world: World, gateway: str) -> None:
    lane = world.lane(bench, gateway)
    for person in (world.mine, world.other):
        for pattern, own in person.ids.items():
            path = pattern.format(own)
            for _ in range(3):  # the third response is a remembered one
                assert outcome(lane, path, person.token) == (200, "allowed", [path])
    for _ in range(3):
        for person, stranger in ((world.mine, world.other), (world.other, world.mine)):
            for pattern, foreign in stranger.ids.items():
                assert outcome(lane, pattern.format(foreign), person.token) == (403, "not_yours", [])


@pytest.mark.parametrize("pattern", [ACCOUNT, USER], ids=["account", "user"])
def test_sixty_forms_of_anothers_id_never_reach_it(bench: Bench, world: World, gateway: str, pattern: str) -> None:
    lane = world.lane(bench, gateway)
    forms = foreign_forms(world.mine.ids[pattern], world.other.ids[pattern])
    assert len(forms) >= 60
    own = pattern.format(world.mine.ids[pattern])
    assert outcome(lane, own, world.mine.token) == (200, "allowed", [own])
    for name, form in forms.items():
        for _ in range(2):
            status, _, reached = outcome(lane, pattern.format(form), world.mine.token)
            assert (status == 200, reached) == (False, []), name
        assert outcome(lane, own, world.mine.token)[2] == [own], "between others' paths, one's own"


def test_a_role_without_the_right_is_told_no_more(bench: Bench, world: World, gateway: str) -> None:
    """The marketer has no right to invoices, of any account."""
    lane, token = world.lane(bench, gateway), bench.cast.tokens["marketer"]
    for person in (world.mine, world.other):
        assert outcome(lane, ACCOUNT.format(person.ids[ACCOUNT]), token) == (403, "no_rule", [])


def test_the_denial_names_no_user(bench: Bench, world: World, gateway: str) -> None:
    lane = world.lane(bench, gateway)
    path = ACCOUNT.format(world.other.ids[ACCOUNT])
    response, arrivals = lane.ask(request(path, f"Authorization: Bearer {world.mine.token}"))
    assert (response.status, arrivals) == (403, [])
    told = {name: value for name, value in response.headers if name.startswith("x-auth-")}
    assert not told.keys() - {"x-auth-reason", "x-auth-generation"}, told
    if response.body.startswith(b"{"):
        assert json.loads(response.body).keys() <= {"decision", "reason", "message", "generation"}
