"""Work beside the checks: the same tables as the compiler's, in a child that knows no secret and outlives nobody."""

import asyncio
import errno
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from sidecar.pdp import apart
from sidecar.pdp.apart import ChildFailed
from sidecar.pdp.letters import Current, Judgement, Limits, Task, generation_of, letter, opened
from sidecar.pdp.preview import Busy, Previews, preview
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation, pack
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.vocabulary.people import AccountId

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shipped() -> dict[str, bytes]:
    return dict(read_policy_files(*packaged()).files)


def suspicious() -> list[Path]:
    return sorted(path for path in (ROOT / "tests/policy/suspicious").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", suspicious(), ids=lambda case: case.name)
@pytest.mark.parametrize("beside", ["nothing", "the same names", "other names"])
def test_what_is_unpacked_is_what_was_compiled(case: Path, beside: str, shipped: dict[str, bytes]) -> None:
    files = {**shipped, **{path.name: path.read_bytes() for path in case.iterdir() if path.name in shipped}}
    compiled = compiled_from(files)
    before = {"the same names": compiled, "other names": compiled_from(shipped)}.get(beside)
    built = generation_of(pack(compiled), files, before)
    assert built.id == compiled.id
    assert dict(built.cells) == dict(compiled.cells)
    assert (built.rules, built.inheritance) == (compiled.rules, compiled.inheritance)
    assert (dict(built.roles), dict(built.sections)) == (dict(compiled.roles), dict(compiled.sections))
    assert (dict(built.closures), dict(built.allowed)) == (dict(compiled.closures), dict(compiled.allowed))
    assert built.routes.routes == compiled.routes.routes
    assert dict(built.files) == dict(compiled.files)


def compiled_from(files: Mapping[str, bytes]) -> Generation:
    generation = compile_policy(files, proof=ProofScope.NONE).generation
    assert generation is not None
    return generation


def test_a_table_of_other_declarations_is_not_unpacked(shipped: dict[str, bytes]) -> None:
    more = {**shipped, "roles.toml": shipped["roles.toml"] + b'[roles.auditor]\ntitle = "Auditor"\n'}
    with pytest.raises(ValueError, match="is none of 6 roles"):
        generation_of(pack(compiled_from(shipped)), more)
    with pytest.raises(ValueError, match="do not compile"):
        generation_of(pack(compiled_from(shipped)), {**shipped, "roles.toml": b"[roles"})


def test_the_interpreter_is_as_before_when_the_work_is_done() -> None:
    usual = sys.getswitchinterval()

    def fail() -> None:
        assert not gc.isenabled()
        raise KeyError

    with pytest.raises(KeyError):
        apart._gently(fail)
    assert (sys.getswitchinterval(), gc.isenabled()) == (usual, True)


# -- the child ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("current", [None, {}, {"a": b"1", "b": b""}])
def test_a_letter_holds_the_task(current: dict[str, bytes] | None, shipped: dict[str, bytes]) -> None:
    beside = None if current is None else Current(current, pack(compiled_from(shipped)))
    task = Task(shipped, (), beside, {"marketer": [{"id": "usr_y"}]}, Limits(spare=True))
    assert opened(b"".join(letter(task))) == task


async def test_the_child_answers_what_the_compiler_says(shipped: dict[str, bytes]) -> None:
    files = {**shipped, "policy.csv": shipped["policy.csv"] + b"p, marketer, billing, view, allow\n"}
    answer = await apart.run(Task(files))
    judgement = msgspec.msgpack.decode(answer, type=Judgement)
    assert judgement.packed is None
    assert tuple(one.diagnostic() for one in judgement.findings) == compile_policy(files).diagnostics


async def test_the_child_hands_over_the_table_that_it_proved(shipped: dict[str, bytes]) -> None:
    judgement = msgspec.msgpack.decode(await apart.run(Task(shipped)), type=Judgement)
    assert judgement == Judgement((), pack(compiled_from(shipped)))


def test_R27_the_child_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_REDIS_URL", "redis://:secret@store")
    monkeypatch.setenv("ANY_TOKEN", "secret")
    environment = apart._environment()
    assert "secret" not in json.dumps(environment)
    assert not [name for name in environment if name.startswith("SIDECAR_")]


def test_R27_a_preview_never_runs_the_proof(shipped: dict[str, bytes], tmp_path: Path) -> None:
    """Neither pycasbin nor the store is even loaded in the child."""
    task = tmp_path / "task"
    task.write_bytes(b"".join(letter(Task(shipped, current=Current.of(compiled_from(shipped))))))
    program = (
        "import sys, sidecar.pdp.apart_child as child; child.main();"
        "sys.exit(len({'casbin', 'redis', 'aiohttp'} & set(sys.modules)))"
    )
    with task.open("rb") as given:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=given, capture_output=True, timeout=30, check=False, cwd=ROOT
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["valid"] is True


@pytest.mark.parametrize(("limits", "nice"), [(Limits(spare=True), 19), (Limits(nice=7), 7)])
def test_a_child_stands_back_as_far_as_its_system_lets_it(
    limits: Limits, nice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox may know one scheduler only (gVisor), or forbid to choose: no reason to refuse a policy."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        apart._stand_back(child.pid, limits)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == nice
    apart._stand_back(child.pid, limits)  # over: nothing to be done


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a scheduler for what nobody waits for")
def test_a_child_has_at_first_what_nobody_else_wants() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        apart._stand_back(child.pid, Limits(spare=True))
        assert os.sched_getscheduler(child.pid) in (os.SCHED_IDLE, os.SCHED_OTHER)
        assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE or os.getpriority(os.PRIO_PROCESS, child.pid) == 19


async def test_R27_a_child_that_is_not_waited_for_is_ended(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    program = f"import os, time; open({str(noted)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(60)"
    monkeypatch.setattr(apart, "PROGRAM", ("-c", program))
    waiting = asyncio.create_task(apart.run(Task(shipped)))
    await _eventually(lambda: noted.exists() and noted.read_text().endswith("."))
    pid = int(noted.read_text()[:-1])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await _eventually(lambda: not _lives(pid))


async def test_a_child_that_is_given_up_before_it_began_is_ended_too(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = apart._Child()
    child.end()
    monkeypatch.setattr(apart, "PROGRAM", ("-c", "import time; time.sleep(60)"))
    assert await asyncio.to_thread(child.answer, Task(shipped)) == (b"", -9)


async def test_a_child_that_dies_is_an_outcome(shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PROGRAM", ("-c", "raise SystemExit(3)"))
    with pytest.raises(ChildFailed, match="died"):
        await apart.run(Task(shipped))


async def test_a_child_that_cannot_be_started_is_an_outcome(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ChildFailed, match="could not be started"):
        await apart.run(Task(shipped))


async def test_R27_time_is_limited(shipped: dict[str, bytes]) -> None:
    with pytest.raises(ChildFailed, match=r"0\.01 seconds"):
        await apart.run(Task(shipped, current=Current.of(compiled_from(shipped)), limits=Limits(seconds=0.01)))


async def _eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    """Reaped as well: a dead child that nobody waits for still has its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- what it says ------------------------------------------------------------------------------------------------------


def test_people_are_named_at_the_cells_of_their_role(shipped: dict[str, bytes]) -> None:
    files = {**shipped, "policy.csv": shipped["policy.csv"] + b"p, marketer, billing, view, allow\n"}
    max_ = {"id": "usr_x", "email": "max@example.com"}
    told = json.loads(preview(compiled_from(shipped), files, {"marketer": [max_], "developer": [{"id": "usr_y"}]}))
    assert told["valid"] is True
    assert [change["users"] for change in told["changes"]] == [[max_]]
    assert told["expectations"]["failed"][0]["got"] == "allow"


def test_changes_are_shown_although_the_tests_fail_and_not_when_nothing_is_meant(shipped: dict[str, bytes]) -> None:
    current = compiled_from(shipped)
    told = json.loads(preview(current, {**shipped, "policy.csv": b"p, nobody, billing, view, allow\n"}, {}))
    assert (told["valid"], told["changes"], told["routes"]) == (False, [], [])
    without = {name: content for name, content in shipped.items() if name != "expectations.csv"}
    told = json.loads(preview(current, without, {}))
    assert told["valid"] is False
    assert [found["code"] for found in told["diagnostics"]] == ["missing-file"]


async def test_a_machine_without_a_process_to_spare_is_busy(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {}) == Busy()
