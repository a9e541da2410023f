"""`sidecar policy rename` beside a serving sidecar: no failed check, no generation of a mixture, and no lost user."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.sources import policy_journal
from tests.live.conftest import Start
from tests.live.policy_support import Policy, forget_last_good, load, serves, status, until
from tests.live.support import Http, Process, cli, found_account
from tests.live.test_policy_reload import MARK, MEDIA, two_people

pytestmark = pytest.mark.slow


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(tmp_path / "edited")


def lines(process: Process) -> list[dict]:
    return [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]


def role_of(process: Process, email: str) -> str:
    found = json.loads(cli(process.settings, "user", "list", "--json").stdout)["users"]
    return next(one["role"] for one in found if one["email"] == email)


async def rename(process: Process, *words: str) -> str:
    done = await asyncio.to_thread(cli, process.settings, "policy", "rename", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_section_is_renamed_under_load(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy
) -> None:
    process = start(REDIS_URL=real_redis_url, **policy.settings)
    found_account(process)
    _, mark = await two_people(process)
    api = http(process)
    served = [policy.generation_of({})]
    async with load(process, mark.access, MEDIA) as answers:
        for old, new in (("media-library", "assets"), ("assets", "pictures"), ("pictures", "media-library")):
            await rename(process, "section", old, new)
            served.append(policy.generation_of(policy.files()))
            await until(serves(api, process, served[-1]))
    assert answers.statuses == {200}
    assert answers.generations <= set(served)
    activated = [line["generation"] for line in lines(process) if line["message"] == "policy activated"]
    assert activated == served
    assert policy.files() == policy.shipped


@pytest.mark.parametrize("files", range(1, 4))
async def test_an_interrupted_rename_is_completed_by_the_server(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy, files: int
) -> None:
    process = start(REDIS_URL=real_redis_url, **policy.settings)
    found_account(process)
    await rename(process, "section", "media-library", "assets")
    after = policy.files()
    await rename(process, "section", "assets", "media-library")
    api = http(process)
    await until(serves(api, process, policy.generation_of({})))
    changed = {name: data for name, data in after.items() if data != policy.shipped[name]}
    assert len(changed) == 4
    policy_journal.write(policy.folder, policy.shipped, changed)
    for name in list(changed)[:files]:  # and then the process was killed
        (policy.folder / name).write_bytes(changed[name])
    await until(serves(api, process, policy.generation_of(after)))
    assert not policy_journal.exists(policy.folder)
    activated = {line["generation"] for line in lines(process) if line["message"] == "policy activated"}
    assert activated == {policy.generation_of({}), policy.generation_of(after)}
    assert not [line for line in lines(process) if line["message"].startswith("policy files rejected")]


async def test_a_held_role_is_renamed_in_store_under_load(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy
) -> None:
    process = start(REDIS_URL=real_redis_url, **policy.settings)
    found_account(process)
    _, mark = await two_people(process)
    refused = cli(process.settings, "policy", "rename", "role", "marketer", "brand-manager")
    assert (refused.returncode, policy.files()) == (1, policy.shipped)
    async with load(process, mark.access, MEDIA) as answers:
        out = await rename(process, "role", "marketer", "brand-manager", "--in-store")
        await until(serves(http(process), process, policy.generation_of(policy.files())))
    assert [line[:11] for line in out.splitlines()] == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]
    assert answers.statuses == {200}
    assert len(answers.generations) == 3
    assert role_of(process, MARK) == "brand-manager"
    assert (await http(process).check(MEDIA, token=mark.access)).headers["X-Auth-Role"] == "brand-manager"


async def test_a_restart_names_undeclared_roles_and_the_folder(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy
) -> None:
    """A role of rejected files that a user holds: no earlier policy had it, so no gate looks for it."""
    settings = {"REDIS_URL": real_redis_url, **policy.settings}
    process = start(**settings)
    found_account(process)
    await two_people(process)
    renamed = cli({**process.settings, "REDIS_URL": "redis://127.0.0.1:1"}, "policy", "rename", "role", "marketer", "x")
    assert renamed.returncode == 0
    assert "activation waits" in renamed.stderr
    await until(serves(http(process), process, policy.generation_of({}), "rejected"))
    found = [line["diagnostic"] for line in lines(process) if "diagnostic" in line]
    assert any(one.startswith(f"{policy.folder}/roles.toml:1:1: role-in-use: ") for one in found)
    refused = cli(process.settings, "user", "set-role", MARK, "x", "--account", "Acme")
    assert (refused.returncode, "not in force" in refused.stderr) == (2, True)
    process.stop()
    # without a sidecar and its last good policy, the files decide
    (Path(process.settings["STATE_DIR"]) / "last-good-policy").unlink()
    done = cli(process.settings, "user", "set-role", MARK, "x")
    assert done.returncode == 0, done.stderr
    policy.restore()
    again = start(**settings)
    api = http(again)
    await until(lambda: warned(api, again), 10)
    (line,) = [one for one in lines(again) if one["message"].startswith("users hold a role")]
    assert '1 users hold or are invited to "x"' in line["warning"]
    again.stop()

    policy.write({"policy.csv": b"p, x\n"})
    (Path(process.settings["STATE_DIR"]) / "last-good-policy").unlink()
    forget_last_good(real_redis_url)
    broken = start(wait=False, **settings)
    assert broken.popen.wait(20) == 2
    assert f"{policy.folder}/policy.csv:1:1: field-count" in broken.output()


async def warned(api: Http, process: Process) -> bool:
    return any("which the policy does not declare" in one for one in (await status(api, process))["warnings"])
