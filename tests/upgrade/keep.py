"""Write the store that a released version leaves: `python -m tests.upgrade.keep`. Each version is kept once.

Two accounts, one suspended, with administrators, members, invitations, sessions, second factors, PEP keys and links to
an external issuer; the policy in force, and an audit of which a part was exported.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import fakeredis

from sidecar import __version__
from sidecar.domain.factors import FactorId
from sidecar.domain.peps import PepId, Scope
from sidecar.domain.users import Actor, Status, UserId
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store.account_labels import AccountLabels
from sidecar.store.audit import Audit
from sidecar.store.audit_export import Exporter
from sidecar.store.connection import Store
from sidecar.store.factors import Factors
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.last_good_policy import LastGoodPolicy
from sidecar.store.peps import Peps
from sidecar.store.policy_history import PolicyHistory
from sidecar.tokens.audit_signing import CheckpointKey
from sidecar.tokens.opaque import Pepper
from tests.memory_store import store_over
from tests.store.conftest import StoreFixture
from tests.store.older_state import commands

FOLDER = Path(__file__).parent
PEPPER = Pepper(b"p" * 32)
META = {"issuer": "https://id.example", "audience": "dashboard", "pepper": PEPPER.identity}
YEARS = 10 * 365 * 86400.0
"""Life of what would end before the test of a later version."""


class Lines:
    """Sink of the exported rows, which stay in the store as well."""

    def __init__(self) -> None:
        self.written = b""

    async def write(self, lines: bytes) -> None:
        self.written += lines


async def fill(store: Store) -> bytes:
    """Fill the store, and return the exported part of its audit."""
    await store.check_meta(**META)
    town = StoreFixture(store, os.urandom)
    for name in ("Acme", "Globex"):
        await _account(town, name)
    globex = await town.accounts.find("Globex")
    await town.accounts.set_status(globex.id, Status.SUSPENDED, Actor.operator())
    await _policy(store)
    sink = Lines()
    await Exporter(store, sink, id="keep", sign=CheckpointKey(PEPPER).sign).export()
    await store.change("DEL", "sc:{p00}:exporter", "sc:{p00}:exporter:complete")
    await Audit(store).note("keys.rotated", Actor.operator(), target="kid")  # not exported yet
    return sink.written


async def _account(town: StoreFixture, name: str) -> None:
    domain = f"{name.lower()}.example"
    ada = await town.account(name, email=f"ada@{domain}")
    actor = await town.signed_in(ada)
    bob = await town.member(actor, ada.account, f"bob@{domain}", role="developer")
    await FederatedIdentities(town.store).link_user(bob.id, issuer="https://login.example", subject=f"bob-{name}")
    await _password(town, bob.id)
    await town.invite(actor, ada.account, f"eve@{domain}", name="Eve", ttl=YEARS)
    await AccountLabels(town.store).change(ada.account, {"plan": "pro"}, Actor.operator())
    pep = PepId(f"pep_{ada.account[4:]}_aaaaaaaaaaaa")
    await Peps(town.store).create(actor, pep, name="api", scopes=frozenset(Scope), digest="digest", ttl=YEARS, rate=100)
    factors, phone = Factors(town.store), FactorId("totp_" + "a" * 16)
    await factors.add(actor, phone, sealed="sealed", ttl=600)
    await factors.confirm(actor, phone, name="Phone", codes=["code"], wait=0, step=10)


async def _password(town: StoreFixture, user: UserId) -> None:
    record = await town.users.record(user)
    assert record is not None
    actor = await town.signed_in(record)
    await town.users.change_password(
        user, expected_epoch=record.epoch, password_hash="hash-2", session=town.session(), actor=actor
    )


async def _policy(store: Store) -> None:
    policy, model = packaged()
    generation = compile_policy(read_policy_files(policy, model).files, proof=ProofScope.NONE).generation
    assert generation is not None
    await PolicyHistory(store).record(generation.id, generation.roles, sidecar="keep", allowed=generation.allowed)
    await LastGoodPolicy(store, PEPPER).keep(generation.id, generation.files)


async def main(version: str) -> None:
    """Write both files. Raises FileExistsError for a version that is kept already."""
    client: Any = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    store = store_over(client)
    exported = await fill(store)
    kept = [words for words in await commands(store) if ":rid:" not in words[1]]
    with (FOLDER / f"{version}.jsonl").open("x", encoding="utf-8") as file:
        file.writelines(json.dumps(words, ensure_ascii=False) + "\n" for words in kept)
    with (FOLDER / f"{version}.audit").open("xb") as file:
        file.write(exported)
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(main(__version__))
