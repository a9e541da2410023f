"""The last good policy of the store: for a start with rejected files and an empty state directory, and for no other."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.pdp.activation import Activation, ActivationState
from sidecar.pdp.rollout import PolicyRollout
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, Severity
from sidecar.policy.generation import Generation
from sidecar.server import policy_start
from sidecar.sources.policy_files import read_policy_files
from sidecar.store import last_good_policy
from sidecar.store.connection import Store, StoreUnavailableError
from sidecar.store.last_good_policy import LastGoodFiles, LastGoodPolicy, LastGoodPolicyError
from sidecar.store.policy_history import PolicyHistory
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.opaque import Pepper

ROOT = Path(__file__).resolve().parents[2]
PEPPER = Pepper(b"p" * 32)
KEY = "sc:{p00}:policy:good"


def files_of(comment: str) -> dict[str, bytes]:
    files = dict(read_policy_files(ROOT / "policy", ROOT / "model.conf").files)
    return {**files, "policy.csv": files["policy.csv"] + f"# {comment}\n".encode()}


def compiled(comment: str) -> Generation:
    generation = compile_policy(files_of(comment), proof=ProofScope.NONE).generation
    assert generation is not None
    return generation


@pytest.fixture(scope="module")
def generations() -> Mapping[str, Generation]:
    return {name: compiled(name) for name in ("old", "new")}


async def kept(store: Store, generation: Generation, pepper: Pepper = PEPPER) -> None:
    await PolicyHistory(store).record(generation.id, ["member"], sidecar="s")
    assert await LastGoodPolicy(store, pepper).keep(generation.id, generation.files)


# -- the record --------------------------------------------------------------------------------------------------------


async def test_R25_the_stored_policy_comes_back_byte_for_byte(store: Store, generations: Any) -> None:
    policy = LastGoodPolicy(store, PEPPER)
    assert await policy.read() is None
    await kept(store, generations["old"])
    assert await policy.read() == LastGoodFiles(dict(generations["old"].files), "")
    await kept(store, generations["new"])
    assert await policy.read() == LastGoodFiles(dict(generations["new"].files), "")


async def test_R25_an_older_generation_replaces_no_newer_one(store: Store, generations: Any) -> None:
    """A rollout: one sidecar still serves the older files, and keeps them after the newer one."""
    old, new = generations["old"], generations["new"]
    await kept(store, old)
    await kept(store, new)
    await PolicyHistory(store).record(old.id, ["member"], sidecar="s", start=True)
    assert await LastGoodPolicy(store, PEPPER).keep(old.id, old.files)
    assert await LastGoodPolicy(store, PEPPER).read() == LastGoodFiles(dict(new.files), "")


async def test_an_equal_policy_is_not_written_again(store: Store, generations: Any) -> None:
    await kept(store, generations["old"])
    await store.change("HSET", KEY, "mark", "1")
    await store.change("INCR", "sc:{p00}:feed:n")
    await kept(store, generations["old"])
    assert await store.command("HGET", KEY, "mark") == "1"
    assert await store.command("HGET", KEY, "n") == "0"


SPOIL: dict[str, tuple[str, Callable[[str], str]]] = {
    "other bytes": ("files", lambda text: text[:-8] + "AAAAAAAA"),
    "no bytes": ("files", lambda text: ""),
    "another id": ("id", lambda text: "0" * len(text)),
    "another revision": ("n", lambda text: "7"),
    "a signature": ("signature", lambda text: "signed"),
    "another code": ("code", lambda text: "0" * 64),
    "no code": ("code", lambda text: ""),
    "a code that is no text": ("code", lambda text: "é"),
}


@pytest.mark.parametrize("name", SPOIL)
async def test_R25_a_record_that_a_redis_writer_changed_is_none(store: Store, generations: Any, name: str) -> None:
    await kept(store, generations["old"])
    field, change = SPOIL[name]
    await store.change("HSET", KEY, field, change(await store.command("HGET", KEY, field)))
    with pytest.raises(LastGoodPolicyError, match="no valid code"):
        await LastGoodPolicy(store, PEPPER).read()
    await kept(store, generations["old"])
    repaired = LastGoodFiles(dict(generations["old"].files), "")
    assert await LastGoodPolicy(store, PEPPER).read() == repaired, "the next start repairs it"


async def test_R25_a_record_of_another_pepper_is_none(store: Store, generations: Any) -> None:
    await kept(store, generations["old"], Pepper(b"q" * 32))
    with pytest.raises(LastGoodPolicyError, match="another pepper"):
        await LastGoodPolicy(store, PEPPER).read()


async def test_a_policy_above_the_limit_is_not_stored(
    store: Store, generations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_good_policy, "MAX_BYTES", 100)
    assert not await LastGoodPolicy(store, PEPPER).keep("g", generations["old"].files)
    assert await LastGoodPolicy(store, PEPPER).read() is None


# -- the start ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pod(tmp_path: Path, clock: Any) -> Callable[..., Activation]:
    """``pod(files, stored)``: start of a pod with these files and a reader of the store."""

    def make(files: Mapping[str, bytes], stored: Any) -> Activation:
        policy, model = tmp_path / "policy", tmp_path / "model.conf"
        shutil.rmtree(policy, ignore_errors=True)
        policy.mkdir()
        for name, content in files.items():
            path = model if name == "model.conf" else policy / name
            path.write_bytes(content)
            path.chmod(0o644)
        activation = Activation(policy, model, state_dir=tmp_path / "state", clock=clock.time)
        activation.stored = stored
        return activation

    return make


def bad() -> dict[str, bytes]:
    files = files_of("bad")
    return {**files, "policy.csv": files["policy.csv"] + b"p, marketeer, billing, view, allow\n"}


class Stored:
    """The store's copy; counts its readers."""

    def __init__(self, files: Mapping[str, bytes] | Exception | None) -> None:
        self.files, self.reads = files, 0

    async def __call__(self) -> Mapping[str, bytes] | None:
        self.reads += 1
        if isinstance(self.files, Exception):
            raise self.files
        return self.files


async def test_R25_a_pod_without_state_serves_the_stores_policy(pod: Any, generations: Any) -> None:
    stored = Stored(generations["old"].files)
    policy = pod(bad(), stored)
    assert (await policy.start()).generation is None
    with capture_logs() as logs:
        assert await policy_start.started(policy)
    assert policy.generation.id == generations["old"].id
    assert policy.state is ActivationState.REJECTED
    assert "unknown-role" in [found.code for found in policy.diagnostics]
    (entry,) = logs
    assert (entry["log_level"], entry["generation"]) == ("error", generations["old"].id)
    assert await policy.confirm()
    assert policy.state is ActivationState.REJECTED


async def test_R25_good_files_or_a_kept_copy_never_ask_the_store(pod: Any, generations: Any) -> None:
    stored = Stored(generations["old"].files)
    policy = pod(files_of("new"), stored)
    await policy.start()
    assert await policy_start.started(policy)
    assert await policy.confirm()
    again = pod(bad(), stored)
    await again.start()
    assert await policy_start.started(again)
    assert policy.generation.id == again.generation.id == generations["new"].id
    assert stored.reads == 0


NONE = {"no copy": None, "a changed copy": LastGoodPolicyError("x"), "a copy that does not compile": bad()}


@pytest.mark.parametrize("name", NONE)
async def test_R25_without_any_good_policy_nothing_is_served(pod: Any, name: str) -> None:
    policy = pod(bad(), Stored(NONE[name]))
    await policy.start()
    with capture_logs() as logs:
        assert not await policy_start.started(policy)
    assert {entry["log_level"] for entry in logs} == {"error"}
    assert policy.generation is None


async def test_a_start_waits_for_the_store_and_gives_up(pod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_start, "RETRY_SECONDS", 0)
    stored = Stored(StoreUnavailableError("out"))
    policy = pod(bad(), stored)
    await policy.start()
    with capture_logs() as logs:
        assert not await policy_start.started(policy)
    assert [(entry["log_level"], entry["error"]) for entry in logs] == [("error", "out")]
    assert stored.reads == policy_start.ATTEMPTS


REFUSAL = Diagnostic(Severity.ERROR, DiagnosticCode.ROLE_IN_USE, "policy/roles.toml", 1, 1, "held", "")


@pytest.mark.parametrize("accepted", [True, False])
async def test_R26_the_gates_judge_the_stores_policy_too(pod: Any, generations: Any, accepted: bool) -> None:
    """Files that compile and lose a role in use: the store's copy is served, if the gates accept that one."""

    async def gate(generation: Generation) -> tuple[Diagnostic, ...]:
        return () if accepted and generation.id == generations["old"].id else (REFUSAL,)

    policy = pod(files_of("new"), Stored(generations["old"].files))
    policy.add_gate(gate)
    await policy.start()
    assert await policy.confirm() is accepted
    assert policy.state is ActivationState.REJECTED
    if accepted:
        assert policy.generation.id == generations["old"].id


# -- the rollout -------------------------------------------------------------------------------------------------------


class Keeper:
    def __init__(self) -> None:
        self.kept: list[str] = []

    async def keep(self, generation: Generation) -> bool:
        self.kept.append(generation.id)
        return True


@pytest.mark.parametrize(
    ("state", "forced", "kept"),
    [
        (ActivationState.CURRENT, False, ["g"]),
        (ActivationState.REJECTED, False, []),
        (ActivationState.CURRENT, True, []),
    ],
)
async def test_R25_only_accepted_files_are_kept_in_the_store(
    state: ActivationState, forced: bool, kept: list[str], clock: Any
) -> None:
    policy = SimpleNamespace(generation=SimpleNamespace(id="g", files={}), state=state, forced=forced)
    keeper: Any = Keeper()
    unused: Any = None
    rollout = PolicyRollout(
        policy,
        unused,
        unused,
        Metrics("0", process=False),
        clock=clock.monotonic,
        last_good=keeper,  # type: ignore[arg-type]
    )
    await rollout.keep()
    await rollout.keep()
    assert keeper.kept == kept
