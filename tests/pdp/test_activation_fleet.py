"""Activation checks that need the store, and the reports of a rollout (R25, R26)."""

import asyncio
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.pdp.activation import ActivationState
from sidecar.pdp.activation_checks import RolesInUseCheck
from sidecar.pdp.rollout import BEHIND_SECONDS, PolicyRollout
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.policy_history import PolicyHistory
from sidecar.telemetry.metrics import Metrics


def generation(name: str, *roles: str) -> Any:
    declared = {role: SimpleNamespace(id=role, assignable=role != "member") for role in roles or ("admin",)}
    return SimpleNamespace(id=name, roles=declared, cells={}, allowed={})


# -- roles in use ------------------------------------------------------------------------------------------------------


class Holders:
    """Role holders; records the requested roles."""

    def __init__(self, **held: int) -> None:
        self.held = held
        self.asked: list[set[str]] = []

    async def holding(self, roles: Collection[str]) -> Mapping[str, int]:
        self.asked.append(set(roles))
        return {role: count for role, count in self.held.items() if role in roles}


class Known:
    def __init__(self, *roles: str) -> None:
        self._roles = frozenset(roles)

    async def roles(self) -> frozenset[str]:
        return self._roles


async def test_R26_no_role_disappears_that_somebody_holds() -> None:
    holders = Holders(marketer=2, developer=1)
    gate = RolesInUseCheck(
        SimpleNamespace(generation=generation("g", "admin", "marketer")), Known("developer"), holders
    )
    found = await gate(generation("h", "admin"))
    assert [(one.code, one.file) for one in found] == [("role-in-use", "policy/roles.toml")] * 2
    assert [one.message.split()[0] for one in found] == ["1", "2"]
    assert '"developer"' in found[0].message
    assert "[roles.developer]" in found[0].hint
    assert all(one.is_error for one in found)


async def test_R26_a_role_that_nobody_holds_may_go() -> None:
    gate = RolesInUseCheck(SimpleNamespace(generation=generation("g", "admin", "marketer")), Known(), Holders(admin=1))
    assert await gate(generation("h", "admin")) == ()


async def test_only_lost_roles_of_earlier_policies_are_looked_up() -> None:
    holders = Holders(admin=1)
    gate = RolesInUseCheck(SimpleNamespace(generation=generation("g", "admin")), Known("admin", "old"), holders)
    await gate(generation("h", "admin", "new"))
    await gate(generation("h", "admin", "new", "old"))
    assert holders.asked == [{"old"}, set()]


# -- rollout -----------------------------------------------------------------------------------------------------------


class Fleet:
    """Records the published facts; returns those of the other sidecars."""

    id = "one"

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.registered = 0
        self.others: list[dict[str, Any]] = []
        self.out = False

    def set_facts(self, **facts: Any) -> None:
        self.told.update(facts)

    async def register(self) -> None:
        self.registered += 1

    async def members(self) -> list[dict[str, Any]]:
        if self.out:
            raise StoreUnavailableError("out")
        return [{"id": self.id, **self.told}, *self.others]


class RolloutFixture:
    """A policy rollout with its collaborators."""

    def __init__(self, store: Any, clock: Any) -> None:
        self.policy = SimpleNamespace(
            generation=None,
            state=ActivationState.CURRENT,
            diagnostics=(),
            loaded_at=1.0,
            forced=False,
            location=SimpleNamespace(shown=lambda found: found),
        )
        self.fleet, self.metrics, self.generations = Fleet(), Metrics("0"), PolicyHistory(store)
        self.succession = PolicyRollout(
            self.policy, self.generations, self.fleet, self.metrics, clock=clock.monotonic, wait=self._wait
        )
        self.pauses = asyncio.Queue[float]()

    async def _wait(self, _changed: asyncio.Event, seconds: float) -> None:
        await self.pauses.put(seconds)
        await asyncio.Event().wait()

    async def serve(self, name: str, *roles: str) -> None:
        self.policy.generation = generation(name, *roles)
        self.succession.on_activation(self.policy)
        await self.succession.record()

    def sample(self, name: str) -> float | None:
        return self.metrics._registry.get_sample_value(name)


@pytest.fixture
def rollout(store: Any, clock: Any) -> RolloutFixture:
    return RolloutFixture(store, clock)


async def test_a_judgement_is_told_to_metrics_and_fleet(rollout: RolloutFixture) -> None:
    await rollout.serve("g1")
    assert rollout.fleet.told == {"generation": "g1", "state": "current"}
    assert rollout.sample("sidecar_policy_rejected") == 0
    assert rollout.sample("sidecar_policy_last_reload_timestamp_seconds") == 1.0
    rollout.policy.state = ActivationState.REJECTED
    rollout.policy.diagnostics = ("policy/policy.csv:1:1: …",)
    with capture_logs() as said:
        rollout.succession.on_activation(rollout.policy)
    assert [(line["log_level"], line["generation"]) for line in said] == [("warning", "g1"), ("error", "g1")]
    assert rollout.fleet.told == {"generation": "g1", "state": "rejected"}
    assert rollout.sample("sidecar_policy_rejected") == 1


async def test_R25_going_back_to_an_earlier_generation_alarms(rollout: RolloutFixture) -> None:
    with capture_logs() as logs:
        await rollout.serve("g1")
        await rollout.serve("g2")
        assert rollout.sample("sidecar_policy_reverted_total") == 0
        await rollout.serve("g1")
    assert rollout.sample("sidecar_policy_reverted_total") == 1
    [alarm] = [line for line in logs if line["log_level"] == "error"]
    assert (alarm["generation"], alarm["newest"]) == ("g1", "g2")


async def test_R25_an_unchanged_activation_is_not_recorded_again(rollout: RolloutFixture) -> None:
    await rollout.serve("g1")
    await rollout.serve("g1")
    assert list(await rollout.generations.order(["g1"])) == ["g1"]
    assert rollout.sample("sidecar_policy_reverted_total") == 0


async def test_R25_five_minutes_behind_the_fleet_alarm_once(rollout: RolloutFixture, clock: Any) -> None:
    await rollout.serve("g1")
    await rollout.generations.record("g2", ["admin"], sidecar="two")
    rollout.fleet.others = [{"id": "two", "generation": "g2", "state": "current"}]
    with capture_logs() as logs:
        await rollout.succession.check_skew()
        clock.advance(BEHIND_SECONDS)
        await rollout.succession.check_skew()
        assert rollout.sample("sidecar_policy_behind_seconds") == BEHIND_SECONDS
        assert not logs
        clock.advance(1)
        await rollout.succession.check_skew()
        clock.advance(1)
        await rollout.succession.check_skew()
    assert [(line["log_level"], line["generation"], line["newest"]) for line in logs] == [("error", "g1", "g2")]


async def test_R25_a_sidecar_that_caught_up_is_not_behind(rollout: RolloutFixture, clock: Any) -> None:
    await rollout.serve("g1")
    await rollout.generations.record("g2", ["admin"], sidecar="two")
    rollout.fleet.others = [{"id": "two", "generation": "g2"}, {"id": "three"}]
    await rollout.succession.check_skew()
    clock.advance(10)
    await rollout.succession.check_skew()
    assert rollout.sample("sidecar_policy_behind_seconds") == 10
    rollout.fleet.others = []
    await rollout.succession.check_skew()
    assert rollout.sample("sidecar_policy_behind_seconds") == 0, "only live sidecars count: none serves a newer one"
    rollout.fleet.others = [{"id": "two", "generation": "g2"}]
    await rollout.serve("g2")
    await rollout.succession.check_skew()
    assert rollout.sample("sidecar_policy_behind_seconds") == 0


async def test_an_activation_during_an_outage_is_recorded_later(
    rollout: RolloutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout.policy.generation = generation("g1")
    rollout.fleet.out = True
    rollout.succession.on_activation(rollout.policy)
    monkeypatch.setattr("sidecar.pdp.rollout.RETRY_SECONDS", 0)
    running = asyncio.create_task(rollout.succession.run())
    while rollout.fleet.registered < 2:
        await asyncio.sleep(0)
    rollout.fleet.out = False
    await rollout.pauses.get()
    running.cancel()
    assert list(await rollout.generations.order(["g1"])) == ["g1"]


async def test_a_forced_start_is_said_aloud(rollout: RolloutFixture) -> None:
    rollout.policy.forced = True
    with capture_logs() as logs:
        await rollout.serve("g1")
    assert "forced" in next(line["event"] for line in logs if line["log_level"] == "error")
