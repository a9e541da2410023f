"""People over a store, with cheap hashes, a fleet that has always heard of everything, and the shipped policy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.accounts.emails import Email
from sidecar.accounts.founding import Founding, found
from sidecar.accounts.hashing import Hashing, Parameters
from sidecar.accounts.invitations import Invitee, Sent
from sidecar.accounts.limits import Admitted, Limited
from sidecar.accounts.login import LoginOutcome, SignIn
from sidecar.accounts.parts import People, people
from sidecar.accounts.sessions import Client, Grant, Issuer
from sidecar.policy.compiler import compile_policy
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store.accounts import Created
from sidecar.store.connection import Store
from sidecar.store.fleet import Revocation
from sidecar.store.outcomes import Position
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.opaque import Pepper
from sidecar.vocabulary.people import Actor, UserRecord

PASSWORD = "unquiet-otter-marble-41"
OTHER_PASSWORD = "velvet-anchor-pigeon-77"
CHEAP = Parameters(time_cost=1, memory_kib=8)


class HeardOfEverything:
    """A fleet of one that has applied whatever it is asked about; remembers what it was asked."""

    def __init__(self) -> None:
        self.waited: list[Position] = []

    async def wait_applied(self, position: Position) -> Revocation:
        self.waited.append(position)
        return Revocation(True, 1, 0)


class Counting:
    """Limits that count and refuse when told to."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.refuse: Limited | None = None
        self.suspect = False

    async def reserve(self, subject: Email | str, address: str) -> Admitted | Limited:
        if self.refuse:
            return self.refuse
        self.failures.append(subject)
        return Admitted(self.suspect, subject)

    async def refund(self, admitted: Admitted) -> None:
        self.failures.remove(admitted.receipt)


@dataclass
class Town:
    """Everything at hand, and what tests do again and again."""

    people: People
    generation: Generation
    entropy: Callable[[int], bytes]
    fleet: HeardOfEverything
    limits: Counting
    hashing: Hashing
    pauses: list[float]
    client: Client = field(default_factory=lambda: Client("192.0.2.1", "test", "r-1"))

    async def found(self, name: str = "Acme", email: str = "ada@example.com", seats: int = 5) -> UserRecord:
        founding = Founding(name, email, PASSWORD, "Ada", seats)
        made = await found(self.people.accounts, self.hashing, founding, actor=Actor.operator(), entropy=self.entropy)
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
    hashing = Hashing(Pepper(bytes(range(32))), parameters=CHEAP, threads=2)
    yield hashing
    hashing.close()


@pytest.fixture
def issuer(clock, entropy) -> Issuer:
    return Issuer(
        KeySet.of(Ed25519PrivateKey.from_private_bytes(b"k" * 32)),
        Pepper(bytes(range(32))),
        issuer="https://sidecar.example",
        audience="dashboard",
        access_ttl=900,
        refresh_ttl=30 * 86400,
        clock=clock.time,
        entropy=entropy,
    )


@pytest.fixture
def town(store: Store, generation, hashing, issuer, entropy) -> Town:
    fleet, limits = HeardOfEverything(), Counting()
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    together = people(
        store,
        fleet,
        hashing=hashing,
        issuer=issuer,
        limits=limits,
        pepper=Pepper(bytes(range(32))),
        entropy=entropy,
        public_url="https://sidecar.example",
        invite_ttl=7 * 86400,
        pause=pause,
    )
    return Town(together, generation, entropy, fleet, limits, hashing, pauses)
