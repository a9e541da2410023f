"""Fixtures of the identity services over a store, and of the API: cheap hashes, a fleet that acknowledges every change,
the shipped policy. A conftest imports them (``from tests.fixtures import town, …``).
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import RawTestServer, TestClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from multidict import CIMultiDict
from yarl import URL

from sidecar.api.console import Console
from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import API, CHECKS
from sidecar.domain.users import AccountId, Actor, UserId, UserRecord
from sidecar.http.context import AppContext, PublicConfig
from sidecar.http.credentials import cookie_name
from sidecar.identity.account_creation import NewAccount, create_account
from sidecar.identity.emails import Email
from sidecar.identity.hash_limits import Limited, MailSource, Reservation
from sidecar.identity.hashing import Hashing, HashParameters
from sidecar.identity.invitations import Invitee, Sent
from sidecar.identity.login import LoginOutcome, SignIn
from sidecar.identity.mail import MailMessage
from sidecar.identity.outbox import MailOutcome, Outbox
from sidecar.identity.pep_keys import PepKeys
from sidecar.identity.services import IdentityServices
from sidecar.identity.sessions import Client, Grant, Issuer
from sidecar.pdp.activation import ActivationState
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.compiler import compile_policy
from sidecar.policy.generation import Generation
from sidecar.server.container_identity import identity_services
from sidecar.sources.console_files import read_console
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store.accounts import Created
from sidecar.store.connection import Store
from sidecar.store.live.fleet import Revocation
from sidecar.store.outcomes import Position
from sidecar.store.peps import PepCopies
from sidecar.store.policy_history import PolicyHistory
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.opaque import Pepper
from sidecar.tokens.verify import Verifier
from tests.pdp_fixture import at_once

PASSWORD = "unquiet-otter-marble-41"
OTHER_PASSWORD = "velvet-anchor-pigeon-77"
CHEAP = HashParameters(time_cost=1, memory_kib=8)
PEPPER = Pepper(bytes(range(32)))
PUBLIC = "https://sidecar.example"


class AcknowledgingFleet:
    """Fleet of one sidecar that has applied every change. Records the positions that it was asked for."""

    def __init__(self) -> None:
        self.waited: list[Position] = []
        self.reported: list[dict[str, Any]] = []
        """Facts that the live sidecars report."""

    async def members(self) -> list[dict[str, Any]]:
        return self.reported

    async def wait_applied(self, position: Position) -> Revocation:
        self.waited.append(position)
        return Revocation(True, 1, 0)


class CountingLimits:
    """Rate limits that count, and reject when a test sets them to."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.refuse: Limited | None = None
        self.suspect = False
        self.memory_low = False
        self.no_mail: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    def refused(self, address: str) -> Limited | None:
        return None

    async def reserve(self, subject: Email | str, address: str) -> Reservation | Limited:
        if self.refuse:
            return self.refuse
        self.failures.append(subject)
        return Reservation(self.suspect, subject)

    async def settle(self, admitted: Reservation, *, failed: bool) -> None:
        if not failed:
            self.failures.remove(admitted.receipt)

    async def admit_profile_change(self, user: UserId) -> Limited | None:
        return self.refuse

    async def admit_credential_change(self, actor: UserId) -> Limited | None:
        return self.refuse

    async def admit_link(self, address: str) -> Limited | None:
        return self.refuse

    async def may_ask(self, address: str) -> bool:
        return address not in self.no_mail

    async def may_mail(self, recipient: Email, source: MailSource) -> bool:
        self.asked.append((source.value, "recipient"))
        return recipient not in self.no_mail

    async def may_mail_for(self, account: AccountId, source: MailSource) -> bool:
        self.asked.append((source.value, "account"))
        return account not in self.no_mail


@dataclass
class IdentityFixture:
    """Store, clock and identity services, with the steps that many tests repeat."""

    people: IdentityServices
    generation: Generation
    entropy: Callable[[int], bytes]
    fleet: AcknowledgingFleet
    limits: CountingLimits
    hashing: Hashing
    pauses: list[float]
    mailed: list[MailMessage]
    outbox: Outbox
    counted: Counter[tuple[str, str]]
    client: Client = field(default_factory=lambda: Client("192.0.2.1", "test", "r-1"))

    async def found(self, name: str = "Acme", email: str = "ada@example.com", seats: int = 5) -> UserRecord:
        founding = NewAccount(name, email, PASSWORD, "Ada", seats)
        made = await create_account(
            self.people.accounts, self.hashing, founding, actor=Actor.operator(), entropy=self.entropy
        )
        assert isinstance(made, Created)
        return made.admin

    async def sign_in(self, email: str, password: str = PASSWORD, account: str | None = None) -> LoginOutcome:
        return await self.people.login.sign_in(SignIn(email, password, account), self.client)

    async def grant(self, email: str, password: str = PASSWORD, account: str | None = None) -> Grant:
        grant = await self.sign_in(email, password, account)
        assert isinstance(grant, Grant)
        return grant

    async def invite(self, admin: UserRecord, email: str, role: str = "developer") -> Sent:
        sent = await self.people.inviting.invite(
            self.actor(admin), self.generation, admin.account, Invitee(email, "", role)
        )
        assert isinstance(sent, Sent)
        return sent

    async def join(self, admin: UserRecord, email: str, role: str = "developer") -> UserRecord:
        sent = await self.invite(admin, email, role)
        assert sent.url is not None
        accepted = await self.people.inviting.accept(sent.url.partition("#")[2], PASSWORD, None, self.client)
        assert isinstance(accepted, Grant)
        return accepted.record

    def actor(self, record: UserRecord) -> Actor:
        return Actor(record.id, record.role, record.epoch, None, "192.0.2.1", "r-1")


@pytest.fixture(scope="session")
def generation() -> Generation:
    compiled = compile_policy(read_policy_files(*packaged()).files).generation
    assert compiled is not None
    return compiled


@pytest.fixture
def hashing() -> Iterator[Hashing]:
    hashing = Hashing(PEPPER, parameters=CHEAP, threads=2)
    yield hashing
    hashing.close()


@pytest.fixture
def issuer(clock: Any, entropy: Callable[[int], bytes]) -> Issuer:
    return Issuer(
        KeySet.of(Ed25519PrivateKey.from_private_bytes(b"k" * 32)),
        PEPPER,
        issuer=PUBLIC,
        audience="dashboard",
        access_ttl=900,
        refresh_ttl=30 * 86400,
        clock=clock.time,
        entropy=entropy,
    )


@pytest.fixture
def town(
    store: Store, generation: Generation, hashing: Hashing, issuer: Issuer, entropy: Callable[[int], bytes], clock: Any
) -> IdentityFixture:
    """Identity services. ``await town.outbox.close()`` sends the mails; ``town.mailed`` collects them."""
    fleet, limits = AcknowledgingFleet(), CountingLimits()
    pauses: list[float] = []
    mailed: list[MailMessage] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def send(letter: MailMessage) -> None:
        mailed.append(letter)

    counted: Counter[tuple[str, str]] = Counter()

    def count(source: MailSource, outcome: MailOutcome) -> None:
        counted[source.value, outcome.value] += 1

    outbox = Outbox(send, count=count)

    together = identity_services(
        store,
        fleet,
        hashing=hashing,
        issuer=issuer,
        limits=limits,
        pepper=PEPPER,
        entropy=entropy,
        public_url=PUBLIC,
        invite_ttl=7 * 86400,
        outbox=outbox,
        clock=clock.time,
        pause=pause,
    )
    return IdentityFixture(together, generation, entropy, fleet, limits, hashing, pauses, mailed, outbox, counted)


class DirectRecords:
    """Live records without a copy: every check reads the store."""

    def __init__(self, users: Any) -> None:
        self._users = users

    def peek(self, uid: Any) -> None:
        return None

    async def read(self, uid: Any, *, fresh: bool = False) -> UserRecord | None:
        return await self._users.record(uid)


class ApiClient:
    """API client of one user: status, headers (repeats kept), and the JSON body if there is one."""

    def __init__(self, client: TestClient[Any, Any], town: IdentityFixture) -> None:
        self.client, self.town = client, town

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        raw: bytes | None = None,
    ) -> SimpleNamespace:
        sent = CIMultiDict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        # Encoded: the client would normalise "/./" and "%75" before sending them.
        url = URL(f"http://{self.client.host}:{self.client.port}{path}", encoded=True)
        async with self.client.session.request(method, url, data=data, headers=sent) as response:
            content = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return SimpleNamespace(
                status=response.status,
                body=json.loads(content) if is_json else None,
                raw=content,
                headers=response.headers,
            )

    async def token(self, email: str, password: str = PASSWORD) -> str:
        return (await self.town.grant(email, password)).access_token


Open = Callable[..., Awaitable[ApiClient]]


@pytest.fixture
async def open_web(town: IdentityFixture, issuer: Issuer, clock: Any, store: Store) -> AsyncIterator[Open]:
    """Return ``open_web(public_url)``: it starts the whole API, checks included, with the real guard and the shipped
    policy.
    """
    clients: list[TestClient[Any, Any]] = []

    async def open_(public_url: str = PUBLIC, **changed: Any) -> ApiClient:
        public_config = {
            "public_url": public_url,
            "origins": frozenset({public_url}),
            "cookie": cookie_name(public_url),
            "unavailable_status": 403,
            "trusted_proxies": (),
            "max_body": 65536,
            "seat_contact": "sales@example.com",
            **changed,
        }
        policy = SimpleNamespace(generation=town.generation, state=ActivationState.CURRENT, loaded_at=clock.time())
        verifier = Verifier(issuer.keys, issuer.issuer, "dashboard", 900)
        given = {
            "public_config": PublicConfig(**public_config),
            "policy": policy,
            "pdp": DecisionPoint(policy, TokenCache(verifier), DirectRecords(town.people.users), clock=clock.time),
            "people": town.people,
            "pep_keys": PepKeys(
                PepCopies(store, live=lambda _: False), PEPPER, clock=time.time, monotonic=clock.monotonic
            ),
            "health": SimpleNamespace(proven=True, draining=False),
            "metrics": (metrics := Metrics("0")),
            "recorder": CheckRecorder(metrics, call_soon=at_once),
            "policy_history": PolicyHistory(store),
        }
        # Attributes that these endpoints do not use are left out.
        needed = [
            part.name for part in fields(AppContext) if part.default is MISSING and part.default_factory is MISSING
        ]
        app = AppContext(**(dict.fromkeys(needed) | given))
        console = Console(read_console())
        server = RawTestServer(Dispatcher(app, (*CHECKS, *API), checks=True, console=console))
        client: TestClient[Any, Any] = TestClient(server, cookie_jar=DummyCookieJar())
        await client.start_server()
        clients.append(client)
        return ApiClient(client, town)

    yield open_
    for client in clients:
        await client.close()
