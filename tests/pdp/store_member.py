"""One sidecar's policy from the store, without the rest of the sidecar: tests deliver the feed and move the clock."""

from pathlib import Path

import pytest

from sidecar.pdp import policy_seed, store_activation
from sidecar.pdp.compile import process
from sidecar.pdp.leased_policy import LeasedPolicy
from sidecar.pdp.store_activation import StorePolicy
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_location import PolicyLocation
from sidecar.store import keys
from sidecar.store.integrity.feed_entries import change_of, fields_of
from sidecar.store.live.record_cache import Lease
from sidecar.store.policy_generations import PolicyGenerations
from tests.store.generations_fixture import PEPPER, Applying, registered


def without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the proof against pycasbin to the tests of the compiler: it is the same for each of these policies."""

    def quick(files, **more):
        return compile_policy(files, **{**more, "proof": ProofScope.NONE})

    for module in (process, policy_seed, store_activation):
        monkeypatch.setattr(module, "compile_policy", quick)


class Member:
    """One sidecar's policy; the test delivers the feed and moves the clock."""

    def __init__(self, store, state: Path, clock, name: str = "one", policy_dir: Path | None = None, **more) -> None:
        self.store, self.clock, self.name, self.told = store, clock, name, more.pop("told", "{}")
        self.applying = Applying(store)
        place = policy_dir or state / "none"
        self.policy = more.pop("kind", StorePolicy)(
            PolicyLocation(place, place / "model.conf"),
            self.applying.generations,
            more.pop("pepper", PEPPER),
            state_dir=state,
            clock=clock.time,
            monotonic=clock.monotonic,
            signatures=more.pop("signatures", None),
        )
        self.served = LeasedPolicy(self.policy)
        self.lease = Lease(until=clock.monotonic() + 1000)
        self.policy.attach(name, self.lease)
        self.at = "0-0"

    @staticmethod
    def generations_of(store) -> PolicyGenerations:
        return PolicyGenerations(store, PEPPER)

    async def started(self) -> "Member":
        await registered(self.store, self.name, told=self.told)
        await self.policy.start()
        await self.look()
        return self

    async def look(self) -> None:
        """Compare with the store, as the tasks do after each event."""
        await self.policy._look()
        await self.policy._answer()

    async def hear(self) -> None:
        """Apply the feed's new entries."""
        rows = await self.store.command("XRANGE", keys.feed(0), f"({self.at}", "+")
        for entry, raw in rows:
            self.at = entry
            self.policy.apply(0, change_of(fields_of(raw), entry))

    async def settle(self) -> None:
        await self.hear()
        await self.look()
        await self.hear()

    @property
    def active(self) -> str:
        return self.served.generation.id if self.served.generation else ""
