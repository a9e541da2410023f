"""A running app with the shipped policy and more routes, two accounts with users in every state, and their keys.

``AccountsFixture`` holds the users; ``pdp`` sends requests as a PEP does.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from aiohttp.test_utils import RawTestServer, TestClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import API, CHECKS
from sidecar.domain.peps import Pep, Scope
from sidecar.domain.users import AccountId, Actor, Status, UserRecord
from sidecar.http.context import AppContext, PublicConfig
from sidecar.identity import emails
from sidecar.identity.hash_limits import Unlimited
from sidecar.identity.hashing import Hashing, HashParameters
from sidecar.identity.pep_keys import NewPep, PepKeys, PepMade, make
from sidecar.identity.services import IdentityServices
from sidecar.identity.sessions import Client, Issuer
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.evaluation import Subjects
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.compiler import compile_policy
from sidecar.policy.generation import Generation
from sidecar.server.container_identity import identity_services
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store.accounts import Created
from sidecar.store.connection import Store
from sidecar.store.invitations import Accepted, Invited
from sidecar.store.live.fleet import Revocation
from sidecar.store.live.replica import RecordReplica
from sidecar.store.live.revision_status import RevisionChecker
from sidecar.store.peps import PepCopies, Peps
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.sessions import Opened
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.ids import new_account_id, new_user_id
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.opaque import Pepper
from sidecar.tokens.verify import Verifier
from tests.conftest import PATIENT
from tests.pdp_fixture import at_once
from tests.policy.own_policies import with_own

URL = "https://sidecar.example"
OPERATOR = Actor.operator()
EVERY_SCOPE = frozenset(Scope)

MORE_SECTIONS = b"""
[[public]]
path = "/dashboard/media-library/shared/*"
methods = ["GET"]
"""
MORE_ROUTES = b"public, GET, /dashboard/media-library/shared/x\n"
MORE_RULES = b"p, marketer, media-library, manage, deny\n"


@pytest.fixture(scope="session")
def generation() -> Generation:
    """Compile the shipped policy with a public path of one free segment, an overriding deny, and own paths."""
    directory, model = packaged()
    files = with_own(read_policy_files(directory, model).files)
    files["sections.toml"] += MORE_SECTIONS
    files["routes.csv"] += MORE_ROUTES
    files["policy.csv"] += MORE_RULES
    expected = files["expectations.csv"].decode().splitlines()
    files["expectations.csv"] = ("\n".join(_denied(line) for line in expected) + "\n").encode()
    compiled = compile_policy(files)
    assert compiled.generation is not None, [str(one) for one in compiled.diagnostics]
    return compiled.generation


def _denied(line: str) -> str:
    words = [word.strip() for word in line.split(",")]
    return "deny, marketer, media-library, manage" if words[1:] == ["marketer", "media-library", "manage"] else line


class AlwaysThere:
    async def wait_applied(self, _position: object) -> Revocation:
        return Revocation(True, 1, 0)


@dataclass
class Response:
    """Response: status, headers and JSON."""

    status: int
    headers: Any
    body: Any
    raw: bytes


@dataclass
class AccountsFixture:
    """Two accounts. ``acme`` has a user in each role and each state; ``eve`` belongs to the other."""

    store: Store
    people: IdentityServices
    peps: Peps
    pepper: Pepper
    issuer: Issuer
    entropy: Callable[[int], bytes]
    generation: Generation
    clock: Any
    users: dict[str, UserRecord] = field(default_factory=dict)

    @property
    def acme(self) -> AccountId:
        return self.users["ada"].account

    async def settle(self) -> None:
        self.users["ada"] = await self.account("Acme", "ada@acme.example")
        self.users["eve"] = await self.account("Other", "eve@other.example")
        for name, role in (("anna", "accountant"), ("dev", "developer"), ("mark", "marketer"), ("sue", "marketer")):
            self.users[name] = await self.member(name, role)
        await self.people.users.change(OPERATOR, self.users["sue"].id, status=Status.SUSPENDED)
        self.users["ivan"] = (await self.invited("ivan", "accountant")).member.record

    async def account(self, name: str, email: str) -> UserRecord:
        account = new_account_id(self.entropy(17))
        created = await self.people.accounts.create(
            account=account,
            name=name,
            cap=50,
            admin=new_user_id(account, self.entropy(17)),
            email=email,
            admin_name=name,
            password_hash="hash",
            actor=OPERATOR,
        )
        assert isinstance(created, Created)
        return created.admin

    async def invited(self, name: str, role: str) -> Invited:
        from sidecar.store.invitations import Invitations

        outcome = await Invitations(self.store).invite(
            OPERATOR,
            account=self.acme,
            uid=new_user_id(self.acme, self.entropy(17)),
            email=f"{name}@acme.example",
            name=name,
            role=role,
            digest=name,
            ttl=3600,
        )
        assert isinstance(outcome, Invited), outcome
        return outcome

    async def member(self, name: str, role: str) -> UserRecord:
        from sidecar.store.invitations import Invitations

        invited = await self.invited(name, role)
        accepted = await Invitations(self.store).accept(
            invited.member.record.id, digest=name, password_hash="hash", name=name, session=None
        )
        assert isinstance(accepted, Accepted)
        return accepted.record

    async def key(self, scopes: frozenset[Scope] = EVERY_SCOPE, **more: Any) -> str:
        return (await self.made(scopes, **more)).key

    async def made(self, scopes: frozenset[Scope] = EVERY_SCOPE, **more: Any) -> PepMade:
        name = more.get("name") or f"pep-{self.entropy(4).hex()}"
        wanted = NewPep(name, scopes, more.get("ttl", 3600), more.get("rate", 1_000_000))
        made = await make(
            self.peps, self.pepper, more.get("account", self.acme), wanted, actor=OPERATOR, entropy=self.entropy
        )
        assert isinstance(made, PepMade)
        return made

    async def token(self, name: str) -> str:
        """Return the access token of a sign-in."""
        record = self.users[name]
        session = self.issuer.new_session(Client())
        opened = await self.people.sessions.open(record.id, expected_epoch=record.epoch, session=session)
        assert isinstance(opened, Opened)
        return self.issuer.grant(opened.record, session.id).access_token


@dataclass
class Pdp:
    """The decision point as a PEP sees it. ``key`` is the default credential."""

    client: TestClient[Any, Any]
    key: str
    app: AppContext

    async def ask(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        bare: bool = False,
    ) -> Response:
        """Send a request. ``bare``: without the headers that a PEP always sends."""
        sent = {} if bare else {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        skip = ("Content-Type",)
        async with self.client.request(
            method, path, data=content, headers={**sent, **(headers or {})}, skip_auto_headers=skip
        ) as response:
            read = await response.read()
            return Response(response.status, response.headers, json.loads(read) if read else None, read)

    async def evaluate(self, subject: Any, action: Any, resource: Any, **more: Any) -> Response:
        return await self.ask("/access/v1/evaluation", question(subject, action, resource), **more)

    async def decides(self, subject: Any, action: Any, resource: Any) -> bool:
        answer = await self.evaluate(subject, action, resource)
        assert answer.status == 200, answer
        decision = answer.body["decision"]
        assert isinstance(decision, bool)
        return decision

    async def batch(self, items: list[Any], **more: Any) -> Response:
        return await self.ask("/access/v1/evaluations", {"evaluations": items, **more})

    async def search(self, what: str, body: Any, **more: Any) -> Response:
        return await self.ask(f"/access/v1/search/{what}", body, **more)


def question(subject: Any, action: Any, resource: Any) -> dict[str, Any]:
    """Build the request body from ``("user", id)``, ``"view"``, ``("section", id)``."""
    return {"subject": entity(subject), "action": {"name": action}, "resource": entity(resource)}


def entity(pair: Any) -> dict[str, str]:
    kind, identifier = pair
    return {"type": kind, "id": identifier.id if isinstance(identifier, UserRecord) else identifier}


@pytest.fixture
async def real_store(real_redis_url: str) -> AsyncIterator[Store]:
    """Store on a real server: fakeredis would take a hundred times as long to create the users."""
    store = await Store.open(real_redis_url, **PATIENT)
    await store.check_meta(issuer=URL, audience="dashboard")
    yield store
    await store.close()


class Settlement:
    """Snapshot of the store after the users were created. Each test restores it in one pipeline instead of forty
    writes.
    """

    def __init__(self) -> None:
        self._users: dict[str, UserRecord] = {}
        self._kept: list[tuple[bytes, int, bytes]] = []

    async def settle(self, town: AccountsFixture) -> None:
        with redis.Redis(unix_socket_path=town.store.where.removeprefix("unix://")) as client:
            if self._users:
                town.users = dict(self._users)
                with client.pipeline(transaction=False) as restoring:
                    for name, ttl, value in self._kept:
                        restoring.restore(name, max(ttl, 0), value, replace=True)
                    restoring.execute()
            else:
                await town.settle()
                self._users = dict(town.users)
                self._kept = [(name, client.pttl(name), client.dump(name)) for name in client.scan_iter()]


@pytest.fixture(scope="session")
def settlement() -> Settlement:
    return Settlement()


@pytest.fixture
async def town(
    real_store: Store, settlement: Settlement, generation: Generation, clock: Any, entropy: Any
) -> AsyncIterator[AccountsFixture]:
    pepper = Pepper(b"p" * 32)
    issuer = Issuer(
        KeySet.of(Ed25519PrivateKey.from_private_bytes(b"k" * 32)),
        pepper,
        issuer=URL,
        audience="dashboard",
        access_ttl=900,
        refresh_ttl=86400,
        clock=clock.time,
        entropy=entropy,
    )
    hashing = Hashing(pepper, parameters=HashParameters(time_cost=1, memory_kib=8))
    everybody = identity_services(
        real_store,
        AlwaysThere(),
        hashing=hashing,
        issuer=issuer,
        limits=Unlimited(),
        pepper=pepper,
        entropy=entropy,
        public_url=URL,
        invite_ttl=3600,
    )
    town = AccountsFixture(real_store, everybody, Peps(real_store), pepper, issuer, entropy, generation, clock)
    await settlement.settle(town)
    yield town
    hashing.close()


@pytest.fixture
async def app(town: AccountsFixture, real_store: Store, clock: Any) -> AppContext:
    public_config = PublicConfig(
        public_url=URL,
        origins=frozenset({URL}),
        cookie="__Host-sidecar",
        unavailable_status=403,
        trusted_proxies=(),
        max_body=65536,
        seat_contact="",
    )
    policy = SimpleNamespace(generation=town.generation)
    records = RecordReplica(real_store, id="test", lease=1.0, clock=clock.monotonic).records
    verifier = Verifier(town.issuer.keys, URL, "dashboard", 900)
    copies = PepCopies(real_store, live=records.live)
    metrics = Metrics("0")
    return AppContext(
        public_config=public_config,
        policy=policy,
        pdp=DecisionPoint(policy, TokenCache(verifier), records, clock=clock.time),
        people=town.people,
        pep_keys=PepKeys(copies, town.pepper, clock=clock.time, monotonic=clock.monotonic),
        subjects=Subjects(town.people.users, records, normalise=emails.normalise, is_mailbox=emails.is_mailbox),
        revisions=RevisionChecker(real_store, records, clock=clock.monotonic),
        health=SimpleNamespace(proven=True, draining=False),
        metrics=metrics,
        recorder=CheckRecorder(metrics, call_soon=at_once),
        policy_history=PolicyHistory(real_store),
    )


@pytest.fixture
async def pdp(town: AccountsFixture, app: AppContext) -> AsyncIterator[Pdp]:
    dispatcher = Dispatcher(app, (*CHECKS, *API), checks=True)
    async with TestClient(RawTestServer(dispatcher)) as client:
        yield Pdp(client, await town.key(), app)


def pep_of(made: PepMade) -> Pep:
    return made.pep
