"""Acknowledged steps, and the states that must hold after a crash: one history per user, changed by one client at a
time.

An acknowledged step is a fact. A step that was asked for and not answered may have happened or not, but wholly: what is
found afterwards is what held before it, or what holds after it, never something between.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from sidecar.store.sessions import GRACE
from tests.live.support import Answer, Http, Person

ADMIN = "account-administrator"
ROLES = ("accountant", "developer", "marketer", ADMIN)
DONE = (200, 201, 204)
KEPT = 2


@dataclass
class Fleet:
    """Where clients ask, and with which credentials: ``urls`` of the sidecars that should be up."""

    http: Http
    urls: Sequence[str]
    done: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    faulty: bool = False
    """The store is not the known one: no rejection is an answer."""

    async def ask(self, chance: random.Random, method: str, path: str, **more: Any) -> Answer | None:
        """None: no answer, or one that says that the store is out. Another address each time: limits hide nothing."""
        headers = {**(more.pop("headers", None) or {}), "X-Forwarded-For": f"10.{chance.getrandbits(8)}.0.1"}
        try:
            answer = await self.http.ask(method, path, url=chance.choice(self.urls), headers=headers, **more)
        except aiohttp.ClientError:
            return None
        return None if answer.status == 503 or (self.faulty and answer.status >= 400) else answer

    async def sure(self, chance: random.Random, method: str, path: str, **more: Any) -> Answer:
        answer = await self.ask(chance, method, path, **more)
        assert answer is not None, f"{method} {path} is not answered, and everything is up"
        return answer

    async def signs_in(self, chance: random.Random, email: str, password: str) -> Answer | None:
        """Again while the line of suspects is full: so many older passwords make every sign-in one (R16)."""
        form = {"grant_type": "password", "username": email, "password": password}
        deadline = time.monotonic() + 10
        while (answer := await self.ask(chance, "POST", "/token", data=form)) is None and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        assert answer is not None and answer.status in (200, 400), answer
        return answer if answer.status == 200 else None


@dataclass(frozen=True, slots=True)
class Fact:
    """All that is known of a user. Empty: there is none, or nobody was told."""

    status: str = "absent"
    role: str = ""
    password: str = ""
    link: str = ""
    access: str = ""
    refresh: str = ""

    @property
    def row(self) -> tuple[str, str] | None:
        """As the list of users shows it."""
        return None if self.status == "absent" else (self.status, self.role)

    def told(self, body: Any) -> "Fact":
        """With the secrets that an answer brought."""
        body = body if isinstance(body, Mapping) else {}
        link = (body.get("invitation") or {}).get("url")
        return replace(
            self,
            link=link.partition("#")[2] if link else self.link,
            access=body.get("access_token", self.access),
            refresh=body.get("refresh_token", self.refresh),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A request, and what holds when it was done, but for the secrets that only its answer tells."""

    name: str
    then: Fact
    method: str
    path: str
    more: Mapping[str, Any]
    at: float = field(default_factory=time.monotonic)


@dataclass
class Life:
    """One e-mail; who stands behind it comes, changes and goes. ``dead`` tokens and ``former`` passwords stay so."""

    fleet: Fleet
    ada: Person
    email: str
    id: str = ""
    fact: Fact = field(default_factory=Fact)
    asked: Step | None = None
    dead: list[str] = field(default_factory=list)
    former: list[str] = field(default_factory=list)

    async def live(self, stop: asyncio.Event, chance: random.Random) -> None:
        """One step after the other, up to the first that is not answered."""
        while not stop.is_set() and await self._take(self._next(chance), chance):
            await asyncio.sleep(chance.uniform(0, 0.02))

    async def _take(self, step: Step, chance: random.Random) -> bool:
        self.asked = step
        answer = await self.fleet.ask(chance, step.method, step.path, **step.more)
        if answer is None:
            self.fleet.unanswered[step.name] += 1
            return False
        self.asked = None
        if answer.status in DONE:
            self._become(step.then, answer.body)
            self.fleet.done[step.name] += 1
        else:
            full = step.name == "invite" and answer.body["code"] == "seat_limit"
            assert full, f"{step.name} of {self.email}, {self.fact}: {answer}"
        return True

    def _become(self, then: Fact, body: Any = None) -> None:
        if self.fact.access and not then.access:
            self.dead = [*self.dead, self.fact.access][-KEPT:]
        if self.fact.password and self.fact.password != then.password:
            self.former = [*self.former, self.fact.password][-KEPT:]
        self.fact = then.told(body)
        if isinstance(body, Mapping) and "invitation" in body:
            self.id = body["user"]["id"]

    # Steps -----------------------------------------------------------------------------------------------------------

    def _next(self, chance: random.Random) -> Step:
        often = [self._role, self._password, self._sign_in, self._refresh]
        ways = {
            "absent": [self._invite],
            "invited": [self._accept, self._accept, self._accept, self._resend, self._role, self._remove],
            "active": [*often, *often, self._suspend, self._remove],
            "suspended": [self._resume, self._resume, self._role, self._remove],
        }
        return chance.choice(ways[self.fact.status])(chance)

    def _by_ada(self, name: str, then: Fact, method: str, path: str = "", **more: Any) -> Step:
        return Step(name, then, method, f"/v1/users/{self.id}{path}", {"token": self.ada.access, **more})

    def _invite(self, chance: random.Random) -> Step:
        role = chance.choice(ROLES)
        more = {"headers": {"Idempotency-Key": chance.randbytes(16).hex()}, "json": {"email": self.email, "role": role}}
        return Step("invite", Fact("invited", role), "POST", "/v1/users", {"token": self.ada.access, **more})

    def _accept(self, chance: random.Random) -> Step:
        if not self.fact.link:
            return self._resend(chance)
        password = _password(chance)
        more = {"json": {"token": self.fact.link, "password": password}}
        return Step("accept", Fact("active", self.fact.role, password), "POST", "/v1/invitations/accept", more)

    def _resend(self, chance: random.Random) -> Step:
        return self._by_ada("resend", replace(self.fact, link=""), "POST", "/invitation")

    def _role(self, chance: random.Random) -> Step:
        role = chance.choice([role for role in ROLES if role != self.fact.role])
        link = "" if self.fact.status == "invited" else self.fact.link  # a raised role ends it (R11)
        return self._by_ada("role", replace(self.fact, role=role, link=link), "PATCH", json={"role": role})

    def _suspend(self, chance: random.Random) -> Step:
        then = replace(self.fact, status="suspended", access="", refresh="")
        return self._by_ada("suspend", then, "PATCH", json={"status": "suspended"})

    def _resume(self, chance: random.Random) -> Step:
        return self._by_ada("resume", replace(self.fact, status="active"), "PATCH", json={"status": "active"})

    def _remove(self, chance: random.Random) -> Step:
        return self._by_ada("remove", Fact(), "DELETE")

    def _password(self, chance: random.Random) -> Step:
        if not self.fact.access:
            return self._sign_in(chance)
        new = _password(chance)
        body = {"old_password": self.fact.password, "new_password": new}
        then = replace(self.fact, password=new, access="", refresh="")
        return Step("password", then, "POST", "/v1/me/password", {"token": self.fact.access, "json": body})

    def _sign_in(self, chance: random.Random) -> Step:
        form = {"grant_type": "password", "username": self.email, "password": self.fact.password}
        return Step("sign in", self.fact, "POST", "/token", {"data": form})

    def _refresh(self, chance: random.Random) -> Step:
        if not self.fact.refresh:
            return self._sign_in(chance)
        form = {"grant_type": "refresh_token", "refresh_token": self.fact.refresh}
        return Step("refresh", self.fact, "POST", "/token", {"data": form})

    # After the crash -------------------------------------------------------------------------------------------------

    async def settle(self, row: Mapping[str, Any] | None, chance: random.Random) -> None:
        """``row``: what the list of users has of this e-mail. Finds out which of the two holds, and that it does."""
        asked, self.asked = self.asked, None
        before, after = self.fact, asked.then if asked else self.fact
        found = None if row is None else (row["status"], row["role"])
        assert found in (before.row, after.row), f"{self.email} is {found}; acknowledged {before}, asked for {asked}"
        if row is not None:
            self.id = row["id"]
        if before.row == after.row == ("active", before.role) and before.password != after.password:
            works = await self.fleet.signs_in(chance, self.email, before.password)
            self._become(before if works else after)
        else:
            self._become(after if found == after.row else before)
        if asked is not None and asked.name == "invite":
            await self._ask_again(asked, row, chance)
        if self.fact.status == "invited":
            await self._link_works(before.link if asked is not None and asked.name == "resend" else "", chance)
        await self._nothing_older_works(chance)
        if self.fact.status == "active":
            await self._all_works(asked, chance)

    async def _ask_again(self, asked: Step, row: Mapping[str, Any] | None, chance: random.Random) -> None:
        """R13: under the same Idempotency-Key it is done once, whether it had been done or not."""
        again = await self.fleet.sure(chance, asked.method, asked.path, **asked.more)
        if row is None:
            assert again.status == 201 or again.body["code"] == "seat_limit", again
            self._become(asked.then if again.status == 201 else self.fact, again.body)
        else:
            assert (again.status, again.body["user"]["id"]) == (201, row["id"]), again

    async def _link_works(self, doubtful: str, chance: random.Random) -> None:
        """An acknowledged link becomes a user. ``doubtful``: one that may have been replaced; it is, hereby."""
        if self.fact.link and not doubtful and chance.random() < 0.3:
            return  # it shall outlive the next crash as well
        if doubtful or not self.fact.link:
            assert await self._take(self._resend(chance), chance)
        if doubtful:
            body = {"token": doubtful, "password": _password(chance)}
            assert (await self.fleet.sure(chance, "POST", "/v1/invitations/accept", json=body)).status == 410
        assert await self._take(self._accept(chance), chance)

    async def _nothing_older_works(self, chance: random.Random) -> None:
        for token in self.dead:
            assert (await self.fleet.sure(chance, "GET", "/v1/me", token=token)).status == 401
        no_longer = [] if self.fact.status == "active" else [self.fact.password] * bool(self.fact.password)
        for password in [*self.former, *no_longer]:
            assert await self.fleet.signs_in(chance, self.email, password) is None, f"{self.email}: an older password"

    async def _all_works(self, asked: Step | None, chance: random.Random) -> None:
        if self.fact.access:
            me = await self.fleet.sure(chance, "GET", "/v1/me", token=self.fact.access)
            assert (me.status, me.body["id"], me.body["role"]) == (200, self.id, self.fact.role), me
        late = asked is not None and asked.name == "refresh" and time.monotonic() - asked.at > GRACE - 1
        if self.fact.refresh and not late:  # the retry of a refresh that was not answered, too
            assert await self._take(self._refresh(chance), chance)
        signed_in = await self.fleet.signs_in(chance, self.email, self.fact.password)
        assert signed_in is not None, f"{self.email}: the acknowledged password does not sign in; asked for {asked}"
        assert signed_in.body["user"]["role"] == self.fact.role
        self._become(self.fact, signed_in.body)


@dataclass
class Duel:
    """Two administrators who demote each other at the same instant. ``may_be``: the roles that each may have."""

    fleet: Fleet
    people: tuple[Person, Person]
    may_be: dict[str, set[str]] = field(default_factory=dict)

    async def live(self, stop: asyncio.Event, chance: random.Random) -> None:
        one, other = self.people
        self.may_be = {one.id: {ADMIN}, other.id: {ADMIN}}
        while not stop.is_set():
            first, second = await asyncio.gather(
                self._give(one, other, "marketer", chance), self._give(other, one, "marketer", chance)
            )
            if first is None or second is None:
                return
            assert (first, second) in ((True, False), (False, True)), "somebody demotes, and nobody is left without"
            if not await self._give(*((one, other) if first else (other, one)), ADMIN, chance):
                return
            self.fleet.done["duel"] += 1

    async def _give(self, actor: Person, to: Person, role: str, chance: random.Random) -> bool | None:
        """Whether it was done; None: nobody knows."""
        held = self.may_be[to.id]
        self.may_be[to.id] = held | {role}
        body = {"role": role}
        answer = await self.fleet.ask(chance, "PATCH", f"/v1/users/{to.id}", token=actor.access, json=body)
        if answer is None:
            self.fleet.unanswered["duel"] += 1
            return None
        assert answer.status in (200, 403, 409), answer
        self.may_be[to.id] = {role} if answer.status == 200 else held
        return answer.status == 200

    async def settle(self, chance: random.Random) -> None:
        for person, other in (self.people, self.people[::-1]):
            answer = await self.fleet.sure(chance, "GET", "/v1/users", token=person.access)
            if answer.status == 200:
                roles = {row["id"]: row["role"] for row in answer.body["users"]}
                assert all(role in self.may_be[id_] for id_, role in roles.items()), (roles, self.may_be)
                assert roles[person.id] == ADMIN
                assert roles[other.id] == ADMIN or await self._give(person, other, ADMIN, chance)
                return
            assert answer.status == 403, answer
        raise AssertionError(f"no administrator is left: {self.may_be}")


def _password(chance: random.Random) -> str:
    return f"{chance.randbytes(6).hex()} green bottles on a wall"
