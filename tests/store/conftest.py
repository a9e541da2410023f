"""An account with users, and short names for the store's nouns."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sidecar.domain.users import ADMINISTRATOR, AccountId, Actor, SessionId, UserId, UserRecord
from sidecar.store.accounts import Accounts, Created
from sidecar.store.connection import Store
from sidecar.store.invitations import Accepted, Invitations, Invited
from sidecar.store.sessions import NewSession, Opened, Sessions
from sidecar.store.users import Users
from sidecar.tokens.ids import new_account_id, new_session_id, new_user_id
from tests.conftest import PATIENT

WEEK = 7 * 86400.0
MONTH = 30 * 86400.0


@dataclass
class StoreFixture:
    """The store's nouns over one store, with the steps that many tests repeat."""

    store: Store
    entropy: Callable[[int], bytes]
    accounts: Accounts = field(init=False)
    users: Users = field(init=False)
    invitations: Invitations = field(init=False)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.store)
        self.users = Users(self.store)
        self.invitations = Invitations(self.store)
        self.sessions = Sessions(self.store)

    def uid(self, account: AccountId) -> UserId:
        return new_user_id(account, self.entropy(17))

    def sid(self) -> SessionId:
        return new_session_id(self.entropy(17))

    def session(self, ttl: float = MONTH, **more: object) -> NewSession:
        return NewSession(self.sid(), ttl, **more)

    def session_of(self, sid: SessionId) -> NewSession:
        return NewSession(sid, MONTH)

    async def close(self) -> None:
        await self.store.close()

    async def pass_by(self, milliseconds: float) -> None:
        await self.until(await self.now_ms() + milliseconds)

    async def account(self, name: str = "Acme", cap: int = 5, email: str = "ada@example.com") -> UserRecord:
        """Create an account; return its first administrator."""
        account = new_account_id(self.entropy(17))
        created = await self.accounts.create(
            account=account,
            name=name,
            cap=cap,
            admin=self.uid(account),
            email=email,
            admin_name="Ada",
            password_hash="hash-0",
            actor=Actor.operator(),
        )
        assert isinstance(created, Created)
        return created.admin

    async def signed_in(self, record: UserRecord) -> Actor:
        """Return this user's actor after a sign-in."""
        session = self.session()
        opened = await self.sessions.open(record.id, expected_epoch=record.epoch, session=session)
        assert isinstance(opened, Opened)
        return Actor(record.id, record.role, record.epoch, session.id, address="192.0.2.1", request_id="req-1")

    async def invite(
        self, actor: Actor, account: AccountId, email: str, *, role: str = "marketer", ttl: float = WEEK, **more: object
    ) -> object:
        return await self.invitations.invite(
            actor,
            account=account,
            uid=self.uid(account),
            email=email,
            name=more.pop("name", ""),
            role=role,
            digest=more.pop("digest", "digest-" + email),
            ttl=ttl,
            **more,
        )

    async def member(self, actor: Actor, account: AccountId, email: str, role: str = "marketer") -> UserRecord:
        invited = await self.invite(actor, account, email, role=role)
        assert isinstance(invited, Invited)
        accepted = await self.invitations.accept(
            invited.member.record.id,
            digest="digest-" + email,
            password_hash="hash-1",
            name=email.partition("@")[0],
            session=None,
        )
        assert isinstance(accepted, Accepted)
        return accepted.record

    async def administrator(self, actor: Actor, account: AccountId, email: str) -> UserRecord:
        return await self.member(actor, account, email, role=ADMINISTRATOR)

    async def until(self, unix_seconds_or_ms: float) -> None:
        """Poll Redis' time until it has come: expiry is by Redis' clock, which no test can move."""
        while True:
            seconds, micros = await self.store.command("TIME")
            if int(seconds) * 1000 + int(micros) / 1000 >= unix_seconds_or_ms:
                return
            await asyncio.sleep(0)

    async def now_ms(self) -> float:
        seconds, micros = await self.store.command("TIME")
        return int(seconds) * 1000 + int(micros) / 1000

    async def audit(self, account: AccountId) -> list[dict[str, str]]:
        from sidecar.store import keys

        rows = await self.store.command("XRANGE", keys.account(account, self.store.partitions) + ":log", "-", "+")
        return [{"id": row[0], **_fields(row[1])} for row in rows]

    async def feed(self) -> list[dict[str, str]]:
        from sidecar.store import keys

        rows = await self.store.command("XRANGE", keys.feed(0), "-", "+")
        return [_fields(row[1]) for row in rows]


def _fields(raw: object) -> dict[str, str]:
    if isinstance(raw, dict):
        return raw
    listed = iter(raw)
    return dict(zip(listed, listed, strict=True))


@pytest.fixture(scope="session")
def town_class() -> type[StoreFixture]:
    """For tests that open their own stores."""
    return StoreFixture


@pytest.fixture
def town(store: Store, entropy: Callable[[int], bytes]) -> StoreFixture:
    return StoreFixture(store, entropy)


@asynccontextmanager
async def _town_at(url: str, entropy: Callable[[int], bytes], **patience: float) -> AsyncIterator[StoreFixture]:
    store = await Store.open(url, **patience)
    await store.check_meta(issuer="https://id.example", audience="dashboard")
    yield StoreFixture(store, entropy)
    await store.close()


@pytest.fixture
async def real_town(real_redis_url: str, entropy: Callable[[int], bytes]) -> AsyncIterator[StoreFixture]:
    """On a real server alone: for operations that fakeredis lacks (kill a connection, stop, restart)."""
    async with _town_at(real_redis_url, entropy, **PATIENT) as town:
        yield town


@pytest.fixture
async def hurried_town(real_redis_url: str, entropy: Callable[[int], bytes]) -> AsyncIterator[StoreFixture]:
    """The same with a sidecar's own timeouts: for tests of a server that does not respond."""
    async with _town_at(real_redis_url, entropy) as town:
        yield town
