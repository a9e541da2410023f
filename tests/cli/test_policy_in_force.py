"""Roles of the policy in force: `user invite` and `set-role`, `account create`, `fsck` and `doctor`.

The files of the working directory may be newer than the policy that the sidecars serve, or rejected by them.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.sources import last_known_good
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.policy_history import PolicyHistory
from tests.cli.test_user_status import at_users

AUDITOR = '\n[roles.auditor]\ntitle = "Auditor"\n'
SHIPPED: Mapping[str, bytes] = read_policy_files(*packaged()).files


def with_auditor(files: Mapping[str, bytes] = SHIPPED) -> dict[str, bytes]:
    """The shipped policy with one more role."""
    rows = "".join(
        f"deny, auditor, {section}, {action}\n"
        for section, action in compiled(SHIPPED).allowed["account-administrator"]
        if (section, action) != ("audit", "view")
    )
    return {
        **files,
        "roles.toml": files["roles.toml"] + AUDITOR.encode(),
        "policy.csv": files["policy.csv"] + b"p, auditor, audit, view, allow\n",
        "expectations.csv": files["expectations.csv"] + f"allow, auditor, audit, view\n{rows}".encode(),
    }


def compiled(files: Mapping[str, bytes]) -> Generation:
    found = compile_policy(files, proof=ProofScope.NONE)
    assert found.generation is not None, found.diagnostics
    return found.generation


@dataclass(frozen=True)
class Place:
    """The working directory, and the store of the fleet."""

    folder: Path
    url: str

    def write(self, files: Mapping[str, bytes]) -> None:
        (self.folder / "policy").mkdir(exist_ok=True)
        for name, data in files.items():
            path = self.folder / ("" if name == "model.conf" else "policy") / name
            path.write_bytes(data)

    def record(self, files: Mapping[str, bytes], state: str = "current", *, live: bool = True) -> None:
        """Make one sidecar that serves these files, or one that did."""
        generation = compiled(files)

        async def job(store: Store) -> None:
            assignable = [role.id for role in generation.roles.values() if role.assignable]
            history = PolicyHistory(store)
            await history.record(generation.id, generation.roles, sidecar="host-a", assignable=assignable)
            side = keys.sidecars(0)
            reported = json.dumps({"generation": generation.id, "state": state})
            await store.change("ZADD", side, (time.time() + (3600 if live else -1)) * 1000, "host-a")
            await store.change("HSET", f"{side}:told", "host-a", reported)
            for partition in range(store.partitions):
                await store.change("HSET", f"{keys.sidecars(partition)}:applied", "host-a", 10**9)

        at_users(self.url, job)

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Store the last good policy, as `serve` does in the same state directory."""
        last_known_good.keep(self.folder / ".sidecar", files)


@pytest.fixture
def place(tmp_path: Path, at_store: Any, real_redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("sidecar.server.policy_in_force.FRESH_SECONDS", -1)
    return Place(tmp_path, real_redis_url)


INVITE = ("user", "invite", "bob@acme.example", "--role")


def test_a_role_of_files_that_are_not_in_force_is_refused(at_store: Any, place: Place) -> None:
    place.write(with_auditor())
    place.record(SHIPPED, "rejected")
    for verb in ((*INVITE, "auditor"), ("user", "set-role", "ada@acme.example", "auditor")):
        result = at_store(*verb)
        assert result.status == 2
        assert "there is no assignable role 'auditor'" in result.err
        assert f"are not in force: the sidecars serve generation {compiled(SHIPPED).id}" in result.err
    assert at_store(*INVITE, "marketer").status == 0
    place.keep(SHIPPED)
    assert "there is no assignable role 'auditor'" in at_store(*INVITE, "auditor").err


def test_a_role_in_force_is_accepted_beside_broken_files(at_store: Any, place: Place) -> None:
    place.write({**SHIPPED, "policy.csv": b"p, x\n"})
    place.record(with_auditor(), "rejected")
    result = at_store(*INVITE, "auditor")
    assert (result.status, "the sidecars serve generation" in result.err) == (2, True)
    assert "the policy does not compile" in result.err
    place.keep(with_auditor())
    result = at_store(*INVITE, "auditor")
    assert result.status == 0, result.err
    assert result.err.startswith("sidecar: warning: the policy files are not in force: the sidecars serve generation ")
    assert at_store("user", "set-role", "bob@acme.example", "marketer").status == 0


def test_files_in_force_decide_without_a_warning(at_store: Any, place: Place) -> None:
    place.write(with_auditor())
    place.record(SHIPPED)
    place.record(with_auditor())
    result = at_store(*INVITE, "auditor", "--json")
    assert (result.status, result.err) == (0, "")


def test_a_role_that_is_not_assignable_in_force_is_refused(at_store: Any, place: Place) -> None:
    files = with_auditor()
    place.write(files)
    served = {**files, "roles.toml": files["roles.toml"].replace(b'"Auditor"\n', b'"Auditor"\nassignable = false\n')}
    place.record(served, "rejected")
    assert "there is no assignable role 'auditor'" in at_store(*INVITE, "auditor").err


def test_without_a_live_sidecar_the_next_start_decides(at_store: Any, place: Place) -> None:
    place.write(with_auditor())
    place.record(SHIPPED, live=False)
    assert at_store(*INVITE, "auditor").status == 0
    place.record(with_auditor(), live=False)
    place.write(SHIPPED)  # a start would reject it: Bob is an auditor
    place.keep(with_auditor())
    result = at_store("user", "invite", "eve@acme.example", "--role", "auditor")
    assert result.status == 0
    assert 'the last good one: users hold "auditor", which the policy files do not declare' in result.err


def test_a_fresh_edit_is_awaited(at_store: Any, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sidecar policy …; sidecar user …` in one script: the sidecars need up to two seconds."""
    monkeypatch.setattr("sidecar.server.policy_in_force.FRESH_SECONDS", 5.0)
    place.write(with_auditor())
    place.record(SHIPPED)
    slept = []

    async def activation(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            async with Served(place) as served:
                await served.record(with_auditor())

    monkeypatch.setattr("sidecar.server.policy_in_force.asyncio.sleep", activation)
    result = at_store(*INVITE, "auditor")
    assert (result.status, result.err, len(slept)) == (0, "", 3)


class Served:
    """The history of the fleet's store, beside a running command."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def __aenter__(self) -> "Served":
        self._store = await Store.open(self._place.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()

    async def record(self, files: Mapping[str, bytes]) -> None:
        one = compiled(files)
        assignable = [role.id for role in one.roles.values() if role.assignable]
        await PolicyHistory(self._store).record(one.id, one.roles, sidecar="host-a", assignable=assignable)


def test_account_create_needs_the_administrator_in_force(
    at_store: Any, place: Place, typed: Callable[[str], None]
) -> None:
    """A forced start may serve a policy without an assignable administrator."""
    place.write(SHIPPED)
    place.record(SHIPPED, "rejected")

    async def force(store: Store) -> None:
        await PolicyHistory(store).record("f" * 32, ["member"], sidecar="host-a", forced=True, assignable=[])

    at_users(place.url, force)
    typed("velvet-anchor-pigeon-77\n")
    create = ("account", "create", "Bolt", "--admin-email", "eve@bolt.example", "--password-stdin")
    result = at_store(*create)
    assert result.status == 1
    assert 'the policy in force has no assignable role "account-administrator"' in result.err
    assert "Bolt" not in at_store("account", "list").out


def test_account_create_works_beside_broken_files_in_force(
    at_store: Any, place: Place, typed: Callable[[str], None]
) -> None:
    place.write({**SHIPPED, "policy.csv": b"p, x\n"})
    place.record(SHIPPED, "rejected")
    place.keep(SHIPPED)
    typed("velvet-anchor-pigeon-77\n")
    create = ("account", "create", "Bolt", "--admin-email", "eve@bolt.example", "--password-stdin")
    assert at_store(*create).status == 0


# -- undeclared roles that users hold


def test_fsck_and_doctor_name_undeclared_roles(at_store: Any, place: Place) -> None:
    place.write(with_auditor())
    assert at_store(*INVITE, "auditor").status == 0
    assert at_store("fsck").status == 0
    place.write(SHIPPED)
    result = at_store("fsck", "--json")
    assert result.status == 1
    (found,) = json.loads(result.out)["findings"]
    assert (found["fault"], found["note"]) == ("undeclared_role", False)
    assert 'the role "auditor" is not in the policy in force' in found["detail"]
    assert found["detail"].startswith("usr_")
    rows = {row["check"]: row for row in json.loads(at_store("doctor", "--json").out)}
    assert rows["roles"]["status"] == "warning"
    assert rows["roles"]["detail"].startswith('1 users hold or are invited to "auditor", which the policy does not')
    assert at_store("user", "set-role", "bob@acme.example", "marketer").status == 0
    assert at_store("fsck").status == 0
    assert "roles" not in {row["check"] for row in json.loads(at_store("doctor", "--json").out)}


def test_fsck_without_a_policy_says_that_roles_are_not_checked(at_store: Any, place: Place) -> None:
    place.write({**SHIPPED, "policy.csv": b"p, x\n"})
    result = at_store("fsck")
    assert result.status == 0
    assert result.err.startswith("sidecar: warning: the roles of users are not checked: the policy does not compile")


# -- rename


MOVE = ("policy", "rename", "role", "marketer", "brand-manager")


def roles_of(at_store: Any) -> dict[str, str]:
    return {one["email"]: one["role"] for one in json.loads(at_store("user", "list", "--json").out)["users"]}


@pytest.fixture
def held(at_store: Any, place: Place, typed: Callable[[str], None]) -> Place:
    """The shipped files, and a member and an invitation with the role "marketer"."""
    place.write(SHIPPED)
    assert at_store(*INVITE, "marketer").status == 0
    typed("velvet-anchor-pigeon-77\n")
    assert at_store("user", "invite", "eve@acme.example", "--role", "marketer", "--password-stdin").status == 0
    return place


def on_disk(place: Place) -> dict[str, bytes]:
    found = read_policy_files(place.folder / "policy", place.folder / "model.conf").files
    return dict(found)


def test_a_role_that_users_hold_is_not_renamed(at_store: Any, held: Place) -> None:
    result = at_store(*MOVE)
    assert result.status == 1
    assert result.err == (
        'sidecar: 2 users hold or are invited to "marketer": add --in-store, which moves them; nothing is renamed\n'
    )
    assert on_disk(held) == SHIPPED
    assert at_store("policy", "rename", "role", "accountant", "bookkeeper").status == 0


def test_in_store_moves_users_and_invitations(at_store: Any, held: Place) -> None:
    assert at_store("user", "suspend", "eve@acme.example").status == 0
    result = at_store(*MOVE, "--in-store")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        'step 1 of 3: the files declare "marketer" and "brand-manager", with equal rights',
        'step 2 of 3: 2 users and invitations moved to "brand-manager"',
        "step 3 of 3: marketer → brand-manager: 22 cells, 0 routes, no answer changes",
    ]
    roles = roles_of(at_store)
    assert (roles["bob@acme.example"], roles["eve@acme.example"]) == ("brand-manager", "brand-manager")
    assert at_store("fsck").status == 0
    again = at_store(*MOVE, "--in-store")
    assert (again.status, again.out) == (0, '"marketer" is renamed to "brand-manager" already, and no user holds it\n')
    renamed = on_disk(held)
    held.write(SHIPPED)
    assert at_store(*MOVE).status == 0
    assert on_disk(held) == renamed, "the same files as without --in-store"


@pytest.mark.parametrize("step", range(5))
def test_each_step_can_be_interrupted_and_taken_up(
    at_store: Any, held: Place, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before and after the first files, between two users, and before the last files."""
    from sidecar.cli.policy import rename, rename_in_store
    from sidecar.store.users import Users

    with monkeypatch.context() as stop:
        count = 0

        def guarded(module: Any, name: str) -> None:
            real = getattr(module, name)

            def call(*args: Any, **named: Any) -> Any:
                nonlocal count
                count += 1
                if count > step:
                    raise KeyboardInterrupt
                return real(*args, **named)

            stop.setattr(module, name, call)

        guarded(rename, "replace_files")
        guarded(rename_in_store, "wait_served")
        guarded(Users, "change")
        interrupted = at_store(*MOVE, "--in-store")
        assert interrupted.status != 0
    assert compiled(on_disk(held)), "at each time the files are valid"
    declared = compiled(on_disk(held)).roles
    assert set(roles_of(at_store).values()) <= {*declared}
    result = at_store(*MOVE, "--in-store")
    assert result.status == 0, result.err
    roles = roles_of(at_store)
    assert (roles["bob@acme.example"], roles["eve@acme.example"]) == ("brand-manager", "brand-manager")
    assert b"brand-manager to" not in on_disk(held)["roles.toml"]


def test_in_store_waits_for_all_live_sidecars(at_store: Any, held: Place) -> None:
    held.record(SHIPPED)
    result = at_store(*MOVE, "--in-store", "--timeout", "0.3")
    assert result.status == 1
    assert "1 live sidecars do not serve generation" in result.err
    assert "no user is moved" in result.err
    assert roles_of(at_store)["bob@acme.example"] == "marketer"
    held.record(on_disk(held))
    assert at_store(*MOVE, "--in-store").status == 0
    assert roles_of(at_store)["bob@acme.example"] == "brand-manager"


def test_users_of_the_old_role_after_the_last_step_are_moved(at_store: Any, held: Place) -> None:
    """A user got the old role between the second step and the activation of the third."""
    assert at_store(*MOVE, "--in-store").status == 0
    renamed = on_disk(held)
    held.write(SHIPPED)
    assert at_store("user", "set-role", "bob@acme.example", "marketer").status == 0
    held.write(renamed)
    held.record(SHIPPED, "rejected")
    held.keep(SHIPPED)
    result = at_store(*MOVE, "--in-store")
    assert result.status == 1
    assert '1 users hold "marketer", which the files no longer declare' in result.err
    assert roles_of(at_store)["bob@acme.example"] == "marketer"
    held.record(renamed)
    result = at_store(*MOVE, "--in-store")
    assert (result.status, result.out.endswith("already, and no user holds it; 1 more users moved\n")) == (0, True)
    assert roles_of(at_store)["bob@acme.example"] == "brand-manager"


def test_in_store_refuses_what_a_rename_refuses(at_store: Any, held: Place) -> None:
    for old, new, message in (
        ("marketer", "developer", "exists already"),
        ("member", "x", "the sidecar itself uses"),
        ("marketerr", "x", 'did you mean "marketer"?'),
    ):
        result = at_store("policy", "rename", "role", old, new, "--in-store")
        assert (result.status, message in result.err) == (2, True), result.err
    assert on_disk(held) == SHIPPED
