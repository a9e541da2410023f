"""The store against a model of it in plain Python: any order of changes, several at once, the same outcomes and state.

Three changes at once have to come out as some order of them would. After every step the data is proven by fsck, which
looks at the audit and the feed too. ``SIDECAR_TEST_EXAMPLES`` sets how many courses are run (default 30).
"""

import asyncio
import copy
import itertools
import os
import random
from dataclasses import dataclass, field

import fakeredis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sidecar.domain.users import ADMINISTRATOR, Actor, Status
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.integrity.journal import JournalEntry
from sidecar.store.integrity.recovering import PartitionRecovery
from sidecar.store.maintenance.fsck import Fsck
from tests.conftest import PATIENT
from tests.memory_store import store_over

OPERATOR = Actor.operator()
EXAMPLES = int(os.environ.get("SIDECAR_TEST_EXAMPLES", "30"))
ROLES = (ADMINISTRATOR, "developer", "marketer")
ISSUER, SUBJECTS = "https://login.example", ("s-1", "s-2", "s-3")
WAITING = ("invited", "expired")
EMAILS = tuple(f"{letter}@example.com" for letter in "abcdef")

ENTRIES = itertools.count(1)

CHANCE = st.integers(0, 2**32).map(random.Random)
"""What is drawn must not depend on what the store did: concurrent changes come out in any order."""


# The model ------------------------------------------------------------------------------------------------------------


@dataclass
class Person:
    email: str
    role: str
    status: str
    epoch: int = 0
    secret: str = ""
    verified: bool = False
    sessions: dict = field(default_factory=dict)  # sid -> counter
    held: bool = False

    @property
    def usable(self):
        return self.status == "active" and not self.held


@dataclass
class Model:
    """What an account is, in the fewest words. Every change answers the name of its outcome."""

    cap: int
    people: dict
    links: dict = field(default_factory=dict)  # outside subject -> uid, and whether it is barred from that user

    def used(self):
        return sum(person.status != "expired" for person in self.people.values())

    def admins(self):
        return [i for i, p in self.people.items() if p.role == ADMINISTRATOR and p.usable]

    def leaves_no_admin(self, uid):
        others = [p for i, p in self.people.items() if i != uid and p.held and p.status not in WAITING]
        return not self.admins() and not others

    def last_admin(self, uid):
        return self.admins() == [uid]

    def holds(self, actor):
        if actor.user is None:
            return True
        person = self.people.get(actor.user)
        return (
            person is not None
            and (person.usable, person.role, person.epoch) == (True, actor.role, actor.epoch)
            and actor.session in person.sessions
        )

    def invite(self, actor, uid, email, role, secret):
        if not self.holds(actor):
            return "ActorChanged"
        holder = next((i for i, p in self.people.items() if p.email == email), None)
        if holder is not None and self.people[holder].status != "expired":
            return "AlreadyInvited" if self.people[holder].status == "invited" else "AlreadyMember"
        if self.used() >= self.cap:
            return "SeatLimit"
        self.people.pop(holder, None)
        self.people[uid] = Person(email, role, "invited", secret=secret)
        return "Invited"

    def accept(self, uid, secret):
        person = self.people.get(uid)
        if person is None or person.status != "invited" or person.held or secret not in {person.secret} - {""}:
            return "InvitationGone"
        person.status, person.epoch = "active", 1
        return "Accepted"

    def resend(self, actor, uid, secret):
        if not self.holds(actor):
            return "ActorChanged"
        person = self.people.get(uid)
        if person is None:
            return "NoUser"
        if person.status not in WAITING:
            return "NotInvited"
        if person.status == "expired" and self.used() >= self.cap:
            return "SeatLimit"
        person.status, person.secret = "invited", secret
        return "Invited"

    def change(self, actor, uid, role, status):
        if not self.holds(actor):
            return "ActorChanged"
        person = self.people.get(uid)
        if person is None:
            return "NoUser"
        if person.status in WAITING and status:
            return "StillInvited"
        role, status = role or person.role, status or person.status
        if (role, status) == (person.role, person.status):
            return "Unchanged"
        if (role != ADMINISTRATOR or status != "active") and self.last_admin(uid):
            return "LastAdmin"
        person.role, person.status = role, status
        if status == "suspended":
            person.sessions = {}
        return "Changed"

    def remove(self, actor, uid):
        if not self.holds(actor):
            return "ActorChanged"
        if uid not in self.people:
            return "NoUser"
        person = self.people[uid]
        if self.last_admin(uid) or (person.held and person.status not in WAITING and self.leaves_no_admin(uid)):
            return "LastAdmin"
        del self.people[uid]
        self.links = {subject: held for subject, held in self.links.items() if held[0] != uid}
        return "Removed"

    def link(self, subject, email):
        if subject in self.links:
            return "LinkForbidden" if self.links[subject][1] else "Linked"
        uid = next((i for i, p in self.people.items() if p.email == email and p.usable), None)
        if uid is None:
            return "NoMatchingUser"
        if (uid, False) in self.links.values():
            return "LinkTaken"
        return self.linked(subject, uid)

    def link_user(self, uid, subject):
        held, barred = self.links.get(subject, ("", True))
        if not barred:
            return "Linked" if held == uid else "LinkHeld"
        person = self.people.get(uid)
        if person is None or not person.usable:
            return "NoMatchingUser"
        if (uid, False) in self.links.values():
            return "LinkTaken"
        return self.linked(subject, uid)

    def linked(self, subject, uid):
        person = self.people[uid]
        self.links[subject] = (uid, False)
        if not person.verified:
            person.epoch, person.sessions, person.verified = person.epoch + 1, {}, True
        return "Linked"

    def unlink(self, uid, may_return):
        person = self.people.get(uid)
        if person is None or person.status in WAITING:
            return "NoUser"
        held = [subject for subject, link in self.links.items() if link in {(uid, False), (uid, may_return)}]
        if not held:
            return "NotLinked"
        for subject in held:
            if may_return:
                del self.links[subject]
            else:
                self.links[subject] = (uid, True)
        person.epoch, person.sessions = person.epoch + 1, {}
        return "Unlinked"

    def password(self, uid, epoch, sid):
        person = self.people.get(uid)
        if person is None or not person.usable:
            return "NoUser"
        if person.epoch != epoch:
            return "Stale"
        person.epoch, person.sessions = epoch + 1, {sid: 0}
        return "PasswordChanged"

    def sign_out(self, uid):
        person = self.people.get(uid)
        if person is None or person.status in WAITING:
            return "NoUser"
        person.epoch, person.sessions = person.epoch + 1, {}
        return "Changed"

    def open(self, uid, epoch, sid):
        person = self.people.get(uid)
        if person is None or not person.usable:
            return "NoUser"
        if person.epoch != epoch:
            return "Stale"
        person.sessions[sid] = 0
        return "Opened"

    def rotate(self, uid, sid, counter):
        person = self.people.get(uid)
        if person is None or sid not in person.sessions:
            return "SessionGone"
        held = person.sessions[sid]
        if counter > held:
            return "StoreBehind"
        if counter == held:
            person.sessions[sid] = held + 1
        elif counter < held - 1:
            del person.sessions[sid]
            return "Reused"
        return "Rotated"

    def end(self, uid, sid):
        person = self.people.get(uid)
        return "SessionGone" if person is None or person.sessions.pop(sid, None) is None else "Ended"

    def hold(self, uid, role, status):
        """R48: a lost change to this role and status is reported."""
        person = self.people.get(uid)
        if person is not None:
            waiting = person.status in WAITING
            if not waiting:
                person.epoch, person.sessions = person.epoch + 1, {}
            stored = "invited" if waiting else person.status
            person.held = person.held or (role, status) != (person.role, stored)
        return "RecoveredUsers"

    def review(self, actor, uid, role, status):
        if not self.holds(actor):
            return "ActorChanged"
        person = self.people.get(uid)
        if person is None:
            return "NoUser"
        if not person.held:
            return "NotHeld"
        waiting = person.status in WAITING
        if waiting and status == "suspended":
            return "StillInvited"
        administers = not waiting and (role, status) == (ADMINISTRATOR, "active")
        if not administers and self.leaves_no_admin(uid):
            return "LastAdmin"
        if waiting and role != person.role:
            person.secret = ""  # R11: its link was made for another role
        person.held, person.role, person.status = False, role, person.status if waiting else status
        return "Changed"

    def set_cap(self, cap):
        self.cap = cap
        return "SeatsSet"

    def state(self):
        people = {
            uid: (p.email, p.role, p.status, p.epoch, p.verified, frozenset(p.sessions), p.held)
            for uid, p in self.people.items()
        }
        return self.cap, people, {subject: uid for subject, (uid, barred) in self.links.items() if not barred}


# The same changes, asked of the store ---------------------------------------------------------------------------------


def lost_change(account, uid, role, status):
    """An entry counts once, so each is another one."""
    n, kind = next(ENTRIES), "removed" if status == "removed" else "user"
    return JournalEntry(n, f"{n}-0", n - 1, kind, account, uid, 0, 0, role, status, False)


async def ask(town, account, name, args, ttl=3600):
    users, invitations, sessions, links = town.users, town.invitations, town.sessions, FederatedIdentities(town.store)
    calls = {
        "invite": lambda actor, uid, email, role, secret: invitations.invite(
            actor, account=account, uid=uid, email=email, name="", role=role, digest=secret, ttl=ttl
        ),
        "accept": lambda uid, secret: invitations.accept(
            uid, digest=secret, password_hash="h", name=None, session=None
        ),
        "resend": lambda actor, uid, secret: invitations.resend(actor, uid, digest=secret, ttl=3600),
        "change": lambda actor, uid, role, status: users.change(
            actor, uid, role=role, status=Status(status) if status else None
        ),
        "remove": users.remove,
        "password": lambda uid, epoch, sid: users.change_password(
            uid, expected_epoch=epoch, password_hash="h", session=town.session_of(sid), actor=Actor.bearer(uid)
        ),
        "sign_out": lambda uid: users.sign_out_everywhere(uid, OPERATOR),
        "open": lambda uid, epoch, sid: sessions.open(uid, expected_epoch=epoch, session=town.session_of(sid)),
        "rotate": lambda uid, sid, counter: sessions.rotate(uid, sid, counter, ttl=3600),
        "end": lambda uid, sid: sessions.end(uid, [sid], OPERATOR),
        "link": lambda subject, email: links.link(account, issuer=ISSUER, subject=subject, email=email),
        "link_user": lambda uid, subject: links.link_user(uid, issuer=ISSUER, subject=subject),
        "unlink": lambda uid, may_return: links.unlink(uid, may_return=may_return),
        "set_cap": lambda cap: town.accounts.set_seats(account, cap, OPERATOR),
        "hold": lambda uid, role, status: PartitionRecovery(town.store, id="a").late(
            [lost_change(account, uid, role, status)]
        ),
        "review": lambda actor, uid, role, status: users.review(actor, uid, role=role, status=Status(status)),
    }
    return await calls[name](*args)


class Ledger(RuleBasedStateMachine):
    """``open_town`` is set by the test: a fresh town on a fresh store."""

    open_town = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.gone = []

    @initialize(cap=st.integers(1, 5))
    def found(self, cap):
        self.town = self.runner.run(self.open_town())
        admin = self.runner.run(self.town.account(cap=cap, email="a@example.com"))
        self.account = admin.account
        self.model = Model(cap, {admin.id: Person("a@example.com", ADMINISTRATOR, "active", 1, verified=True)})

    def teardown(self):
        if hasattr(self, "town"):
            self.runner.run(self.town.close())
        self.runner.close()

    def some_change(self, chance):
        """One change, mostly sensible, as seen now: by the time it is carried out it may be late."""
        people, kind = self.model.people, chance.choice(CHANGES)
        uid = chance.choice([*people, *people, *self.gone[-2:], self.town.uid(self.account)])
        if kind in {"rotate", "end", "change"}:
            uid = chance.choice([i for i, person in people.items() if person.sessions] or [uid])
        if kind in {"review", "remove", "open", "password", "accept"} and chance.random() < 0.7:
            uid = chance.choice([i for i, person in people.items() if person.held] or [uid])
        person = people.get(uid, Person("", "marketer", "gone"))
        sid = chance.choice([*person.sessions, *person.sessions, self.town.sid()])
        fresh, new_sid, actor = self.town.uid(self.account), self.town.sid(), self.some_actor(chance)
        late = chance.choice([0, 0, 0, 1])
        arguments = {
            "invite": (actor, fresh, chance.choice(EMAILS), chance.choice(ROLES), f"s{fresh}"),
            "accept": (uid, person.secret + "x" * late),
            "resend": (actor, uid, new_sid),
            "change": (actor, uid, chance.choice([None, None, *ROLES]), chance.choice([None, "active", "suspended"])),
            "remove": (actor, uid),
            "password": (uid, person.epoch - late, new_sid),
            "sign_out": (uid,),
            "open": (uid, person.epoch - late, new_sid),
            "rotate": (uid, sid, max(0, person.sessions.get(sid, 0) + chance.randint(-2, 1))),
            "end": (uid, sid),
            "link": (chance.choice(SUBJECTS), chance.choice([person.email for person in people.values()])),
            "link_user": (uid, chance.choice(SUBJECTS)),
            "unlink": (chance.choice([uid, *(held for held, _ in self.model.links.values())]), chance.random() < 0.3),
            "set_cap": (chance.randint(1, 6),),
            "hold": (uid, chance.choice([person.role, *ROLES]), chance.choice(self.lost_statuses(person))),
            "review": (actor, uid, chance.choice(ROLES), chance.choice(["active", "active", "suspended"])),
        }
        return kind, arguments[kind]

    @staticmethod
    def lost_statuses(person):
        now = "invited" if person.status in WAITING else person.status
        return [now, now, "removed"] if now == "invited" else [now, "active", "suspended", "removed"]

    def some_actor(self, chance):
        signed_in = [(i, p, s) for i, p in self.model.people.items() for s in p.sessions if p.role == ADMINISTRATOR]
        if not signed_in or chance.random() < 0.5:
            return OPERATOR
        uid, person, sid = chance.choice(signed_in)
        return Actor(uid, person.role, person.epoch, sid)

    @rule(chance=CHANCE)
    def one_change(self, chance):
        name, args = self.some_change(chance)
        outcome = self.runner.run(ask(self.town, self.account, name, args))
        before = set(self.model.people)
        assert type(outcome).__name__ == getattr(self.model, name)(*args), (name, args)
        self.gone += before - set(self.model.people)

    @rule(chance=CHANCE)
    def three_changes_at_once(self, chance):
        changes = [self.some_change(chance) for _ in range(3)]

        async def all_at_once():
            return await asyncio.gather(*(ask(self.town, self.account, *change) for change in changes))

        outcomes = [type(outcome).__name__ for outcome in self.runner.run(all_at_once())]
        state = self.runner.run(self.observed())
        for order in itertools.permutations(range(3)):
            model = copy.deepcopy(self.model)
            said = {place: getattr(model, changes[place][0])(*changes[place][1]) for place in order}
            if [said[place] for place in range(3)] == outcomes and model.state() == state:
                self.gone += set(self.model.people) - set(model.people)
                self.model = model
                return
        raise AssertionError(f"no order of {changes} explains {outcomes}")

    @rule(email=st.sampled_from(EMAILS))
    def an_invitation_that_expires(self, email):
        uid = self.town.uid(self.account)
        args = (OPERATOR, uid, email, "marketer", f"s{uid}")
        outcome = self.runner.run(ask(self.town, self.account, "invite", args, ttl=0.002))
        assert type(outcome).__name__ == self.model.invite(*args)
        if uid in self.model.people:
            self.runner.run(self.town.pass_by(3))
            self.model.people[uid].status = "expired"

    @rule(email=st.sampled_from(EMAILS))
    def an_invitation_that_goes_out_of_sight(self, email):
        """Thirty days after it expired. Redis' clock cannot be moved, so the expiry is."""
        gone = [uid for uid, person in self.model.people.items() if (person.email, person.status) == (email, "expired")]
        for uid in gone:
            home = keys.account(self.account, self.town.store.partitions)
            long_ago = str(round(self.runner.run(self.town.now_ms())) - 30 * 86400_000)
            self.runner.run(self.town.store.change("ZADD", f"{home}:inv", long_ago, uid))
            self.runner.run(self.town.store.change("DEL", f"{home}:i:{uid}"))
            del self.model.people[uid]
            self.gone.append(uid)

    @invariant()
    def the_same_state(self):
        if hasattr(self, "town"):
            assert self.runner.run(self.observed()) == self.model.state()

    @invariant()
    def the_data_is_sound(self):
        if hasattr(self, "town"):
            assert self.runner.run(Fsck(self.town.store).run()).clean

    async def observed(self):
        roster = await self.town.users.roster(self.account)
        links = FederatedIdentities(self.town.store)
        linked = {subject: await links.find(self.account, ISSUER, subject) for subject in SUBJECTS}
        people = {
            found.record.id: (
                found.record.email,
                found.record.role,
                found.record.status.value,
                found.record.epoch,
                found.record.email_verified,
                frozenset(found.record.sessions),
                found.record.review is not None,
            )
            for found in roster.members
        }
        return roster.seats.cap, people, {subject: held.user for subject, held in linked.items() if held is not None}


CHANGES = ("invite", "invite", "accept", "accept", "resend", "change", "change", "remove", "password", "sign_out")
CHANGES += (
    "open",
    "open",
    "open",
    "change",
    "rotate",
    "rotate",
    "end",
    "set_cap",
    "link",
    "link",
    "link_user",
    "unlink",
    "hold",
    "hold",
    "review",
    "review",
)


@pytest.mark.parametrize("kind", ["fakeredis", "server"])
def test_the_store_does_what_the_model_says(kind, make_town, redis_server_binary, request):
    class Here(Ledger):
        async def open_town(self):
            return await make_town(kind)

    chance = settings(
        max_examples=8 if kind == "fakeredis" else EXAMPLES,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # shrinking takes minutes: switch it on to look closer
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Here, settings=chance)


@pytest.fixture
def make_town(request, town_class):
    url = request.getfixturevalue("real_redis_url")

    async def make(kind):
        if kind == "fakeredis":
            store = store_over(fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True))
        else:
            store = await Store.open(url, **PATIENT)
            await store.change("FLUSHALL")
        await store.check_meta()
        return town_class(store, random.Random(7).randbytes)

    return make
