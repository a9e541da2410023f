"""Users and their tokens: written into the store by pipeline, as the sidecar's own scripts would leave them.

A real sign-in costs a password hash, and a million of them are not measured here. ``test_bench.py`` compares a record
written here with the output of the store's reader.
"""

import json
import random
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import jwt
import redis

from sidecar.domain.users import AccountId, SessionId, UserId
from sidecar.sources.key_files import LoadedKeys, load_or_create
from sidecar.store import keys
from sidecar.tokens.ids import ENTROPY_BYTES, new_account_id, new_session_id, new_user_id
from sidecar.tokens.keyset import ALGORITHM, TYPE
from tests.bench.policies import Cell, Policy

ISSUER = "http://bench.example"
AUDIENCE = "dashboard"
DAY = 86400
SEATS = 5
ALLOWED_SHARE = 0.93
SHARED_HASH = "$argon2id$v=19$m=19456,t=2,p=1$YmVuY2hiZW5jaGJlbmNo$0000000000000000000000000000000000000000000"
"""Placeholder with a hash's length; no sign-in uses it."""
PIPELINE = 2_000


@dataclass(frozen=True, slots=True)
class User:
    """An active user with one live session."""

    id: UserId
    account: AccountId
    session: SessionId
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class CheckCase:
    """One request: subject, token, and the right response."""

    person: User
    token: str
    spot: Cell
    allowed: bool


def population(count: int, roles: Sequence[str], chance: random.Random) -> Iterator[User]:
    """Return ``count`` users, five per account; the first of each account is its administrator."""
    account = AccountId("")
    for number in range(count):
        if number % SEATS == 0:
            account = new_account_id(chance.randbytes(ENTROPY_BYTES))
        role = roles[0] if number % SEATS == 0 else roles[1 + number % (len(roles) - 1)]
        yield User(
            new_user_id(account, chance.randbytes(ENTROPY_BYTES)),
            account,
            new_session_id(chance.randbytes(ENTROPY_BYTES)),
            f"user-{number}@company-{number // SEATS}.example",
            role,
        )


def write_users(url: str, people: Iterable[User]) -> list[User]:
    """Write the users into the store, and the naive baseline's own record beside. Return the first hundred thousand of
    them.
    """
    kept: list[User] = []
    waiting = iter(people)
    with redis.Redis.from_url(url) as client:
        while batch := list(islice(waiting, PIPELINE)):
            with client.pipeline(transaction=False) as pipe:
                for person in batch:
                    _write(pipe, person)
                pipe.execute()
            kept += batch[: max(0, 100_000 - len(kept))]
    return kept


def _write(pipe: Any, person: User) -> None:
    account = keys.account(person.account, 1)
    now = int(time.time())
    fields = {
        "em": person.email,
        "name": person.email.partition("@")[0],
        "role": person.role,
        "st": "active",
        "tv": 1,
        "pwtv": 1,
        "pw": SHARED_HASH,
        "ev": 1,
        "created": now * 1000,
        "changed": now * 1000,
        "rv": 1,
    }
    admin = person.role == "account-administrator"
    if admin:
        told = {"id": person.account, "name": f"Company {person.account}", "cap": SEATS, "st": "active"}
        pipe.hset(account, mapping={**told, "created": now * 1000, "seq": SEATS, "born": SEATS})
        pipe.sadd(f"{account}:admins", person.id)
    pipe.hset(f"{account}:u:{person.id}", mapping=fields)
    pipe.zadd(f"{account}:us:{person.id}", {person.session: (now + 30 * DAY) * 1000})
    facts = {"u": person.id, "tv": 1, "at": now * 1000, "by": f"password::{now * 1000}"}
    pipe.hset(f"{account}:s:{person.session}", mapping=facts)
    pipe.sadd(f"{account}:members", person.id)
    pipe.hset(f"{account}:em", person.email, person.id)
    pipe.set(f"afternoon:{person.id}", json.dumps({"role": person.role, "epoch": 1, "active": True}))


@dataclass(frozen=True, slots=True)
class Mint:
    """Makes tokens as the sidecar does, with a role in them for the targets that read it from there."""

    keys: LoadedKeys

    @classmethod
    def at(cls, folder: Path) -> "Mint":
        return cls(load_or_create(folder))

    def jwks(self) -> dict[str, Any]:
        return self.keys.keys.jwks()

    def token(self, person: User, *, padding: int = 0, **other: object) -> str:
        now = int(time.time())
        payload: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": person.id,
            "client_id": person.id,
            "acct": person.account,
            "sid": person.session,
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + DAY,
            "tv": 1,
            "role": person.role,
            **other,
        }
        if padding:
            payload["pad"] = "x" * padding
        signing = self.keys.keys
        headers: Mapping[str, str] = {"typ": TYPE, "kid": signing.kid}
        return jwt.encode(payload, signing.private_key, algorithm=ALGORITHM, headers=dict(headers))


def questions(
    people: Sequence[User], policy: Policy, mint: Mint, *, seed: int = 7, padding: int = 0
) -> list[CheckCase]:
    """Return one request for each of ``people``, with its own token: 93 of a hundred are allowed."""
    chance = random.Random(seed)
    nowhere = Cell("nowhere", "view", "GET", "/elsewhere/items/1")
    yes = {role: [spot for spot in policy.spots if policy.allowed(role, spot)] for role in policy.roles}
    no = {role: [spot for spot in policy.spots if not policy.allowed(role, spot)] or [nowhere] for role in policy.roles}
    asked = []
    for person in people:
        allowed = chance.random() < ALLOWED_SHARE and bool(yes[person.role])
        spot = chance.choice((yes if allowed else no)[person.role])
        asked.append(CheckCase(person, mint.token(person, padding=padding), spot, allowed))
    return asked
