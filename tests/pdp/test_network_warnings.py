"""Conditions of networks without a trusted proxy: one warning per generation, with the setting that is missing."""

from types import SimpleNamespace

import pytest

from sidecar.pdp import network_warnings as module
from sidecar.pdp.network_warnings import NetworkWarnings, network_warnings
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
