"""Compilation off the event loop: the same tables as the compiler's, in a child without secrets that ends with its
parent.
"""

import asyncio
import errno
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.pdp.compile import process
from sidecar.pdp.compile.process import CompileProcessError, Failure
from sidecar.pdp.compile.protocol import (
    CompileResponse,
    CompileTask,
    CurrentPolicy,
    ExitStatus,
    ResourceLimits,
    decode_task,
    encode_task,
    generation_of,
)
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation, content_hash, pack
from sidecar.sources.policy_files import packaged, read_policy_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LARGE", 0)


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
    packed = pack(compiled_from(shipped))
    with pytest.raises(ValueError, match="is none of 6 roles"):
        generation_of(replace(packed, id=content_hash(more)), more)
    with pytest.raises(ValueError, match="do not compile"):
        generation_of(packed, {**shipped, "roles.toml": b"[roles"})


def test_R25_a_table_of_other_bytes_is_not_unpacked(shipped: dict[str, bytes]) -> None:
    compiled = compiled_from(shipped)
    edited = {**shipped, "policy.csv": shipped["policy.csv"] + b"# edited\n"}
    with pytest.raises(ValueError, match="is none of these files"):
        generation_of(pack(compiled), edited, like=compiled)


@pytest.mark.usefixtures("all_large")
async def test_a_table_beside_an_error_is_none(shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    said = CompileResponse((process.not_compiled("no"),), pack(compiled_from(shipped)))

    async def lies(_: CompileTask) -> bytes:
        return msgspec.msgpack.encode(said)

    monkeypatch.setattr(process, "run", lies)
    judged = await process.compile_files(read_policy_files(*packaged()))
    assert (judged.generation, judged.diagnostics) == (None, (process.not_compiled("no"),))


def test_the_interpreter_is_as_before_when_the_work_is_done() -> None:
    usual = sys.getswitchinterval()

    def fail() -> None:
        assert not gc.isenabled()
        raise KeyError

    with pytest.raises(KeyError):
        process._low_priority(fail)
    assert (sys.getswitchinterval(), gc.isenabled()) == (usual, True)


# -- the child ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("current", [None, {}, {"a": b"1", "b": b""}])
def test_a_letter_holds_the_task(current: dict[str, bytes] | None, shipped: dict[str, bytes]) -> None:
    beside = None if current is None else CurrentPolicy(current, pack(compiled_from(shipped)))
    task = CompileTask(shipped, (), beside, {"marketer": [{"id": "usr_y"}]}, ResourceLimits(spare=True))
    assert decode_task(b"".join(encode_task(task))) == task


async def test_the_child_answers_what_the_compiler_says(shipped: dict[str, bytes]) -> None:
    files = {**shipped, "policy.csv": shipped["policy.csv"] + b"p, marketer, billing, view, allow\n"}
    answer = await process.run(CompileTask(files))
    judgement = msgspec.msgpack.decode(answer, type=CompileResponse)
    assert judgement.packed is None
    assert judgement.findings == compile_policy(files).diagnostics


async def test_the_child_hands_over_the_table_that_it_proved(shipped: dict[str, bytes]) -> None:
    judgement = msgspec.msgpack.decode(await process.run(CompileTask(shipped)), type=CompileResponse)
    assert judgement == CompileResponse((), pack(compiled_from(shipped)))


def test_R27_the_child_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_REDIS_URL", "redis://:secret@store")
    monkeypatch.setenv("ANY_TOKEN", "secret")
    environment = process._environment()
    assert "secret" not in json.dumps(environment)
    assert not [name for name in environment if name.startswith("SIDECAR_")]


@pytest.mark.parametrize(
    ("limits", "ours", "nice"),
    [
        (ResourceLimits(spare=True), 0, 19),
        (ResourceLimits(nice=7), 0, 7),
        (ResourceLimits(nice=7), 5, 12),
        (ResourceLimits(nice=7), 15, 19),
    ],
)
def test_a_child_stands_back_as_far_as_its_system_lets_it(
    limits: ResourceLimits, ours: int, nice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox may have one scheduler only (gVisor), or forbid the choice: no reason to reject a policy."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    asked = os.getpriority
    monkeypatch.setattr(os, "getpriority", lambda which, pid: asked(which, pid) if pid else ours)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process._lower_priority(child.pid, limits)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == nice
    process._lower_priority(child.pid, limits)  # done already: no compilation is left


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a scheduler for what nobody waits for")
def test_a_child_has_at_first_what_nobody_else_wants() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process._lower_priority(child.pid, ResourceLimits(spare=True))
        assert os.sched_getscheduler(child.pid) in (os.SCHED_IDLE, os.SCHED_OTHER)
        assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE or os.getpriority(os.PRIO_PROCESS, child.pid) == 19


async def test_R27_a_child_that_is_not_waited_for_is_ended(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    program = f"import os, time; open({str(noted)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(60)"
    monkeypatch.setattr(process, "PROGRAM", ("-c", program))
    waiting = asyncio.create_task(process.run(CompileTask(shipped)))
    await _eventually(lambda: noted.exists() and noted.read_text().endswith("."))
    pid = int(noted.read_text()[:-1])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await _eventually(lambda: not _lives(pid))


async def test_a_child_that_is_given_up_before_it_began_is_ended_too(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = process._Child()
    child.end()
    monkeypatch.setattr(process, "PROGRAM", ("-c", "import time; time.sleep(60)"))
    assert await asyncio.to_thread(child.answer, CompileTask(shipped)) == (-9, b"", b"")


@pytest.mark.parametrize(
    ("program", "says", "failure"),
    [
        ("raise SystemExit(3)", "exit status 3", Failure.FAULT),
        ("import signal; signal.raise_signal(signal.SIGXCPU)", "time or memory", Failure.OUT_OF_LIMITS),
        ("import signal; signal.raise_signal(signal.SIGKILL)", "time or memory", Failure.OUT_OF_LIMITS),
        (f"raise SystemExit({ExitStatus.OUT_OF_MEMORY})", "time or memory", Failure.OUT_OF_LIMITS),
        (f"raise SystemExit({ExitStatus.ANOTHER_PROGRAM})", "restart the sidecar", Failure.FAULT),
    ],
)
async def test_a_child_that_dies_says_whose_fault_it_is(
    program: str, says: str, failure: Failure, shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PROGRAM", ("-c", program))
    with pytest.raises(CompileProcessError, match=says) as failed:
        await process.run(CompileTask(shipped))
    assert failed.value.failure is failure


async def test_a_child_that_dies_while_it_is_written_to_says_so_too(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the buffer is dropped when the pipe is closed."""

    def slowly(_: CompileTask) -> Iterator[bytes]:
        yield b"x" * 1000
        time.sleep(0.5)  # it has exited by now
        yield b"x" * 8000

    monkeypatch.setattr(process, "PROGRAM", ("-c", "raise SystemExit(3)"))
    monkeypatch.setattr(process, "encode_task", slowly)
    with pytest.raises(CompileProcessError, match="exit status 3"):
        await process.run(CompileTask(shipped))


async def test_the_last_words_of_a_child_are_in_the_log(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(process, "_log", SimpleNamespace(error=lambda event, **more: logged.append((event, more))))
    monkeypatch.setattr(process, "PROGRAM", ("-c", "import sys; print('once'); raise KeyError('a' * 1000)"))
    with pytest.raises(CompileProcessError):
        await process.run(CompileTask(shipped))
    [(event, more)] = logged
    assert event == "compile process failed"
    assert (more["status"], str(more["stderr"])[:12], len(str(more["stderr"]))) == (1, "KeyError: 'a", 300)


async def test_a_child_of_another_version_is_not_believed(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package was upgraded on disk under a running sidecar."""
    monkeypatch.setattr(process, "PROGRAM_VERSION", "0.0.0 sidecar-policy/0")
    with pytest.raises(CompileProcessError, match="restart the sidecar"):
        await process.run(CompileTask(shipped))


async def test_no_code_of_the_working_folder_runs_in_the_child(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "resource.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "msgspec.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    assert await process.run(CompileTask(shipped))


async def test_R27_memory_is_limited(shipped: dict[str, bytes]) -> None:
    limits = ResourceLimits(memory_bytes=64 * 1024**2)
    large = {**shipped, "policy.csv": shipped["policy.csv"] + b"#" * 40 * 1024**2}
    with pytest.raises(CompileProcessError, match="time or memory") as failed:
        await process.run(CompileTask(large, current=CurrentPolicy.of(compiled_from(shipped)), limits=limits))
    assert failed.value.failure is Failure.OUT_OF_LIMITS


async def test_a_child_that_cannot_be_started_is_an_outcome(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(CompileProcessError, match="could not be started"):
        await process.run(CompileTask(shipped))


async def test_R27_time_is_limited(shipped: dict[str, bytes]) -> None:
    with pytest.raises(CompileProcessError, match=r"0\.01 seconds"):
        await process.run(
            CompileTask(shipped, current=CurrentPolicy.of(compiled_from(shipped)), limits=ResourceLimits(seconds=0.01))
        )


async def _eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    """Return False only after the child was reaped: a zombie still has its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
