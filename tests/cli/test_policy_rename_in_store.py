"""`sidecar policy rename role --in-store`, ended at each of its steps and run again; and roles that users hold."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.policy import rename as verb
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import RenamePlan, plan_rename
from sidecar.policy.rename.target import RenameTarget
from sidecar.sources.policy_files import read_policy_files
from sidecar.store.users import Users
from tests.cli.test_policy_in_force import Place

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]
PEOPLE = ("bob@acme.example", "eve@acme.example")
NAMES = ("marketer", "brand-manager")


class Kill(BaseException):
    """End of the process at this point."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policy", tmp_path / "policy")
    shutil.copy(ROOT / "model.conf", tmp_path)
    return tmp_path / "policy"


@pytest.fixture
def held(at_store: Cli, folder: Path) -> Cli:
    """The command on a store in which two users are marketers."""
    for email in PEOPLE:
        assert at_store("user", "invite", email, "--role", "marketer").status == 0
    return at_store


def files_of(folder: Path) -> dict[str, bytes]:
    found = read_policy_files(folder, folder.parent / "model.conf")
    assert found.diagnostics == ()
    return dict(found.files)


def renamed(files: dict[str, bytes], old: str, new: str) -> dict[str, bytes]:
    before = compile_policy(files, proof=ProofScope.NONE).generation
    assert before is not None
    plan = plan_rename(before, RenameTarget(RenameKind.ROLE, old, new))
    assert isinstance(plan, RenamePlan)
    return {**files, **plan.files}


def roles_held(at_store: Cli) -> list[str]:
    output = at_store("user", "list", "--json").out  # a killed command has left its own lines before
    found = json.loads(output.splitlines()[-1])["users"]
    return [one["role"] for one in found if one["email"] in PEOPLE]


def kill_after(last: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Let ``last`` points pass, before and after each write of files and change of a user. Returns "was it killed?"."""
    count, write, change = 0, verb.write, Users.change

    def point() -> None:
        nonlocal count
        count += 1
        if count > last:
            raise Kill

    def counted_write(*args: Any) -> None:
        point()
        write(*args)
        point()

    async def counted_change(*args: Any, **named: Any) -> Any:
        point()
        outcome = await change(*args, **named)
        point()
        return outcome

    monkeypatch.setattr(verb, "write", counted_write)
    monkeypatch.setattr(Users, "change", counted_change)
    return lambda: count > last


@pytest.mark.slow
def test_a_kill_at_each_step_is_taken_up_again(held: Cli, folder: Path) -> None:
    """Between the steps, the files compile and declare each role that a user holds. Names alternate."""
    versions = dict(zip(NAMES, (files_of(folder), renamed(files_of(folder), *NAMES)), strict=True))
    old, new = NAMES
    points = 0
    while True:
        with pytest.MonkeyPatch.context() as monkeypatch:
            was_killed = kill_after(points, monkeypatch)
            with contextlib.suppress(Kill):
                assert held("policy", "rename", "role", old, new, "--in-store").status == 0
        generation = compile_policy(files_of(folder), proof=ProofScope.NONE).generation
        assert generation is not None, points
        assert set(roles_held(held)) <= set(generation.roles), points
        again = held("policy", "rename", "role", old, new, "--in-store")
        assert (again.status, again.err) == (0, ""), points
        assert roles_held(held) == [new, new], points
        assert files_of(folder) == versions[new], points
        if not was_killed():
            break
        points, old, new = points + 1, new, old
    assert points == 8, "before and after two writes and two changes"


def test_a_role_that_users_hold_is_not_renamed(held: Cli, folder: Path) -> None:
    before = files_of(folder)
    refused = held("policy", "rename", "role", "marketer", "brand-manager")
    assert (refused.status, refused.out) == (1, "")
    assert '2 users hold or are invited to "marketer": add --in-store, which moves them' in refused.err
    assert files_of(folder) == before
    free = held("policy", "rename", "role", "developer", "engineer")
    assert (free.status, free.err) == (0, ""), "no user holds this role"


def test_a_live_sidecar_with_other_files_moves_no_user(held: Cli, folder: Path, real_redis_url: str) -> None:
    """The first step is taken. Users move once all live sidecars serve its files."""
    Place(folder.parent, real_redis_url).record(files_of(folder))
    words = ("policy", "rename", "role", "marketer", "brand-manager", "--in-store", "--timeout", "0")
    waiting = held(*words)
    assert waiting.status == 1
    assert "1 live sidecars do not serve generation" in waiting.err
    assert "then run this command again; no user is moved" in waiting.err
    assert roles_held(held) == ["marketer", "marketer"]
    Place(folder.parent, real_redis_url).record(files_of(folder))
    assert held(*words).status == 0
    assert roles_held(held) == ["brand-manager", "brand-manager"]
