"""Edits of a serving sidecar's policy: activated or rejected in time, however they were made, without a
failed check.
"""

import asyncio
import json
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import redis

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.store import keys
from tests.live.conftest import Start
from tests.live.policy_support import (
    CONNECTIONS,
    FULL,
    GRANT,
    Load,
    Policy,
    forget_last_good,
    launch,
    load,
    metric,
    serves,
    status,
    until,
)
from tests.live.support import ROOT, Http, Person, Process, cli, eventually, found_account

pytestmark = pytest.mark.slow

BILLING, MEDIA = "/dashboard/billing", "/dashboard/media-library"
MARK = "mark@example.com"


class ReloadFixture:
    """One sidecar on its own policy, an administrator and a marketer."""

    def __init__(self, process: Process, api: Http, policy: Policy, ada: Person, mark: Person) -> None:
        self.process, self.api, self.policy = process, api, policy
        self.ada, self.mark = ada, mark
        self.shipped = policy.generation_of({})

    async def until_serves(self, generation: str, state: str = "current", seconds: float = 2.0) -> float:
        return await until(serves(self.api, self.process, generation, state), seconds)

    async def until_refused(self) -> dict:
        await self.until_serves(self.shipped, "rejected")
        return await status(self.api, self.process)

    def load(self, path: str = MEDIA):
        return load(self.process, self.mark.access, path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Policy, Person, Person]]:
    """One sidecar for the tests that leave it serving, on an embedded store."""
    folder = tmp_path_factory.mktemp("policy")
    policy = Policy(folder / "edited")
    process = launch(folder, **policy.settings)
    try:
        found_account(process.wait_ready())
        yield process, policy, *asyncio.run(two_people(process))
    finally:
        process.stop()


async def two_people(process: Process) -> tuple[Person, Person]:
    async with aiohttp.ClientSession() as session:
        api = Http(session, process.url)
        ada = await api.sign_in("ada@example.com")
        return ada, await api.join(ada, MARK, "marketer")


@pytest.fixture
async def town(
    shared: tuple[Process, Policy, Person, Person], http: Callable[[Process], Http]
) -> AsyncIterator[ReloadFixture]:
    """The shared sidecar, serving the shipped policy."""
    process, policy, ada, mark = shared
    town = ReloadFixture(process, http(process), policy, ada, mark)
    await town.until_serves(town.shipped)
    yield town
    policy.restore()
    await town.until_serves(town.shipped)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(tmp_path / "edited")


@pytest.fixture
async def own(start: Start, real_redis_url: str, http: Callable[[Process], Http], policy: Policy) -> ReloadFixture:
    """A sidecar that the test may stop."""
    process = start(REDIS_URL=real_redis_url, **policy.settings)
    found_account(process)
    ada, mark = await two_people(process)
    return ReloadFixture(process, http(process), policy, ada, mark)


def unnoticed(answers: Load, *generations: str) -> None:
    """Assert that only these generations responded, all with 200, in this order."""
    assert answers.statuses == {200}
    assert answers.generations <= set(generations)
    assert len(answers.seen) > 50
    for connection in range(CONNECTIONS):
        order = [generations.index(answer.generation) for answer in answers.seen if answer.connection == connection]
        assert order == sorted(order)


async def test_an_edit_under_load_is_in_force_within_two_seconds(town: ReloadFixture) -> None:
    denied = await town.api.check(BILLING, token=town.mark.access)
    assert (denied.status, denied.body["reason"]) == (403, "no_rule")
    edit = town.policy.granting()
    wanted = town.policy.generation_of(edit)
    async with town.load() as answers:
        town.policy.write(edit)
        took = await town.until_serves(wanted)
        await asyncio.sleep(0.1)
    assert took < 2
    unnoticed(answers, town.shipped, wanted)
    assert (await town.api.check(BILLING, token=town.mark.access)).status == 200


async def test_a_bad_edit_keeps_the_last_good_one_loudly(town: ReloadFixture) -> None:
    async with town.load() as answers:
        town.policy.write({"policy.csv": town.policy.shipped["policy.csv"] + b"p, marketeer, billing, view, allow\n"})
        told = await town.until_refused()
        assert await metric(town.api, town.process, "sidecar_policy_rejected") == 1
        await asyncio.sleep(0.1)
    unnoticed(answers, town.shipped)
    [found] = told["diagnostics"]
    assert (found["severity"], found["code"], found["file"]) == ("error", "unknown-role", "policy/policy.csv")
    assert found["hint"] == 'did you mean "marketer"?'
    shown = await town.api.ask("GET", "/v1/policy", token=town.ada.access)
    assert (shown.body["state"], shown.body["generation"]) == ("rejected", town.shipped)
    assert "marketeer" not in json.dumps(shown.body), "R27: rejected text is for operators"
    assert "unknown-role" in town.process.output(), "the log names the finding"
    assert town.process.http_status("/readyz") == 200

    town.policy.restore()
    await town.until_serves(town.shipped)
    assert await metric(town.api, town.process, "sidecar_policy_rejected") == 0
    assert (await status(town.api, town.process))["diagnostics"] == []


async def test_a_failed_expectation_rejects_the_edit_with_both_values(town: ReloadFixture) -> None:
    town.policy.write({"policy.csv": town.policy.shipped["policy.csv"] + GRANT.encode()})
    told = await town.until_refused()
    [found] = [one for one in told["diagnostics"] if one["code"] == "failed-expectation"]
    assert "expected deny, got allow" in found["message"]
    assert (await town.api.check(BILLING, token=town.mark.access)).status == 403


async def test_a_renaming_editor_is_followed(town: ReloadFixture) -> None:
    async with town.load() as answers:
        for number in range(3):
            edit = town.policy.commented(f"rename {number}")
            town.policy.rename(edit)
            await town.until_serves(town.policy.generation_of(edit))
    assert answers.statuses == {200}


async def test_a_config_map_is_followed(
    start: Start, http: Callable[[Process], Http], policy: Policy, tmp_path: Path
) -> None:
    """Kubernetes: each file is a link into ..data, ..data is a link to a folder, and an update renames ..data."""
    volume = tmp_path / "volume"
    volume.mkdir()

    def deliver(number: int, files: dict[str, bytes]) -> str:
        folder = volume / f"..2026_{number}"
        folder.mkdir()
        for name, content in {**policy.shipped, **files}.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o644)
        (volume / "..data_tmp").symlink_to(folder.name)
        (volume / "..data_tmp").replace(volume / "..data")
        return policy.generation_of(files)

    first = deliver(1, {})
    for name in policy.shipped:
        (volume / name).symlink_to(f"..data/{name}")
    process = start(POLICY_DIR=str(volume), MODEL=str(volume / "model.conf"))
    api = http(process)
    await until(serves(api, process, first))
    for number in (2, 3):
        wanted = deliver(number, policy.granting(f"delivery {number}"))
        await until(serves(api, process, wanted))


async def test_R25_a_start_never_replaces_a_missing_policy(
    start: Start, http: Callable[[Process], Http], tmp_path: Path, policy: Policy
) -> None:
    """A volume that was not mounted in time: first a dangling link, then no file at all."""
    place = tmp_path / "place"
    (place / "..data").mkdir(parents=True)
    (place / "policy").symlink_to("..data")
    edit = {**policy.shipped, **policy.granting("not as shipped")}
    for name, content in edit.items():
        (place / ("" if name == "model.conf" else "policy") / name).write_bytes(content)
    shutil.move(place / "..data", tmp_path / "away")
    unmounted = start(own=True, folder=place, wait=False)
    assert unmounted.popen.wait(20) == 2, "no last known good policy is kept"
    assert "policy/policy.csv:1:1: missing-file" in unmounted.output()

    shutil.move(tmp_path / "away", place / "..data")
    process = start(own=True, folder=place)
    await until(serves(http(process), process, policy.generation_of(edit)))
    process.stop()
    shutil.move(place / "..data", tmp_path / "away")
    process = start(own=True, folder=place)
    await until(serves(http(process), process, policy.generation_of(edit), "rejected"))
    process.stop()

    (place / "policy").unlink()
    (place / "model.conf").unlink()
    process = start(own=True, folder=place)
    told = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
    assert [line["message"] for line in told if "packaged policy" in line["message"]] == [
        f"no ./policy: using the packaged policy, {ROOT / 'policy'}"
    ]
    [alarm] = [line for line in told if "another policy was in force" in line["message"]]
    assert (alarm["level"], alarm["served"]) == ("error", str(ROOT / "policy"))
    assert alarm["kept"] == str(tmp_path / "state" / "last-good-policy")


async def test_a_half_written_file_is_never_in_force(town: ReloadFixture) -> None:
    edit = town.policy.granting("in two halves")
    content = edit["policy.csv"]
    async with town.load() as answers:
        town.policy.write({"expectations.csv": edit["expectations.csv"]})
        with town.policy.path("policy.csv").open("wb") as file:
            file.write(content[:700])
            file.flush()
            await asyncio.sleep(0.6)
            file.write(content[700:])
        await town.until_serves(town.policy.generation_of(edit))
    unnoticed(answers, town.shipped, town.policy.generation_of(edit))


@pytest.mark.parametrize("name", ["policy.csv", "roles.toml", "model.conf", "routes.csv"])
async def test_a_file_that_vanishes_and_comes_back(town: ReloadFixture, name: str) -> None:
    async with town.load() as answers:
        town.policy.path(name).unlink()
        told = await town.until_refused()
        assert [found["code"] for found in told["diagnostics"]] == ["missing-file"]
        town.policy.write({name: town.policy.shipped[name]})
        town.policy.path(name).chmod(0o644)
        await town.until_serves(town.shipped)
    unnoticed(answers, town.shipped)


async def test_the_model_is_watched_too(town: ReloadFixture) -> None:
    model = town.policy.shipped["model.conf"]
    town.policy.write({"model.conf": model.replace(b"g(r.sub, p.sub)", b"r.sub == p.sub")})
    told = await town.until_refused()
    assert {found["file"] for found in told["diagnostics"]} == {"model.conf"}
    edit = {"model.conf": model + b"# a comment is free\n"}
    town.policy.write(edit)
    await town.until_serves(town.policy.generation_of(edit))


async def test_other_files_and_dotfiles_are_not_looked_at(town: ReloadFixture) -> None:
    for name in ("notes.txt", ".policy.csv.swp", "policy.csv~", "#policy.csv#", "policy.csv.bak"):
        (town.policy.folder / name).write_text("p, nobody, nothing, ever, allow\n")
    (town.policy.folder / "policy.d").mkdir()
    loaded_at = (await status(town.api, town.process))["loaded_at"]
    await asyncio.sleep(1)
    told = await status(town.api, town.process)
    assert (told["generation"], told["state"], told["loaded_at"]) == (town.shipped, "current", loaded_at)


async def test_sighup_reads_at_once(town: ReloadFixture) -> None:
    for number in range(3):
        edit = town.policy.commented(f"hup {number}")
        town.policy.rename(edit)
        town.process.popen.send_signal(signal.SIGHUP)
        took = await town.until_serves(town.policy.generation_of(edit), seconds=1)
        assert took < 1


# -- starts ------------------------------------------------------------------------------------------------------------


async def test_R25_a_restart_with_a_bad_file_serves_the_last_good_one(
    own: ReloadFixture, start: Start, http: Callable[[Process], Http]
) -> None:
    edit = own.policy.granting()
    good = own.policy.generation_of(edit)
    own.policy.write(edit)
    await own.until_serves(good)
    assert own.process.stop() == 0
    own.policy.write({"policy.csv": b"p, marketeer, billing, view, allow\n"})

    again = start(**{name: value for name, value in own.process.settings.items() if "LISTEN" not in name})
    api = http(again)
    told = await status(api, again)
    assert (told["generation"], told["state"]) == (good, "rejected")
    assert "unknown-role" in [found["code"] for found in told["diagnostics"]]
    assert await metric(api, again, "sidecar_policy_rejected") == 1
    assert (await api.check(BILLING, token=own.mark.access)).status == 200, "the active policy is unchanged"

    own.policy.write(own.policy.shipped)
    await until(serves(api, again, own.shipped))
    assert (await api.check(BILLING, token=own.mark.access)).status == 403


# -- activation checks with the store ----------------------------------------------------------------------------------


def without_marketers(policy: Policy) -> dict[str, bytes]:
    """A valid policy without the role."""
    roles = policy.shipped["roles.toml"].decode()
    begin = roles.index("[roles.marketer]")
    end = roles.index("[roles.", begin + 1)
    edit = {"roles.toml": (roles[:begin] + roles[end:]).encode()}
    for name in ("policy.csv", "expectations.csv"):
        lines = policy.shipped[name].decode().splitlines(keepends=True)
        edit[name] = "".join(line for line in lines if "marketer" not in line or line.startswith("#")).encode()
    compiled = compile_policy({**policy.shipped, **edit}, proof=ProofScope.NONE)
    assert compiled.generation is not None, compiled.diagnostics
    return edit


async def test_R26_a_role_that_somebody_holds_does_not_disappear(
    own: ReloadFixture, start: Start, http: Callable[[Process], Http]
) -> None:
    edit = without_marketers(own.policy)
    wanted = own.policy.generation_of(edit)
    async with own.load() as answers:
        own.policy.write(edit)
        told = await own.until_refused()
    unnoticed(answers, own.shipped)
    [found] = told["diagnostics"]
    assert (found["code"], found["file"]) == ("role-in-use", "policy/roles.toml")

    restart = {name: value for name, value in own.process.settings.items() if "LISTEN" not in name}
    assert own.process.stop() == 0
    again = start(**restart)
    api = http(again)
    await until(serves(api, again, own.shipped, "rejected"))
    assert (await api.check(MEDIA, token=own.mark.access)).status == 200

    removed = await api.ask("DELETE", f"/v1/users/{own.mark.id}", token=own.ada.access)
    assert removed.status == 204
    again.popen.send_signal(signal.SIGHUP)
    await until(serves(api, again, wanted))


async def test_R26_a_start_that_drops_a_role_in_use_fails(own: ReloadFixture, start: Start, tmp_path: Path) -> None:
    assert own.process.stop() == 0
    own.policy.write(without_marketers(own.policy))
    settings = {name: value for name, value in own.process.settings.items() if "LISTEN" not in name}
    forget_last_good(settings["REDIS_URL"])
    process = start(wait=False, **{**settings, "STATE_DIR": str(tmp_path / "other-state")})
    assert process.popen.wait(20) == 2
    assert "role-in-use" in process.output()
    assert "Traceback" not in process.output()


# -- the fleet ---------------------------------------------------------------------------------------------------------


async def test_R25_the_fleet_reports_generations_and_a_rollback_alarms(
    start: Start, real_redis_url: str, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    policies = [Policy(tmp_path / "one"), Policy(tmp_path / "two")]
    one, two = (
        start(REDIS_URL=real_redis_url, STATE_DIR=str(tmp_path / f"state-{n}"), **policy.settings)
        for n, policy in enumerate(policies)
    )
    api = http(one)
    shipped = policies[0].generation_of({})

    def ask(*words: str) -> int:
        return cli({"OPS_LISTEN": one.settings["OPS_LISTEN"]}, "policy", "status", *words).returncode

    await eventually(lambda: ask() == 0)
    edit = policies[0].commented("first here")
    policies[0].write(edit)
    await until(serves(api, one, policies[0].generation_of(edit)))
    assert ask() == 1, "they do not agree"
    told = await status(api, two)
    assert {member["generation"] for member in told["fleet"]} == {shipped, policies[0].generation_of(edit)}

    waiting = asyncio.create_task(asyncio.to_thread(ask, "--wait", "--timeout", "10"))
    await asyncio.sleep(0.7)
    assert not waiting.done()
    policies[1].write(edit)
    assert await waiting == 0
    assert ask("--generation", policies[0].generation_of(edit)) == 0

    policies[0].restore()
    await until(serves(api, one, shipped))

    async def alarmed() -> bool:
        return await metric(api, one, "sidecar_policy_reverted_total") == 1

    await until(alarmed)
    assert "policy rollback: an earlier generation is active" in one.output()
    policies[1].write({"policy.csv": b""})
    await until(serves(api, two, policies[0].generation_of(edit), "rejected"))
    assert ask() == 1
    assert await metric(api, two, "sidecar_policy_reverted_total") == 0


# -- the corpus --------------------------------------------------------------------------------------------------------


def cases() -> list[Path]:
    """Return all broken policies in the long form, a seeded handful in the short one."""
    everything = sorted(path for path in (ROOT / "tests/policy/bad").iterdir() if path.is_dir())
    return everything if FULL else random.Random(4).sample(everything, 25)


async def test_no_broken_policy_changes_one_answer(town: ReloadFixture) -> None:
    """Each as a live edit under load: rejected with exactly its findings, while the last known good policy serves."""
    async with town.load() as answers:
        for case in cases():
            files = dict(town.policy.shipped)
            for path in case.iterdir():
                if path.name in files:
                    files[path.name] = path.read_bytes()
            absent = (case / "absent.txt").read_text().split() if (case / "absent.txt").exists() else []
            for name in files.keys() - set(absent):
                town.policy.path(name).write_bytes(files[name])
            for name in absent:
                town.policy.path(name).unlink()
            town.process.popen.send_signal(signal.SIGHUP)
            expected = (case / "expected.txt").read_text(encoding="utf-8").splitlines()

            async def told(expected: list[str] = expected) -> bool:
                found = (await status(town.api, town.process))["diagnostics"]
                return [line_of(one) for one in found] == expected

            await until(told, seconds=5)
    unnoticed(answers, town.shipped)


def line_of(found: dict) -> str:
    warning = "warning: " if found["severity"] == "warning" else ""
    hint = f" ({found['hint']})" if found["hint"] else ""
    where = f"{found['file']}:{found['line']}:{found['column']}"
    return f"{where}: {found['code']}: {warning}{found['message']}{hint}"


async def test_R26_a_forced_start_serves_a_rejected_policy_audited(
    own: ReloadFixture, http: Callable[[Process], Http], tmp_path: Path
) -> None:
    own.policy.write({"policy.csv": own.policy.shipped["policy.csv"] + GRANT.encode()})
    assert own.process.stop() == 0
    settings = {name: value for name, value in own.process.settings.items() if "LISTEN" not in name}
    forget_last_good(settings["REDIS_URL"])
    refused = cli({**settings, "STATE_DIR": str(tmp_path / "other-state")}, "serve")
    assert refused.returncode == 2
    assert "failed-expectation" in refused.stderr

    forced = launch(tmp_path, words=("--force-policy",), **settings)
    try:
        forced.wait_ready()
        api = http(forced)
        generation = own.policy.generation_of({"policy.csv": own.policy.path("policy.csv").read_bytes()})
        await until(serves(api, forced, generation))
        assert (await api.check(BILLING, token=own.mark.access)).status == 200
        assert "policy forced" in forced.output()
        with redis.Redis(unix_socket_path=settings["REDIS_URL"].removeprefix("unix://")) as store:
            rows = [fields[b"action"] for _, fields in store.xrange(keys.system_log())]
        assert rows[-1] == b"policy.forced"

        own.policy.write({"policy.csv": own.policy.shipped["policy.csv"] + GRANT.encode() + b"# again\n"})
        await until(serves(api, forced, generation, "rejected"))
    finally:
        forced.stop()


def test_R26_workers_are_not_forced(tmp_path: Path) -> None:
    done = cli({"STATE_DIR": str(tmp_path), "WORKERS": "2"}, "serve", "--force-policy")
    assert done.returncode == 2
    assert "--workers 1" in done.stderr
