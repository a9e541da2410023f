"""A mixed hour, compressed: people sign in, change passwords, get other roles, come and go, and the policy is edited,
while questions are asked at every door of two sidecars. The store has faults (faults.py). A judge knows the truth of
every instant."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyotp

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_files import read_policy_files
from tests.chaos.faults import SLACK, Doubt, Faults, Settlement, Window
from tests.chaos.rig import LEASE
from tests.chaos.stepped_clock import SteppedClock
from tests.chaos.truth import Expected, History, PolicyState, Token, UserState, rightly
from tests.live.support import PASSWORD, Answer, Http, Person, Process

ROLES = ("accountant", "developer", "marketer", "account-administrator")
SPOTS = tuple((section, "view") for section in ("users", "billing", "analytics", "integration", "media-library"))
CONDITIONS = """[second_factor]
wait = "0s"
[conditions.second-factor]
second_factor = true
"""
NEED = ("needs, accountant, analytics, view, second-factor", ("accountant", "analytics", "view"))
"""Line of needs.csv that the run adds and removes, and its cell. Not of administrators, who give roles (R11)."""

NEED_ROW = "deny, accountant, analytics, view, without second-factor"
MOST_STEP = 2.0
"""Seconds from the machine's clock. Two sidecars then differ by less than the leeway of tokens and proofs, 5 s."""

TOKENS_KEPT = 8
FORMER = 8
"""Removed users, checked on: an older dump brings them back."""
UNAVAILABLE = "store_unavailable"


@dataclass
class Device:
    """An authenticator app, and the recovery codes that came with it and are not used. Its own codes need time."""

    id: str
    codes: list[str]


@dataclass
class Member:
    """Somebody, all that was true of them, and their tokens, dead ones too."""

    person: Person
    password: str
    history: History[UserState]
    tokens: list[Token]
    issued: int = 1
    doubt: Doubt | None = None
    device: Device | None = None

    @property
    def live(self) -> list[Token]:
        state = self.history.now
        return [token for token in self.tokens if token.epoch == state.epoch and token.number not in state.ended]

    @property
    def proven(self) -> list[Token]:
        """Live tokens whose session has shown a second factor."""
        return [token for token in self.live if token.number in self.history.now.proven]

    def issue(self, text: str, epoch: int) -> None:
        self.tokens = [*self.tokens[-TOKENS_KEPT + 1 :], Token(text, epoch, self.issued)]
        self.issued += 1

    def ended(self) -> frozenset[int]:
        """All tokens so far."""
        return frozenset(range(self.issued))


@dataclass
class Report:
    """Events of the run, and the wrong ones among them."""

    changes: Counter[str] = field(default_factory=Counter)
    questions: Counter[str] = field(default_factory=Counter)
    unavailable: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        return self.questions.total()


class Mixed:
    """Two sidecars, one account. ``seed`` decides everything but time."""

    def __init__(
        self, http: Http, processes: Sequence[Process], ada: Person, pep: str, policy: Path, model: Path, seed: int
    ) -> None:
        self.http = http
        self.processes = processes
        self.ada = ada
        self.pep = pep
        self.policy = policy
        self.model = model
        self.report = Report()
        self.chance = random.Random(seed)
        self.members: list[Member] = []
        self.former: list[Member] = []
        self.calm = asyncio.Event()
        self.calm.set()
        self.clocks: Sequence[SteppedClock] = ()
        self._faults: Faults | None = None
        self._changing = 0
        self.revision = 0
        self.policies = History(self._compiled())
        self._stop = asyncio.Event()

    async def run(self, seconds: float, *, people: int = 6, clients: int = 12, faults: Faults | None = None) -> Report:
        """``faults``: each at least once, then until ``seconds`` are over."""
        for _ in range(people):
            await self._join()
        self.report.changes.clear()
        async with asyncio.TaskGroup() as group:
            for number in range(people):
                group.create_task(self._live(number, self._chance()))
            group.create_task(self._edit_policy(self._chance()))
            group.create_task(self._step_clocks(self._chance()))
            for _ in range(clients):
                group.create_task(self._ask(self._chance()))
            if faults is not None:
                self._faults = faults
                await faults.run(seconds, self._chance())
            else:
                await asyncio.sleep(seconds)
            self._stop.set()
        return self.report

    def idle(self) -> bool:
        """No change is under way."""
        return self._changing == 0

    def doubts(self) -> int:
        return sum(member.doubt is not None for member in self.members)

    def states(self) -> Mapping[str, UserState]:
        """Acknowledged role and status of each user, by id; without those that a change under way makes uncertain."""
        certain = [member for member in (*self.members, *self.former) if not member.history.open]
        return {
            member.person.id: replace(member.history.now, epoch=0, ended=frozenset(), proven=frozenset())
            for member in certain
        }

    async def settle(self, lost: bool) -> None:
        """After a fault."""
        assert self._faults is not None
        urls, report = [process.url for process in self.processes], self._faults.report
        users = [*self.members, *self.former]
        settlement = Settlement(self.http, urls, users, lambda: _from(self.chance), self.report.wrong, report)
        self.ada = await settlement.run(lost=lost)
        self.revision = 0 if lost else self.revision

    def _chance(self) -> random.Random:
        return random.Random(self.chance.random())

    def _url(self, chance: random.Random) -> str:
        return chance.choice(self.processes).url

    # Lives -----------------------------------------------------------------------------------------------------------

    async def _live(self, number: int, chance: random.Random) -> None:
        """One change after the other, so that each user's history is a line."""
        ways: dict[Callable[[Member, random.Random], Any], int] = {
            self._role: 6,
            self._name: 2,
            self._suspend: 2,
            self._password: 3,
            self._sign_in: 4,
            self._sign_out: 2,
            self._leave: 1,
        }
        if self._faults is None:  # an older dump would bring factors back, and its users are settled by passwords
            ways |= {self._enrol: 4, self._step_up: 6, self._unenrol: 3}
        while not self._stop.is_set():
            await self.calm.wait()
            member = self.members[number]
            if member.doubt is None:
                self._changing += 1
                if member.history.now.status == "removed":
                    await self._follow(number)
                elif member.history.now.status == "suspended":
                    await self._resume(member, chance)
                else:
                    way = chance.choices(list(ways), list(ways.values()))[0]
                    await way(member, chance)
                self._changing -= 1
            await asyncio.sleep(chance.uniform(0, 0.15))

    async def _follow(self, number: int) -> None:
        """Another one takes the place of a removed user. Without the store none does."""
        try:
            member = await self._joined()
        except AssertionError as problem:
            if not self._faulty and UNAVAILABLE not in str(problem):
                raise
            self.report.unavailable += not self._faulty
            return
        self.former = [*self.former, self.members[number]][-FORMER:]
        self.members[number] = member

    @property
    def _faulty(self) -> bool:
        return self._faults is not None and self._faults.windows.now is not None

    async def _change(
        self, what: str, member: Member, state: UserState, call: Callable[[], Any], new_password: str = ""
    ) -> Answer | None:
        """Into the history, whatever the answer says. A refusal for a reason of its own leaves all as it was; during a
        fault it leaves a doubt, as does a store that is slower than its time-out on a loaded machine."""
        before = member.history.now
        sent = time.monotonic()
        member.history.begin(sent, state)
        answer: Answer = await call()
        met = self._faults and self._faults.windows.over(sent, time.monotonic())
        complete = answer.headers.get("X-Sidecar-Revocation", "complete") == "complete"
        if answer.status in (200, 204) and (complete or not met):
            member.history.acknowledge(time.monotonic())
            self.report.changes[what] += 1
            self.revision = max(self.revision, int(answer.headers.get("X-Sidecar-Revision", 0)))
            return answer
        unavailable = answer.status == 503 and not met
        self.report.unavailable += unavailable
        if unavailable or (met and answer.status != 429):
            member.doubt = Doubt(before, member.password, new_password or member.password)
            return None
        member.history.take_back()
        if answer.status != 429:
            self.report.wrong.append(f"{what} of {member.person.email}: {answer.status} {answer.body}")
        return None

    def _patch(self, member: Member, chance: random.Random, **body: str) -> Callable[[], Any]:
        async def patched() -> Answer:
            path = f"/v1/users/{member.person.id}"
            answer = await self.http.ask("PATCH", path, token=self.ada.access, url=self._url(chance), json=body)
            if answer.status != 503 or self._faulty:
                return answer
            self.report.unavailable += 1  # done or not: asked again it is the same change
            return await patched()

        return patched

    async def _role(self, member: Member, chance: random.Random) -> None:
        role = chance.choice(ROLES)
        await self._change(
            "role", member, replace(member.history.now, role=role), self._patch(member, chance, role=role)
        )

    async def _name(self, member: Member, chance: random.Random) -> None:
        name = f"Name {chance.random()}"
        await self._change("name", member, member.history.now, self._patch(member, chance, name=name))

    async def _suspend(self, member: Member, chance: random.Random) -> None:
        state = replace(member.history.now, status="suspended", ended=member.ended())
        await self._change("suspend", member, state, self._patch(member, chance, status="suspended"))

    async def _resume(self, member: Member, chance: random.Random) -> None:
        state = replace(member.history.now, status="active")
        await self._change("resume", member, state, self._patch(member, chance, status="active"))

    async def _password(self, member: Member, chance: random.Random) -> None:
        if not member.live:
            return
        token, new = member.live[-1], f"{chance.random()} green bottles on a wall"
        epoch, proven = member.history.now.epoch + 1, member.history.now.proven
        if token.number in proven:  # the new session inherits what the old one has shown
            proven |= {member.issued}
        body = {"old_password": member.password, "new_password": new}
        answer = await self._change(
            "password",
            member,
            replace(member.history.now, epoch=epoch, proven=proven),
            lambda: self.http.ask(
                "POST", "/v1/me/password", token=token.text, url=self._url(chance), headers=_from(chance), json=body
            ),
            new,
        )
        if answer is not None:
            member.password = new
            if not self._faulty:
                member.issue(answer.body["access_token"], epoch)

    async def _sign_in(self, member: Member, chance: random.Random) -> None:
        form = {"grant_type": "password", "username": member.person.email, "password": member.password}
        url, sent = self._url(chance), time.monotonic()
        answer = await self.http.ask("POST", "/token", url=url, headers=_from(chance), data=form)
        if member.device is not None and answer.status == 400 and answer.body["error"] == "mfa_required":
            await self._second_step(member, answer.body["mfa_token"], url, chance)
            return
        met = self._faults and self._faults.windows.over(sent, time.monotonic())
        if answer.status == 200 and not met:
            self.report.changes["sign-in"] += 1
            member.issue(answer.body["access_token"], member.history.now.epoch)
        elif answer.status == 503:
            self.report.unavailable += not met
        elif answer.status != 429 and not met:
            self.report.wrong.append(f"sign-in of {member.person.email}: {answer.status} {answer.body}")

    async def _second_step(self, member: Member, challenge: str, url: str, chance: random.Random) -> None:
        """Sign in with a recovery code, if one is left. No question has this token before the answer."""
        assert member.device is not None
        if not member.device.codes:
            return
        form = {"grant_type": "urn:policy-sidecar:mfa", "mfa_token": challenge}
        form["recovery_code"] = member.device.codes.pop()
        state = member.history.now
        answer = await self._change(
            "second step",
            member,
            replace(state, proven=state.proven | {member.issued}),
            lambda: self.http.ask("POST", "/token", url=url, headers=_from(chance), data=form),
        )
        if answer is not None:
            member.issue(answer.body["access_token"], state.epoch)

    async def _enrol(self, member: Member, chance: random.Random) -> None:
        """An authenticator app. Its confirmation is a proof of the session."""
        if member.device is not None or not member.live:
            return
        token, url = member.live[-1], self._url(chance)
        added = await self.http.ask("POST", "/v1/me/factors/totp", token=token.text, url=url)
        if added.status != 201:
            self._unexpected("a new factor", member, added)
            return
        path, code = f"/v1/me/factors/{added.body['id']}/confirm", pyotp.TOTP(added.body["secret"]).now()
        state = replace(member.history.now, proven=frozenset({token.number}))
        confirmed = await self._change(
            "enrolment",
            member,
            state,
            lambda: self.http.ask("POST", path, token=token.text, url=self._url(chance), json={"code": code}),
        )
        if confirmed is not None:
            member.device = Device(added.body["id"], list(confirmed.body["recovery_codes"]))

    async def _step_up(self, member: Member, chance: random.Random) -> None:
        """One session of several. A code is used, whatever the answer says."""
        if member.device is None or not member.device.codes or not member.live:
            return
        token, url = chance.choice(member.live), self._url(chance)
        options = await self.http.ask("POST", "/v1/session/step-up/options", token=token.text, url=url)
        if options.status != 200:
            self._unexpected("a challenge", member, options)
            return
        body = {"challenge": options.body["challenge"], "recovery_code": member.device.codes.pop()}
        state = member.history.now
        await self._change(
            "step-up",
            member,
            replace(state, proven=state.proven | {token.number}),
            lambda: self.http.ask("POST", "/v1/session/step-up", token=token.text, url=self._url(chance), json=body),
        )

    async def _unenrol(self, member: Member, chance: random.Random) -> None:
        """The last factor: with it go the recovery codes, and what every session has shown."""
        if member.device is None or not member.proven:
            return
        token, path = chance.choice(member.proven), f"/v1/me/factors/{member.device.id}"
        removed = await self._change(
            "factor removal",
            member,
            replace(member.history.now, proven=frozenset()),
            lambda: self.http.ask("DELETE", path, token=token.text, url=self._url(chance)),
        )
        if removed is not None:
            member.device = None

    def _unexpected(self, what: str, member: Member, answer: Answer) -> None:
        if answer.status == 503:
            self.report.unavailable += 1
        elif answer.status != 429:
            self.report.wrong.append(f"{what} of {member.person.email}: {answer.status} {answer.body}")

    async def _sign_out(self, member: Member, chance: random.Random) -> None:
        """All sessions but one."""
        if not member.live:
            return
        kept = chance.choice(member.live)
        state = replace(member.history.now, ended=member.ended() - {kept.number})
        url = self._url(chance)
        await self._change(
            "sign-out",
            member,
            state,
            lambda: self.http.ask("DELETE", "/v1/me/sessions", token=kept.text, url=url),
        )

    async def _leave(self, member: Member, chance: random.Random) -> None:
        path, url = f"/v1/users/{member.person.id}", self._url(chance)
        await self._change(
            "removal",
            member,
            replace(member.history.now, status="removed"),
            lambda: self.http.ask("DELETE", path, token=self.ada.access, url=url),
        )

    async def _join(self) -> None:
        while True:
            try:
                self.members.append(await self._joined())
            except AssertionError as problem:
                if UNAVAILABLE not in str(problem):
                    raise
                self.report.unavailable += 1
            else:
                return

    async def _joined(self) -> Member:
        role = self.chance.choice(ROLES)
        person = await self.http.join(self.ada, f"user-{self.chance.getrandbits(40)}@example.com", role)
        self.report.changes["join"] += 1
        return Member(person, PASSWORD, History(UserState(role)), [Token(person.access, 1, 0)])

    # Clocks ----------------------------------------------------------------------------------------------------------

    async def _step_clocks(self, chance: random.Random) -> None:
        """Step the wall clock of one sidecar, within what two clocks may differ by: no decision changes."""
        while self.clocks and not self._stop.is_set():
            chance.choice(self.clocks).step(chance.uniform(-MOST_STEP, MOST_STEP))
            self.report.changes["clock step"] += 1
            await asyncio.sleep(chance.uniform(0.2, 1.0))

    # The policy ------------------------------------------------------------------------------------------------------

    async def _edit_policy(self, chance: random.Random) -> None:
        """A rule or a need, with its expectations, there and back; in force when both sidecars say so."""
        while not self._stop.is_set():
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            await self.calm.wait()
            name, wanted = ("need", self._need_edited()) if chance.random() < 0.5 else ("policy", self._edited())
            self.policies.begin(time.monotonic(), wanted)
            await self._in_force(wanted.generation)
            self.policies.acknowledge(time.monotonic())
            self.report.changes[name] += 1

    def _edited(self) -> PolicyState:
        rule = "p, marketer, billing, view, allow\n"
        rules, expected = self.policy / "policy.csv", self.policy / "expectations.csv"
        gives = rule not in rules.read_text()
        was, now = ("deny", "allow") if gives else ("allow", "deny")
        lines = []
        for line in expected.read_text().splitlines():
            cell = [part.strip() for part in line.split(",")]
            lines.append(line.replace(was, now, 1) if cell == [was, "marketer", "billing", "view"] else line)
        _put(expected, "\n".join(lines) + "\n")
        _put(rules, rules.read_text() + rule if gives else rules.read_text().replace(rule, ""))
        return self._compiled()

    def _need_edited(self) -> PolicyState:
        """Row and line: a sidecar that reads one of them alone rejects the files."""
        needs, expected = self.policy / "needs.csv", self.policy / "expectations.csv"
        adds = NEED[0] not in needs.read_text().splitlines()
        for path, line in ((expected, NEED_ROW), (needs, NEED[0])):
            lines = path.read_text().splitlines()
            _put(path, "\n".join([*lines, line] if adds else [one for one in lines if one != line]) + "\n")
        return self._compiled()

    def _compiled(self) -> PolicyState:
        files = read_policy_files(self.policy, self.model)
        generation = compile_policy(files.files, proof=ProofScope.NONE).generation
        assert generation is not None
        return PolicyState(generation.id, generation.allowed, frozenset({NEED[1]} if generation.needs.active else ()))

    async def _in_force(self, generation: str) -> None:
        deadline = time.monotonic() + (10 if self._faults is None else 40)
        for process in self.processes:
            while True:
                status = await self.http.ask("GET", "/status", url=process.ops)
                if status.body["generation"] == generation:
                    break
                assert time.monotonic() < deadline, f"{generation} is not in force: {status.body}"
                await asyncio.sleep(0.02)

    # Questions -------------------------------------------------------------------------------------------------------

    async def _ask(self, chance: random.Random) -> None:
        doors = {self._gateway: 7, self._json: 2, self._authzen: 1}
        while not self._stop.is_set():
            member = chance.choice([*self.members, *self.former])
            door = chance.choices(list(doors), list(doors.values()))[0]
            await door(member, chance)
            await asyncio.sleep(0)

    async def _gateway(self, member: Member, chance: random.Random) -> None:
        if not member.tokens:
            return
        token, spot = chance.choice(member.tokens), chance.choice(SPOTS)
        sent = time.monotonic()
        page = chance.choice(("x", str(chance.randrange(1_000_000))))  # polled, or never asked for before
        answer = await self.http.check(f"/dashboard/{spot[0]}/{page}", token=token.text, url=self._url(chance))
        got = (answer.status, answer.headers["X-Auth-Reason"])
        self._judge("check", member, token, spot, sent, got, answer.headers["X-Auth-Generation"])

    async def _json(self, member: Member, chance: random.Random) -> None:
        """Two cells at once, no older than the last change that anybody knows of."""
        if not member.tokens:
            return
        token, spots = chance.choice(member.tokens), chance.sample(SPOTS, 2)
        asked = {"checks": [{"section": section, "action": action} for section, action in spots]}
        headers = {"X-Sidecar-At-Least": str(self.revision)}
        sent = time.monotonic()
        answer = await self.http.ask(
            "POST", "/v1/check", token=token.text, url=self._url(chance), json=asked, headers=headers
        )
        generation = answer.headers.get("X-Auth-Generation") or answer.body.get("generation", "")
        if answer.status != 200:
            got = (answer.status, str(answer.body.get("reason", answer.body)))
            self._judge("json", member, token, spots[0], sent, got, generation)
            return
        for spot, decided in zip(spots, answer.body["decisions"], strict=True):
            denied = 401 if decided["reason"] == "step_up_required" else 403
            got = (200 if decided["decision"] else denied, decided["reason"])
            self._judge("json", member, token, spot, sent, got, generation)

    async def _authzen(self, member: Member, chance: random.Random) -> None:
        spot = chance.choice(SPOTS)
        asked = {
            "subject": {"type": "user", "id": member.person.id},
            "resource": {"type": "section", "id": spot[0]},
            "action": {"name": spot[1]},
        }
        headers = {"X-Sidecar-At-Least": str(self.revision)}
        sent = time.monotonic()
        answer = await self.http.ask(
            "POST", "/access/v1/evaluation", token=self.pep, url=self._url(chance), json=asked, headers=headers
        )
        got = (answer.status, json.dumps(answer.body))
        if answer.status == 200:
            reason = "allowed" if answer.body["decision"] else answer.body["context"]["reason"]
            got = ({"allowed": 200, "no_rule": 403}.get(reason, 401), reason)
        elif answer.status == 503:
            got = (503, UNAVAILABLE)
        self._judge("authzen", member, None, spot, sent, got, "")

    def _judge(
        self,
        door: str,
        member: Member,
        token: Token | None,
        spot: tuple[str, str],
        sent: float,
        got: Expected,
        generation: str,
    ) -> None:
        received = time.monotonic()
        self.report.questions[door] += 1
        window = self._faults.windows.over(sent, received) if self._faults else None
        if got[1] == UNAVAILABLE and got[0] in ((403,) if door == "check" else (403, 503)):
            if window is None:
                self.report.unavailable += 1
            self._count(window, "unavailable")
        elif window is not None and got[0] < 500 and got[0] != 200:
            self._count(window, "denied")
        elif window is not None and window.lost and got[0] == 200 and received < window.lost + LEASE + SLACK:
            self._count(window, "allowed before lease + 0.5 s")
        else:
            self._count(window, "as acknowledged")
            right = rightly(member.history, self.policies, token, spot, (sent, received))
            wanted = right.get(generation, set()) if generation else set().union(*right.values())
            if got not in wanted:
                what = f"{door} {member.person.email} {spot} got {got} by {generation}; right: {right}"
                self.report.wrong.append(
                    what + (f"; {member.history.tail()}, asked {sent}, {window}" if window else "")
                )

    def _count(self, window: Window | None, how: str) -> None:
        if window is not None and self._faults is not None:
            self._faults.report.answers[how] += 1


def _put(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


def _from(chance: random.Random) -> Mapping[str, str]:
    """Another address each time: limits are not what is tried here."""
    return {"X-Forwarded-For": f"198.51.{chance.randrange(256)}.{chance.randrange(256)}"}
