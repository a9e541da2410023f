"""Warnings about needs: networks without a trusted proxy, and the version of the time zones."""

from types import SimpleNamespace

import pytest

from sidecar.pdp import network_warnings as module
from sidecar.pdp.activation import ActivationState
from sidecar.pdp.health import Health
from sidecar.pdp.network_warnings import NetworkWarnings, network_warnings
from sidecar.policy.needs import zones
from sidecar.store.integrity.partition_state import PartitionStates
from tests.needs_world import need, policy_with


@pytest.mark.parametrize(
    ("asked", "proxies", "expected"),
    [("office", False, True), ("passkey | office", False, True), ("office", True, False), ("passkey", False, False)],
)
def test_networks_without_a_trusted_proxy_are_warned_of(asked: str, proxies: bool, expected: bool) -> None:
    found = network_warnings(policy_with(need(asked)), proxies=proxies)
    assert bool(found) is expected
    assert all("(office)" in one and "SIDECAR_TRUSTED_PROXIES" in one for one in found)


def test_without_a_policy_there_is_no_warning() -> None:
    assert network_warnings(None, proxies=False) == ()


def test_a_generation_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(module, "_log", SimpleNamespace(warning=lambda _message, warning: logged.append(warning)))
    warnings, policy = NetworkWarnings(proxies=False), SimpleNamespace(generation=policy_with(need("office")))
    for _ in range(3):
        warnings.on_activation(policy)
    assert len(logged) == 1
    assert warnings.of(policy) == tuple(logged)
    policy.generation = policy_with(need("passkey"))
    warnings.on_activation(policy)
    policy.generation = None
    warnings.on_activation(policy)
    assert len(logged) == 1


async def test_the_status_names_the_version_of_the_time_zones() -> None:
    """Replicas with other rules would disagree on hours."""

    def health(asked: str) -> Health:
        policy = SimpleNamespace(generation=policy_with(need(asked)), diagnostics=(), loaded_at=0.0)
        policy.state = ActivationState.CURRENT
        given = {"lags": dict, "known_users": dict, "fleet": list, "lease": 1.0, "store_address": ""}
        return Health("1", policy, PartitionStates(clock=float), clock=float, **given)  # type: ignore[arg-type]

    assert (await health("office-hours").report()).time_zones == zones.version()
    assert (await health("office").report()).time_zones is None
