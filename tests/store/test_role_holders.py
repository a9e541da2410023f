"""Roles in use, over accounts and pages; active generations, in order, audited."""

import json

import pytest

from sidecar.domain.users import Actor
from sidecar.store import keys, role_holders
from sidecar.store.policy_history import GenerationOrder, PolicyHistory, PolicyRoles, RecordedActivation
from sidecar.store.role_holders import RoleHolders


async def test_nobody_asked_for_costs_no_question(town) -> None:
    await town.account()
    assert await RoleHolders(town.store).holding([]) == {}


async def test_members_and_invitations_of_every_account_count(town) -> None:
    for name in ("Acme", "Bolt", "Coil"):
        admin = await town.account(name, cap=9, email=f"ada@{name}.example")
        actor = await town.signed_in(admin)
        await town.member(actor, admin.account, f"dev@{name}.example", role="developer")
        await town.invite(actor, admin.account, f"mark@{name}.example", role="marketer")
    held = await RoleHolders(town.store).holding(["account-administrator", "developer", "marketer", "accountant"])
    assert held == {"account-administrator": 3, "developer": 3, "marketer": 3}


async def test_removed_users_and_expired_invitations_hold_no_role(town) -> None:
    admin = await town.account()
    actor = await town.signed_in(admin)
    gone = await town.member(actor, admin.account, "dev@acme.example", role="developer")
    await town.users.remove(Actor.operator(), gone.id)
    invited = await town.invite(actor, admin.account, "mark@acme.example", role="marketer", ttl=0.05)
    await town.until(await town.now_ms() + 60)
    assert invited
    assert await RoleHolders(town.store).holding(["developer", "marketer"]) == {}


async def test_a_large_account_is_looked_at_in_pieces(town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_holders, "USERS", 3)
    monkeypatch.setattr(role_holders, "ACCOUNTS", 2)
    for name in ("Acme", "Bolt", "Coil"):
        admin = await town.account(name, cap=40, email=f"ada@{name}.example")
        actor = await town.signed_in(admin)
        for number in range(7):
            await town.invite(actor, admin.account, f"m{number}@{name}.example", role="marketer")
        for number in range(4):
            await town.member(actor, admin.account, f"d{number}@{name}.example", role="developer")
    held = await RoleHolders(town.store).holding(["developer", "marketer"])
    assert held == {"developer": 12, "marketer": 21}


async def test_undeclared_roles_are_all_but_the_declared(town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_holders, "USERS", 2)
    for name in ("Acme", "Bolt"):
        admin = await town.account(name, cap=40, email=f"ada@{name}.example")
        actor = await town.signed_in(admin)
        for number in range(3):
            await town.invite(actor, admin.account, f"m{number}@{name}.example", role="marketer")
            await town.member(actor, admin.account, f"d{number}@{name}.example", role="developer")
    holders = RoleHolders(town.store)
    assert await holders.undeclared(["account-administrator", "marketer"]) == {"developer": 6}
    assert await holders.undeclared(["account-administrator"]) == {"developer": 6, "marketer": 6}
    assert await holders.undeclared(["account-administrator", "marketer", "developer", "other"]) == {}
    assert await holders.undeclared([]) == {"account-administrator": 2, "developer": 6, "marketer": 6}


async def test_the_roles_of_the_newest_generation_are_kept(store) -> None:
    history = PolicyHistory(store)
    assert await history.current() is None
    await history.record("g1", ["a", "b"], sidecar="one", assignable=["a"])
    await history.record("g2", ["a"], sidecar="one", assignable=[])
    assert await history.current() == PolicyRoles("g2", frozenset("a"), frozenset())
    await history.record("g1", ["a", "b"], sidecar="two", start=True, assignable=["a"])  # not the newest
    assert await history.current() == PolicyRoles("g2", frozenset("a"), frozenset())
    await history.record("g1", ["a", "b"], sidecar="two", assignable=["a"])
    assert await history.current() == PolicyRoles("g1", frozenset("ab"), frozenset("a"))


async def test_deleted_accounts_hold_nothing(town) -> None:
    admin = await town.account()
    await town.accounts.delete(admin.account, Actor.operator())
    assert await RoleHolders(town.store).holding(["account-administrator"]) == {}


# -- generations -------------------------------------------------------------------------------------------------------


async def log_of(store) -> list[tuple[str, str, str]]:
    rows = await store.command("XRANGE", keys.system_log(), "-", "+")
    found = []
    for number, (entry, raw) in enumerate(rows, 1):
        fields = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        assert entry == f"{number}-0", "numbered without gaps"
        before, after = (json.loads(fields[name])["generation"] for name in ("before", "after"))
        found.append((fields["action"], before, after))
    return found


async def test_R25_generations_are_recorded_and_going_back_is_audited(store) -> None:
    generations = PolicyHistory(store)
    assert await generations.record("g1", ["a"], sidecar="one", start=True) == RecordedActivation(
        GenerationOrder.NEW, None
    )
    assert await generations.record("g1", ["a"], sidecar="two", start=True) == RecordedActivation(
        GenerationOrder.CURRENT, "g1"
    )
    assert await generations.record("g2", ["a", "b"], sidecar="one") == RecordedActivation(GenerationOrder.NEW, "g1")
    assert await generations.record("g1", ["a"], sidecar="one") == RecordedActivation(GenerationOrder.BACK, "g2")
    assert await generations.record("g1", ["a"], sidecar="two") == RecordedActivation(GenerationOrder.CURRENT, "g1")
    assert await log_of(store) == [
        ("policy.activated", "", "g1"),
        ("policy.activated", "g1", "g2"),
        ("policy.reverted", "g2", "g1"),
    ]
    order = await generations.order(["g1", "g2", "g3"])
    assert order["g1"] > order["g2"], "the reactivated one is the newest now"
    assert "g3" not in order
    assert await generations.roles() == {"a", "b"}


async def test_R25_a_restart_on_an_older_policy_is_an_audited_revert(store) -> None:
    generations = PolicyHistory(store)
    await generations.record("g1", ["a"], sidecar="one", start=True)
    await generations.record("g2", ["a"], sidecar="one")
    assert await generations.record("g1", ["a"], sidecar="two", start=True) == RecordedActivation(
        GenerationOrder.BACK, "g2"
    )
    order = await generations.order(["g1", "g2"])
    assert order["g2"] > order["g1"]
    assert (await log_of(store))[-1] == ("policy.reverted", "g2", "g1")


async def test_R26_a_forced_start_is_audited_even_on_the_newest(store) -> None:
    generations = PolicyHistory(store)
    await generations.record("g1", ["a"], sidecar="one", start=True)
    await generations.record("g1", ["a"], sidecar="one", start=True, forced=True)
    assert (await log_of(store))[-1] == ("policy.forced", "g1", "g1")


async def test_an_answer_that_was_lost_is_given_again(store, monkeypatch: pytest.MonkeyPatch) -> None:
    generations = PolicyHistory(store)
    await generations.record("g1", ["a"], sidecar="one")
    monkeypatch.setattr(store, "request_id", lambda: "the-same")
    first = await generations.record("g2", ["a"], sidecar="one")
    assert await generations.record("g2", ["a"], sidecar="one") == first
    assert len(await log_of(store)) == 2
