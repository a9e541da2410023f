"""Faults for the mixed run: an emptied store, an older dump in place, moved connections; and the way back from each.

During a fault every denial is right, and an allow only if the acknowledged state gives it. After an older dump that
holds from lease + 0.5 s on. Afterwards all partitions open without a hand, held users are reviewed, and every user is
found as acknowledged.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import aiohttp

from tests.chaos.rig import LEASE, RedisServer, Relay
from tests.chaos.traffic import UNAVAILABLE
from tests.chaos.truth import History, Token, UserState
from tests.live.support import PASSWORD, Answer, Http, Person, Process, person

SLACK = 0.5
HELD = {"needs_review", "revoked", "session_ended", "suspended", "unknown_user"}
"""Reasons for the tokens of a held user; the last one for a held invitation."""

LOST = 3
"""Users, at most, whose changed state has to be acknowledged before it is lost."""

PATIENCE = 25.0
"""Seconds until every sidecar serves again."""

_DUMP = """local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  out[#out + 1] = key
  out[#out + 1] = tostring(math.max(0, redis.call('PTTL', key)))
  out[#out + 1] = redis.call('DUMP', key)
end
if ARGV[1] == 'empty' then redis.call('FLUSHALL') end
return out"""

Dump = list[bytes]


def dump(server: RedisServer, *, empty: bool = False) -> Dump:
    """The store's content at one instant. ``empty``: and FLUSHALL at the same instant."""
    with server.raw() as client:
        return client.eval(_DUMP, 0, "empty" if empty else "")


def put_back(server: RedisServer, kept: Dump) -> None:
    """In the place of everything there is, at once."""
    with server.raw() as client, client.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for key, left, value in zip(kept[::3], kept[1::3], kept[2::3], strict=True):
            pipe.restore(key, int(left), value, replace=True)
        pipe.execute()


def kill_connections(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


class User(Protocol):
    """A user of the run, with the acknowledged states and passwords."""

    person: Person
    password: str
    history: History[UserState]
    tokens: list[Token]
    doubt: "Doubt | None"

    def issue(self, text: str, epoch: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Doubt:
    """A change that was not acknowledged and may have been done: the state and the password on both sides of it."""

    state: UserState
    password: str
    new_password: str

    @property
    def passwords(self) -> set[str]:
        return {self.password, self.new_password}


@dataclass
class FaultReport:
    """Faults by name, seconds until all was open again, answers meanwhile, and users by the way they came back."""

    done: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)


@dataclass
class Window:
    """The time of one fault. ``lost``: instant at which an older state came into place."""

    name: str
    begun: float
    ended: float = float("inf")
    lost: float | None = None


class Windows:
    """Times of all faults."""

    def __init__(self) -> None:
        self._windows: list[Window] = []

    def begin(self, name: str) -> Window:
        self._windows.append(Window(name, time.monotonic()))
        return self._windows[-1]

    def over(self, sent: float, received: float) -> Window | None:
        """The fault that a question sent and answered at these instants may have met."""
        for window in reversed(self._windows):
            if sent <= window.ended and received >= window.begun:
                return window
        return None

    @property
    def now(self) -> Window | None:
        return self.over(time.monotonic(), time.monotonic())


@dataclass
class Faults:
    """One fault after the other. ``calm`` is cleared while users make no changes; ``idle`` says that none is under way;
    ``states`` are the acknowledged ones, ``doubts`` the number of changes that may have been done."""

    server: RedisServer
    other: RedisServer
    relay: Relay
    http: Http
    processes: list[Process]
    calm: asyncio.Event
    idle: Callable[[], bool]
    states: Callable[[], Mapping[str, UserState]]
    doubts: Callable[[], int]
    settle: Callable[[bool], Awaitable[None]]
    windows: Windows = field(default_factory=Windows)
    report: FaultReport = field(default_factory=FaultReport)

    def kinds(self) -> dict[str, Callable[[random.Random], Awaitable[None]]]:
        return {
            "emptied store": self._emptied,
            "older dump in place": self._older,
            "killed connections": self._killed,
            "address moved": self._moved,
        }

    async def run(self, seconds: float, chance: random.Random) -> None:
        """Each kind once, in a seeded order, and again while there is time."""
        until = time.monotonic() + seconds
        while True:
            kinds = list(self.kinds().items())
            for name, fault in chance.sample(kinds, len(kinds)):
                await asyncio.sleep(chance.uniform(0.5, 1.5))
                await self._one(name, fault, chance)
                if time.monotonic() > until and len(self.report.done) == len(kinds):
                    return

    async def _one(self, name: str, fault: Callable[[random.Random], Awaitable[None]], chance: random.Random) -> None:
        if self.doubts():  # of a store that was too slow, outside of a fault
            await self._clear_doubts()
        begun = time.monotonic()
        await fault(chance)
        window = self.windows.now
        assert window is not None
        await self._until(self.idle, "changes are under way")
        await asyncio.sleep(max(0.0, (window.lost or 0.0) + LEASE + SLACK - time.monotonic()))
        await self._until(self._ready, f"not ready after {name}")
        self.report.seconds.append(time.monotonic() - (window.lost or begun))
        await self.settle(window.lost is not None)
        window.ended = time.monotonic()
        self.report.done[name] += 1
        self.calm.set()

    async def _clear_doubts(self) -> None:
        self.calm.clear()
        window = self.windows.begin("slow store")
        await self._until(self.idle, "changes are under way")
        await self._until(self._ready, "not ready with a slow store")
        await self.settle(False)
        window.ended = time.monotonic()
        self.calm.set()

    async def _ready(self) -> bool:
        for process in self.processes:
            with suppress(aiohttp.ClientError):
                if (await self.http.ask("GET", "/readyz", url=process.ops)).status == 200:
                    continue
            return False
        return True

    async def _until(self, happens: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = happens()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert time.monotonic() < deadline, (what, [process.output()[-1500:] for process in self.processes])
            await asyncio.sleep(0.02)

    async def _unready(self) -> bool:
        return not await self._ready()

    # Kinds -----------------------------------------------------------------------------------------------------------

    async def _emptied(self, chance: random.Random) -> None:
        """FLUSHALL under changes that are under way; the known dump is put back."""
        self.windows.begin("emptied store")
        kept = await asyncio.to_thread(dump, self.server, empty=True)
        await asyncio.sleep(chance.uniform(0, 0.2))
        self.calm.clear()
        await self._until(self._unready, "an emptied store is served")
        await asyncio.sleep(chance.uniform(0, 1))
        await asyncio.to_thread(put_back, self.server, kept)

    async def _older(self, chance: random.Random) -> None:
        """Acknowledged changes are lost; some changes are made on the older state before it is noticed."""
        await self._until(lambda: len(self._changeable()) > LOST or self.doubts(), "too many changes are under way")
        before, enough = self._changeable(), chance.randrange(2, LOST + 1)
        kept = await asyncio.to_thread(dump, self.server)

        def lose() -> bool:
            now = self.states()
            lost = sum(now[uid] != state for uid, state in before.items() if uid in now)
            return lost >= max(1, min(enough, len(before) - self.doubts()))

        await self._until(lose, "nothing changes")
        window = self.windows.begin("older dump in place")
        await asyncio.to_thread(put_back, self.server, kept)
        window.lost = time.monotonic()
        await asyncio.sleep(chance.uniform(0, 0.4))
        self.calm.clear()

    def _changeable(self) -> dict[str, UserState]:
        return {uid: state for uid, state in self.states().items() if state.status != "removed"}

    async def _killed(self, chance: random.Random) -> None:
        """Every connection, several times."""
        self.windows.begin("killed connections")
        for _ in range(chance.randrange(1, 4)):
            kill_connections(self.server)
            await asyncio.sleep(chance.uniform(0, 0.3))
        self.calm.clear()

    async def _moved(self, chance: random.Random) -> None:
        """The address leads to an empty store for a while. With or without a cut of open connections."""
        self.windows.begin("address moved")
        self.relay.turn_to(self.other.port)
        await asyncio.sleep(chance.uniform(0, 0.2))
        self.calm.clear()
        await self._until(self._unready, "another store is served")
        await asyncio.sleep(chance.uniform(0, 1))
        self.relay.turn_to(self.server.port)


@dataclass
class Settlement:
    """The way back of every user: the held are reviewed, all are found as acknowledged and signs in again."""

    http: Http
    urls: list[str]
    users: list[User]
    headers: Callable[[], Mapping[str, str]]
    wrong: list[str]
    report: FaultReport
    ada: Person = field(init=False)

    async def run(self, *, lost: bool) -> Person:
        """``lost``: acknowledged changes were lost, so every session has ended. Returns the administrator."""
        form = {"grant_type": "password", "username": "ada@example.com", "password": PASSWORD}
        signed_in = await self.ask("POST", "/token", data=form)
        assert signed_in.status == 200, signed_in
        self.ada = person("ada@example.com", signed_in.body)
        listed = await self.ask("GET", "/v1/users", token=self.ada.access)
        assert listed.status == 200, listed
        rows = {row["id"]: row for row in listed.body["users"]}
        found = [(user, rows.pop(user.person.id, None)) for user in self.users]
        await asyncio.gather(*(self._settle(user, row, lost) for user, row in found))
        for row in rows.values():
            if row["id"] != self.ada.id:  # joined or left while it was not acknowledged
                await self._remove(row["id"])
        return self.ada

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        """Again after a 503: each of these calls may be done twice."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = await self.http.ask(method, path, url=self.urls[0], headers=self.headers(), **more)
            if answer.status != 503 or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(0.05)

    async def _settle(self, user: User, row: Mapping[str, Any] | None, lost: bool) -> None:
        """Find out which of the states holds, and make the acknowledged one hold."""
        doubt, user.doubt = user.doubt, None
        states = [user.history.now, *([doubt.state] if doubt else [])]
        if row is None:
            if not lost and all(state.status != "removed" for state in states):
                self.wrong.append(f"{user.person.email} is gone; acknowledged {states}")
            self._become(user, replace(user.history.now, status="removed"), "not there")
            return
        if row["review"] is not None:
            await self._review(user, row, doubt, lost)
            return
        now = next((state for state in states if (state.role, state.status) == (row["role"], row["status"])), None)
        if now is None:
            self.wrong.append(f"{user.person.email} is {row}, not held; acknowledged {states}")
            await self._drop(user)
        elif now.status == "suspended" and not lost:
            self._become(user, now, "suspended")
        elif now.status == "suspended":
            await self._resume(user, doubt, now)
        else:
            await self._sign_in(user, doubt, now, lost)

    async def _review(self, user: User, row: Mapping[str, Any], doubt: Doubt | None, lost: bool) -> None:
        state, path = user.history.now, f"/v1/users/{user.person.id}"
        if not lost:
            self.wrong.append(f"{user.person.email} is held, and nothing was lost: {row}")
        for token in user.tokens:
            got = await self._known(token)
            if got not in HELD:
                self.wrong.append(f"{user.person.email} is held and gets {got}")
        if state.status == "removed":
            await self._drop(user)
            self.report.users["held, removed again"] += 1
            return
        body = {"role": state.role, "status": "active" if row["status"] == "invited" else state.status}
        done = await self.ask("POST", f"{path}/review", token=self.ada.access, json=body)
        if done.status != 200 or done.body["role"] != state.role:
            self.wrong.append(f"review of {user.person.email}: {done}")
        self.report.users["held, reviewed"] += 1
        if row["status"] == "invited":
            self.report.users["acceptance lost"] += 1
            await self._drop(user)
        elif state.status == "suspended":
            await self._resume(user, doubt, state)
        else:
            await self._sign_in(user, doubt, state, lost)

    async def _resume(self, user: User, doubt: Doubt | None, state: UserState) -> None:
        """After a loss, which may have taken a suspended user's last password too: only a sign-in shows that."""
        done = await self.ask("PATCH", f"/v1/users/{user.person.id}", token=self.ada.access, json={"status": "active"})
        if done.status != 200:
            self.wrong.append(f"resumption of {user.person.email}: {done}")
        await self._sign_in(user, doubt, replace(state, status="active"), lost=True)

    async def _known(self, token: Token) -> str:
        """The reason that every sidecar gives, when each of them serves this user again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answers = [await self.http.check("/dashboard/billing/x", token=token.text, url=url) for url in self.urls]
            reasons = {answer.headers["X-Auth-Reason"] for answer in answers}
            if UNAVAILABLE not in reasons:
                return " or ".join(sorted(reasons))
            assert time.monotonic() < deadline, f"still {answers}"
            await asyncio.sleep(0.05)

    async def _sign_in(self, user: User, doubt: Doubt | None, now: UserState, lost: bool) -> None:
        """By the acknowledged password. A lost one is a reset, so that user leaves."""
        for password in (user.password, *((doubt.passwords - {user.password}) if doubt else ())):
            form = {"grant_type": "password", "username": user.person.email, "password": password}
            answer = await self.ask("POST", "/token", data=form)
            if answer.status == 200:
                user.password = password
                newer = lost or doubt is not None
                self._become(user, _newer(now) if newer else now, "signed in again")
                if not lost and newer:
                    user.tokens.clear()  # live or dead, depending on the change in doubt
                user.issue(answer.body["access_token"], user.history.now.epoch)
                if (got := await self._known(user.tokens[-1])) not in {"allowed", "no_rule"}:
                    self.wrong.append(f"{user.person.email} has signed in again and gets {got}")
                return
        if not lost:
            self.wrong.append(
                f"{user.person.email} cannot sign in, and nothing was lost: {answer.status} {answer.body}"
            )
        self.report.users["password to be reset"] += 1
        await self._drop(user)

    async def _drop(self, user: User) -> None:
        await self._remove(user.person.id)
        self._become(user, replace(user.history.now, status="removed"), "removed")

    async def _remove(self, uid: str) -> None:
        done = await self.ask("DELETE", f"/v1/users/{uid}", token=self.ada.access)
        if done.status not in (204, 404):  # 404: done before, with a lost answer
            self.wrong.append(f"removal of {uid}: {done}")

    def _become(self, user: User, state: UserState, how: str) -> None:
        """From now on it is this state, and no state in doubt."""
        if user.history.open:
            user.history.acknowledge(time.monotonic())
        user.history.begin(time.monotonic(), state)
        user.history.acknowledge(time.monotonic())
        self.report.users[how] += 1


def _newer(state: UserState) -> UserState:
    return replace(state, epoch=state.epoch + 1)
