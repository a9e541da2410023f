"""Least rights: the ACL line of sidecar/server/README.md is exactly the sidecar's commands; doctor tries each."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecar.domain.users import Actor
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity.acl_permissions import (
    CHECKS,
    FSCK,
    NEEDED,
    REPLICAS,
    MissingPermissions,
    missing_permissions,
)
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.outcomes import Changed, Unchanged
from sidecar.store.scripting import run_read
from sidecar.store.scripts import names, script
from tests.conftest import PATIENT
from tests.store.half_failing import Scenarios
from tests.store.test_half_failed import writing

ROOT = Path(__file__).parents[2]
LINE = tuple(f"+{name}" for name in (*NEEDED, *CHECKS, FSCK, *REPLICAS))
OPTIONS = {"COUNT", "WITHSCORES", "PX", "MAXLEN", "MINID", "LIMIT"}
ELSEWHERE = {"CLUSTER", "SENTINEL"}
"""Commands for a Cluster, and for Sentinels, alone."""


def test_the_line_in_the_readme_is_the_one_in_the_program():
    (line,) = re.findall(r"^ *ACL SETUSER sidecar .*$", (ROOT / "sidecar/server/README.md").read_text(), re.MULTILINE)
    assert tuple(line.split()[4:]) == (">PASSWORD", "~sc:*", "resetchannels", *LINE)


def test_scripts_and_modules_use_only_listed_commands():
    listed = {right.removeprefix("+").partition("|")[0] for right in LINE}
    for name in names():
        used = set(re.findall(r"'([A-Z]{3,})'", script(name).text)) - OPTIONS
        assert {word.lower() for word in used} <= listed, name
    for path in (ROOT / "sidecar").rglob("*.py"):
        text = path.read_text()
        used = set(re.findall(r"\b(?:command|change|pairs|_settle|execute_command)\(\s*\"([A-Z]{3,})\"", text))
        assert {word.lower() for word in used - ELSEWHERE} <= listed, path


class Restricted:
    """A user of the real server with the rights of a line, and the commands that were denied."""

    def __init__(self, admin, url: str) -> None:
        self._admin = admin
        self.url = url.replace("unix://", f"unix://sidecar:{quote('s3cret')}@")

    async def reset(self, *rights: str) -> None:
        words = ["ACL", "SETUSER", "sidecar", "reset", "on", ">s3cret", "~sc:*", "resetchannels", *rights]
        await self._admin.execute_command(*words)
        await self._admin.execute_command("ACL", "LOG", "RESET")

    async def change(self, *rights: str) -> None:
        await self._admin.execute_command("ACL", "SETUSER", "sidecar", *rights)

    async def refused(self) -> set[str]:
        found = await self._admin.execute_command("ACL", "LOG")
        objects = {str(dict(zip(one[::2], one[1::2], strict=True)) if isinstance(one, list) else one) for one in found}
        return {one for one in objects if "client" not in one.lower()}

    async def calls(self) -> dict[str, int]:
        stats = await self._admin.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}


@pytest.fixture
async def user(real_town):
    restricted = Restricted(real_town.store.client, real_town.store.where)
    await restricted.reset(*LINE)
    yield restricted
    await real_town.store.client.execute_command("ACL", "DELUSER", "sidecar")


@pytest.fixture
async def bound(user, town_class, entropy):
    """The store's nouns as the restricted user."""
    store = await Store.open(user.url, **PATIENT)
    await store.check_meta(issuer="https://id.example", audience="dashboard")
    yield town_class(store, entropy)
    await store.close()


async def test_every_script_and_fsck_run_with_the_least_rights(bound, user):
    for number, name in enumerate(writing()):
        if name in {"meta", "data_set", "issuer_change", "lost_tell", "recover_finish"}:
            continue  # on their own keys, and in the tests of the verbs and of the recovery
        change = await getattr(Scenarios(bound, number * 1000), name)()
        await change.act()
    admin = await bound.account(name="Last", email="last@example.com")
    for reading in ("account", "roster", "peps", "backup_account", "fsck_account"):
        await run_read(bound.store, reading, admin.account)
    await bound.users.credentials_of(admin.id)
    await bound.sessions.listing(admin.id)
    await Fsck(bound.store).run()
    assert await user.refused() == set()
    assert await missing_permissions(bound.store) == MissingPermissions()


@pytest.mark.parametrize("right", [name for name in NEEDED if name != "set"] + [*CHECKS, FSCK, *REPLICAS])
async def test_a_missing_right_is_named_and_nothing_is_left_behind(bound, user, real_town, right):
    before = sorted(await real_town.store.client.keys("*"))
    await user.change(f"-{right}")

    missing = await missing_permissions(bound.store)

    assert right in (*missing.needed, *missing.other)
    assert len(missing.needed) + len(missing.other) == 1
    after = set(await real_town.store.client.keys("*"))
    assert after - set(before) <= ({f"sc:{keys.tag(0)}:rights"} if right == "del" else set())


async def test_without_set_what_would_write_is_not_tried(bound, user, real_town):
    before = sorted(await real_town.store.client.keys("*"))
    await user.change("-set")
    assert (await missing_permissions(bound.store)).needed == ("set",)
    assert sorted(await real_town.store.client.keys("*")) == before


async def test_a_user_of_other_keys_is_told_which(bound, user):
    await user.reset("resetkeys", "~other:*", *LINE)
    assert (await missing_permissions(bound.store)).needed == ("keys",)


@pytest.mark.parametrize("right", ["xadd", "incr", "hset", "hget", "zrem", "srem", "set", "hincrby", "time"])
async def test_R51_a_removed_right_leaves_the_record_or_an_event(bound, user, right):
    """Demotes and suspends, so that index, sessions and record change."""
    admin = await bound.account()
    bob = await bound.administrator(await bound.signed_in(admin), admin.account, "bob@example.com")
    await bound.signed_in(bob)
    before, told = await bound.users.record(bob.id), len(await bound.feed())
    await user.change(f"-{right}")

    with pytest.raises(StoreUnavailableError, match="returned an error"):
        await bound.users.change(Actor.operator(), bob.id, role="marketer", status="suspended")

    await user.change(f"+{right}")
    after = await bound.users.record(bob.id)
    feed = (await bound.feed())[told:]
    assert after == before or any(entry["u"] == bob.id for entry in feed)
    assert await bound.store.command("GET", f"{keys.feed(0)}:n") == (await bound.feed())[-1]["n"]
    again = await bound.users.change(Actor.operator(), bob.id, role="marketer", status="suspended")
    assert isinstance(again, Changed if after.role == before.role else Unchanged)
    assert again.record.role == "marketer"
    assert again.record.sessions == frozenset() or not again.record.sessions
