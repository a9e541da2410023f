"""Activation: accepted and rejected policies, last known good copies, and no swap of files that were not compiled."""

import asyncio
import dataclasses
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from sidecar.pdp.activation import Activation, ActivationState
from sidecar.pdp.compile import process
from sidecar.pdp.compile.protocol import CompileTask
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, Severity
from sidecar.policy.generation import Generation, content_hash
from sidecar.sources import last_known_good
from sidecar.sources.policy_files import PolicyFiles, read_policy_files, stamp_of
from sidecar.store.connection import StoreUnavailableError

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = Diagnostic(Severity.ERROR, DiagnosticCode.ROLE_IN_USE, "policy/roles.toml", 1, 1, "held", "")


class Files:
    """The shipped policy in its own folder, and edits of it."""

    def __init__(self, folder: Path) -> None:
        self.policy, self.model, self.state = folder / "policy", folder / "model.conf", folder / "state"
        shutil.copytree(ROOT / "policy", self.policy)
        shutil.copy(ROOT / "model.conf", self.model)
        for path in (*self.policy.iterdir(), self.model):
            path.chmod(0o644)
        self.good = (self.policy / "policy.csv").read_bytes()

    def write(self, content: bytes, name: str = "policy.csv") -> None:
        (self.policy / name).write_bytes(content)

    def comment(self, words: str) -> str:
        """Make a harmless edit; return the id of its generation."""
        self.write(self.good + f"# {words}\n".encode())
        return content_hash(read_policy_files(self.policy, self.model).files)

    def break_(self) -> None:
        self.write(self.good + b"p, marketeer, billing, view, allow\n")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


Make = Callable[[], Activation]


@pytest.fixture
def make(files: Files, clock) -> Make:
    return lambda: Activation(files.policy, files.model, state_dir=files.state, clock=clock.time)


@pytest.fixture
async def serving(make: Make) -> Activation:
    """An activation that started on the shipped files and is confirmed."""
    activation = make()
    await activation.start()
    assert await activation.confirm()
    return activation


def refusing(*ids: str) -> Callable[[Generation], object]:
    async def gate(generation: Generation) -> tuple[Diagnostic, ...]:
        return (REFUSAL,) if generation.id in ids else ()

    return gate


# -- the start ---------------------------------------------------------------------------------------------------------


async def test_good_files_are_in_force(make: Make, clock) -> None:
    activation = make()
    started = await activation.start()
    assert started.generation is activation.generation is not None
    assert (activation.state, activation.loaded_at) == (ActivationState.CURRENT, clock.time())


async def test_bad_files_without_a_kept_copy_are_nothing_to_serve(make: Make, files: Files) -> None:
    files.break_()
    started = await make().start()
    assert started.generation is None
    assert [found.code for found in started.diagnostics if found.is_error] == ["unknown-role"]


async def test_R25_bad_files_fall_back_on_the_kept_copy_compiled_again(
    serving: Activation, make: Make, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def spy(given, **more):
        compiled.append(given)
        return compile_policy(given, **more)

    files.break_()
    monkeypatch.setattr("sidecar.pdp.last_good.compile_policy", spy)
    again = make()
    started = await again.start()
    assert serving.generation is not None
    assert started.generation is not None
    assert started.generation.id == serving.generation.id
    assert again.state is ActivationState.REJECTED
    assert "unknown-role" in [found.code for found in again.diagnostics]
    assert compiled[-1] == dict(serving.generation.files), "the copy is compiled like any other policy"


async def test_R25_the_kept_copy_is_private_and_a_spoilt_one_is_none(
    serving: Activation, make: Make, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    monkeypatch.setattr("sidecar.pdp.last_good._log", SimpleNamespace(error=lambda event, **_: errors.append(event)))
    kept = files.state / last_known_good.NAME
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    files.break_()
    for spoil in (b"", b"not json\n", b'[["policy.csv", 5]]\nabc', b'{"a": 1}\n', kept.read_bytes()[:-40]):
        kept.write_bytes(spoil)
        assert (await make().start()).generation is None
        assert errors.pop().startswith("the stored last good policy ")
    kept.chmod(0o640)
    assert (await make().start()).generation is None
    assert errors.pop() == "the stored last good policy is unusable"
    kept.unlink()
    assert not errors
    assert (await make().start()).generation is None


async def test_nothing_is_kept_before_the_gates_have_spoken(make: Make, files: Files) -> None:
    activation = make()
    await activation.start()
    assert not (files.state / last_known_good.NAME).exists()
    files.comment("an edit that comes before the store does")
    before = activation.generation
    await activation.reload()
    assert activation.generation is before, "edits are compiled once the activation checks can run"
    assert await activation.confirm()
    assert (files.state / last_known_good.NAME).exists()


async def test_R26_a_start_that_the_gates_refuse_serves_the_last_good(
    serving: Activation, make: Make, files: Files
) -> None:
    refused = files.comment("drops a role")
    again = make()
    again.add_gate(refusing(refused))
    await again.start()
    assert again.generation is not None
    assert again.generation.id == refused
    assert await again.confirm()
    assert serving.generation is not None
    assert again.generation.id == serving.generation.id
    assert (again.state, REFUSAL in again.diagnostics) == (ActivationState.REJECTED, True)
    assert last_known_good.kept(files.state) == dict(serving.generation.files)


async def test_R26_a_start_rejected_without_a_last_known_good_fails(make: Make, files: Files) -> None:
    refused = files.comment("drops a role")
    activation = make()
    activation.add_gate(refusing(refused))
    await activation.start()
    assert not await activation.confirm()
    assert REFUSAL in activation.diagnostics
    assert last_known_good.kept(files.state) is None


async def test_R26_a_kept_copy_that_the_gates_refuse_too_is_not_served(
    serving: Activation, make: Make, files: Files
) -> None:
    assert serving.generation is not None
    refused = files.comment("drops a role")
    activation = make()
    activation.add_gate(refusing(refused, serving.generation.id))
    await activation.start()
    assert not await activation.confirm()


# -- a forced start ----------------------------------------------------------------------------------------------------


async def test_R26_a_forced_start_takes_what_compiles_and_is_not_kept(make: Make, files: Files) -> None:
    files.write(files.good + b"p, account-administrator, users, manage, deny\n")
    assert (await make().start()).generation is None
    forced = make()
    await forced.start(force=True)
    assert forced.forced
    assert forced.generation is not None
    assert "administrator-locked-out" in [found.code for found in forced.diagnostics]
    assert await forced.confirm(force=True)
    assert last_known_good.kept(files.state) is None, "only a policy that passed every check is a last known good one"


async def test_R26_nothing_forces_what_does_not_compile(make: Make, files: Files) -> None:
    files.break_()
    assert (await make().start(force=True)).generation is None


async def test_R26_force_is_never_for_an_edit(make: Make, files: Files) -> None:
    forced = make()
    await forced.start(force=True)
    assert not forced.forced, "there was nothing to force"
    assert await forced.confirm(force=True)
    before = forced.generation
    files.write(files.good + b"p, account-administrator, users, manage, deny\n")
    await forced.reload()
    assert (forced.generation, forced.state) == (before, ActivationState.REJECTED)


async def test_R26_force_overrules_the_gates_of_a_start(make: Make, files: Files) -> None:
    refused = files.comment("drops a role")
    activation = make()
    activation.add_gate(refusing(refused))
    await activation.start(force=True)
    assert await activation.confirm(force=True)
    assert activation.generation is not None
    assert (activation.generation.id, activation.forced) == (refused, True)
    assert REFUSAL in activation.diagnostics
    assert last_known_good.kept(files.state) is None


# -- edits -------------------------------------------------------------------------------------------------------------


async def test_a_good_edit_is_in_force_and_kept(serving: Activation, files: Files, clock) -> None:
    wanted = files.comment("good")
    clock.advance(60)
    await serving.reload()
    assert serving.generation is not None
    assert (serving.generation.id, serving.state, serving.loaded_at) == (wanted, ActivationState.CURRENT, clock.time())
    assert last_known_good.kept(files.state) == dict(serving.generation.files)


async def test_a_bad_edit_changes_nothing_but_the_state(serving: Activation, files: Files, clock) -> None:
    before, loaded_at = serving.generation, serving.loaded_at
    files.break_()
    clock.advance(60)
    await serving.reload()
    assert serving.generation is before
    assert (serving.state, serving.loaded_at) == (ActivationState.REJECTED, loaded_at)
    assert [found.code for found in serving.diagnostics if found.is_error] == ["unknown-role"]
    files.write(files.good)
    await serving.reload()
    assert serving.generation is before, "the files equal the active policy again"
    assert (serving.state, serving.loaded_at, serving.diagnostics) == (ActivationState.CURRENT, loaded_at, ())


async def test_a_failed_expectation_or_untested_route_rejects_an_edit(serving: Activation, files: Files) -> None:
    before = serving.generation
    files.write(files.good + b"p, marketer, billing, view, allow\n")
    await serving.reload()
    assert (serving.generation, serving.state) == (before, ActivationState.REJECTED)
    assert [found.code for found in serving.diagnostics if found.is_error] == ["failed-expectation"]
    files.write(files.good)
    sections = (files.policy / "sections.toml").read_bytes()
    files.write(sections + b'\n[[public]]\npath = "/dashboard/billing/plans"\nmethods = ["GET"]\n', "sections.toml")
    await serving.reload()
    assert (serving.generation, serving.state) == (before, ActivationState.REJECTED)
    assert "untested-route" in [found.code for found in serving.diagnostics], "R3: routes need expectations"


async def test_R26_an_edit_that_a_gate_refuses_keeps_the_last_good(serving: Activation, files: Files) -> None:
    before = serving.generation
    serving.add_gate(refusing(files.comment("drops a role")))
    await serving.reload()
    assert (serving.generation, serving.state, serving.diagnostics) == (before, ActivationState.REJECTED, (REFUSAL,))
    kept = last_known_good.kept(files.state)
    assert before is not None
    assert kept == dict(before.files)


async def test_an_edit_waits_for_a_store_that_is_out(serving: Activation, files: Files) -> None:
    out = True

    async def gate(_: Generation) -> tuple[Diagnostic, ...]:
        if out:
            raise StoreUnavailableError("out")
        return ()

    serving.add_gate(gate)
    before, wanted = serving.generation, files.comment("good")
    await serving.reload()
    assert (serving.generation, serving.state) == (before, ActivationState.CURRENT)
    out = False
    await serving.reload()
    assert serving.generation is not None
    assert serving.generation.id == wanted


async def test_an_edit_waiting_for_the_store_is_compiled_once(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that a gate rejected before, and that a SIGHUP requests again, are not compiled again at all."""
    asked, compiled, judge = "refuse", 0, process.compile_files

    async def gate(_: Generation) -> tuple[Diagnostic, ...]:
        if asked == "out":
            raise StoreUnavailableError("out")
        return (REFUSAL,) if asked == "refuse" else ()

    async def counted(*given: object) -> process.CompileResult:
        nonlocal compiled
        compiled += 1
        return await judge(*given)

    serving.add_gate(gate)
    wanted = files.comment("good")
    await serving.reload()
    assert serving.state is ActivationState.REJECTED
    monkeypatch.setattr(process, "compile_files", counted)
    asked = "out"
    watching = asyncio.create_task(serving.watch())
    await serving.reload()
    await asyncio.sleep(1)
    assert (serving.state, compiled) == (ActivationState.REJECTED, 0)
    asked = "pass"
    async with asyncio.timeout(10):
        while serving.state is ActivationState.REJECTED:
            await asyncio.sleep(0.01)
    assert serving.generation is not None
    assert (serving.generation.id, compiled) == (wanted, 0)
    watching.cancel()


async def test_R26_gates_look_again_at_files_that_they_rejected(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename of a role that users held is in force once no user holds it, without an edit or a signal."""
    monkeypatch.setattr("sidecar.pdp.activation.RECHECK_SECONDS", 0.01)
    looks, held = 0, 3

    async def gate(_: Generation) -> tuple[Diagnostic, ...]:
        nonlocal looks
        looks += 1
        return (msgspec.structs.replace(REFUSAL, message=f"{held} users"),) if held else ()

    serving.add_gate(gate)
    reports: list[tuple[str, ...]] = []
    wanted = files.comment("good")
    await serving.reload()
    serving.on_change(lambda policy: reports.append(tuple(one.message for one in policy.diagnostics)))
    watching = asyncio.create_task(serving.watch())
    async with asyncio.timeout(10):
        while looks < 3:
            await asyncio.sleep(0.01)
        assert (serving.state, reports) == (ActivationState.REJECTED, [])
        held = 1
        while not reports:
            await asyncio.sleep(0.01)
        held = 0
        while serving.state is ActivationState.REJECTED:
            await asyncio.sleep(0.01)
    assert serving.generation is not None
    assert serving.generation.id == wanted
    assert [one[:1] for one in reports] == [("1 users",), ()]
    looks = 0
    await asyncio.sleep(0.5)
    assert looks == 0, "what is in force needs no further look"
    watching.cancel()


async def test_R26_gates_look_again_after_a_rejected_start(
    serving: Activation, make: Make, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.pdp.activation.RECHECK_SECONDS", 0.01)
    refused = files.comment("drops a role")
    held = [REFUSAL]

    async def gate(generation: Generation) -> tuple[Diagnostic, ...]:
        return tuple(held) if generation.id == refused else ()

    again = make()
    again.add_gate(gate)
    await again.start()
    assert await again.confirm()
    assert again.state is ActivationState.REJECTED
    watching = asyncio.create_task(again.watch())
    held.clear()
    async with asyncio.timeout(10):
        while again.state is ActivationState.REJECTED:
            await asyncio.sleep(0.01)
    assert again.generation is not None
    assert again.generation.id == refused
    watching.cancel()


async def test_a_look_that_fails_ends_nothing(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.pdp.activation.AGAIN_SECONDS", 0.01)
    read, failed = read_policy_files, asyncio.Event()

    def broken(*_: object, **__: object) -> PolicyFiles:
        failed.set()
        raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")

    monkeypatch.setattr("sidecar.pdp.activation.read_policy_files", broken)
    watching = asyncio.create_task(serving.watch())
    wanted = files.comment("good")
    async with asyncio.timeout(10):
        await failed.wait()
        monkeypatch.setattr("sidecar.pdp.activation.read_policy_files", read)
        while serving.generation is None or serving.generation.id != wanted:
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_R25_now_and_then_every_byte_is_read(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write through a mapped page, or a file system with coarse times, changes bytes without the stamp."""
    monkeypatch.setattr("sidecar.pdp.activation.WHOLE_SECONDS", 0.5)
    kept = stamp_of(files.policy, files.model)
    before, wanted = read_policy_files(files.policy, files.model), files.comment("unseen")
    assert serving.generation is not None
    assert serving.generation.id != wanted
    monkeypatch.setattr("sidecar.pdp.activation.stamp_of", lambda *_: kept)
    serving._seen = dataclasses.replace(before, settled=frozenset(kept))
    serving._processed = before.fingerprint
    watching = asyncio.create_task(serving.watch())
    async with asyncio.timeout(10):
        while serving.generation.id != wanted:
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_R25_files_that_change_meanwhile_are_not_activated(serving: Activation, files: Files) -> None:
    """The fingerprint is read again before the swap."""
    first = files.comment("first")
    second = ""

    async def meanwhile(generation: Generation) -> tuple[Diagnostic, ...]:
        nonlocal second
        if generation.id == first:
            second = files.comment("second")
        return ()

    serving.add_gate(meanwhile)
    before = serving.generation
    await serving.reload()
    assert serving.generation is before
    await serving.reload()
    assert serving.generation is not None
    assert serving.generation.id == second


async def test_an_unwritable_state_directory_does_not_stop_an_edit(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(last_known_good, "keep", full)
    wanted = files.comment("good")
    await serving.reload()
    assert serving.generation is not None
    assert serving.generation.id == wanted


async def test_every_judgement_is_told(serving: Activation, files: Files) -> None:
    told: list[ActivationState] = []
    serving.on_change(lambda activation: told.append(activation.state))
    files.break_()
    await serving.reload()
    files.comment("good")
    await serving.reload()
    assert told == [ActivationState.REJECTED, ActivationState.CURRENT]


# -- large policies ----------------------------------------------------------------------------------------------------


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LARGE", 0)


@pytest.mark.usefixtures("all_large")
async def test_a_large_policy_is_judged_in_a_child_with_the_same_words(serving: Activation, files: Files) -> None:
    wanted = files.comment("good")
    await serving.reload()
    assert serving.generation is not None
    assert serving.generation.id == wanted
    files.break_()
    await serving.reload()
    expected = compile_policy(read_policy_files(files.policy, files.model).files, proof=ProofScope.NONE)
    assert serving.state is ActivationState.REJECTED
    assert serving.diagnostics == expected.diagnostics


@pytest.mark.usefixtures("all_large")
async def test_a_failing_child_rejects_the_edit_without_a_retry(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dead(_: CompileTask) -> bytes:
        raise process.CompileProcessError("it died", process.Failure.FAULT)

    before = serving.generation
    monkeypatch.setattr(process, "run", dead)
    wanted = files.comment("good")
    await serving.reload()
    assert (serving.generation, serving.state) == (before, ActivationState.REJECTED)
    [found] = serving.diagnostics
    assert (found.code, found.is_error) == ("policy-too-large", True)
    assert "it died" in found.message
    monkeypatch.undo()
    await serving.reload()
    assert serving.generation is not None
    assert serving.generation.id == wanted


async def test_a_mistake_of_ours_refuses_the_edit_and_ends_nothing(
    serving: Activation, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> process.CompileResult:
        raise KeyError("policy.csv")

    before = serving.generation
    monkeypatch.setattr(process, "compile_files", broken)
    wanted = files.comment("good")
    await serving.reload()
    assert (serving.generation, serving.state) == (before, ActivationState.REJECTED)
    [found] = serving.diagnostics
    assert "KeyError" in found.message
    monkeypatch.undo()
    await serving.reload()
    assert serving.generation is not None
    assert serving.generation.id == wanted


async def test_R39_a_broken_needs_file_keeps_the_policy_before(files: Files, make: Make) -> None:
    """A policy with needs is served with them: at a start, after an edit, and as the stored last good policy."""
    good = dict(read_policy_files(files.policy, files.model).files)
    files.write(b"[conditions.second-factor]\nsecond_factor = true\n", "conditions.toml")
    files.write(b"needs, accountant, billing, change-plan, second-factor\n", "needs.csv")
    rows = good["expectations.csv"] + b"deny, accountant, billing, change-plan, without second-factor\n"
    files.write(rows, "expectations.csv")
    activation = make()
    served = (await activation.start()).generation
    assert served is not None
    assert served.needs.of("accountant", "billing", "change-plan") is not None
    assert await activation.confirm()
    for broken in (b"needs, accountant, billing, change-plan, second-facto\n", b"needs\n", b"\xff"):
        files.write(broken, "needs.csv")
        await activation.reload()
        assert activation.generation is served
        assert activation.state is ActivationState.REJECTED
    restarted = (await make().start()).generation
    assert restarted is not None
    assert (restarted.id, restarted.needs.active) == (served.id, True)
