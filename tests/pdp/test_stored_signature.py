"""Signature of the last good policy in the store: a Redis writer without the signing key gets no files served."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.pdp.activation import Activation
from sidecar.pdp.last_good import StoredLastGood
from sidecar.pdp.policy_holder import ActivationState
from sidecar.pdp.policy_signatures import SignatureCheck
from sidecar.pdp.rollout import PolicyRollout
from sidecar.policy.transfer.signature import NAME
from sidecar.server.policy_start import PolicyStartError, StartedPolicy, with_last_good
from sidecar.sources import last_known_good
from sidecar.sources.kept_generation import kept_record
from sidecar.store.connection import Store
from sidecar.store.last_good_policy import LastGoodFiles, LastGoodPolicy, LastGoodPolicyError
from sidecar.store.policy_history import PolicyHistory
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.opaque import Pepper
from tests.pdp.store_member import without_proof
from tests.pdp.test_policy_signatures import OTHER, LocalFiles, keys_file, signed
from tests.store.generations_fixture import generation

PEPPER = Pepper(b"p" * 32)
KEY = "sc:{p00}:policy:good"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proof(monkeypatch)
    from sidecar.pdp import activation, last_good

    for module in (activation, last_good):
        monkeypatch.setattr(module, "compile_policy", activation.process.compile_policy)


def files_of(name: str) -> dict[str, bytes]:
    return dict(generation(name).files)


@pytest.fixture
def pod(tmp_path: Path, clock: Any) -> LocalFiles:
    """Folder of a pod with state of its own. Its files are rejected until a test writes others."""
    local = LocalFiles(tmp_path, clock)
    local.write("a", None)
    return local


@pytest.fixture
def record(store: Store) -> LastGoodPolicy:
    return LastGoodPolicy(store, PEPPER)


async def kept(store: Store, name: str, text: str) -> None:
    """Keep files with a signature, as a sidecar of this deployment does."""
    await PolicyHistory(store).record(generation(name).id, ["member"], sidecar="s")
    assert await LastGoodPolicy(store, PEPPER).keep(generation(name).id, files_of(name), text)


async def started(pod: LocalFiles, record: LastGoodPolicy) -> Activation:
    """Start a pod as the server does. Raises PolicyStartError."""
    files = pod.activation()
    await files.start()
    await with_last_good(StartedPolicy(files, files, files=files), record)
    await files.confirm()
    return files


TEXTS = {
    "no signature": ("", "is not signed"),
    "another key": (signed(files_of("b"), 10, OTHER), "is not signed by a key"),
    "other files": (signed(files_of("a"), 10), "of other files"),
    "no text of a signature": ("{}\nAAAA\n", "is not signed by a key"),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_R43_the_stores_copy_needs_a_valid_signature(
    pod: LocalFiles, store: Store, record: LastGoodPolicy, name: str
) -> None:
    text, reason = TEXTS[name]
    await kept(store, "b", text)
    with capture_logs() as logs, pytest.raises(PolicyStartError) as ended:
        await started(pod, record)
    assert [(entry["log_level"], reason in entry["error"]) for entry in logs if "error" in entry] == [("error", True)]
    assert "is not signed" in str(ended.value.lines), "the findings of the files end the start"
    assert kept_record(pod.folder / "state") is None


async def test_R43_a_signed_copy_of_the_store_is_served(pod: LocalFiles, store: Store, record: LastGoodPolicy) -> None:
    await kept(store, "b", signed(files_of("b"), 10))
    files = await started(pod, record)
    assert (files.generation.id, files.state) == (generation("b").id, ActivationState.REJECTED)


async def test_R43_the_code_covers_the_signature(store: Store, record: LastGoodPolicy) -> None:
    """Bytes and signature of two records cannot be combined, not even two signed ones."""
    await kept(store, "b", signed(files_of("b"), 10))
    await store.change("HSET", KEY, "signature", signed(files_of("b"), 11))
    with pytest.raises(LastGoodPolicyError, match="no valid code"):
        await record.read()


async def test_R44_the_stores_copy_is_not_below_min_counter(
    pod: LocalFiles, store: Store, record: LastGoodPolicy
) -> None:
    pod.check = SignatureCheck(keys_file(pod.folder, "min-counter: 11"))
    await kept(store, "b", signed(files_of("b"), 10))
    with capture_logs() as logs, pytest.raises(PolicyStartError):
        await started(pod, record)
    assert "counter 10, below min-counter 11" in str(logs)
    await kept(store, "b", signed(files_of("b"), 11))
    assert (await started(pod, record)).generation.id == generation("b").id


async def test_R44_the_stores_copy_is_not_below_the_kept_counter(
    pod: LocalFiles, store: Store, record: LastGoodPolicy
) -> None:
    """The files of the state directory are lost, and its counter is not."""
    pod.write("c", 12)
    await started(pod, record)
    (pod.folder / "state" / last_known_good.NAME).unlink()
    pod.write("a", None)
    await kept(store, "b", signed(files_of("b"), 11))
    with capture_logs() as logs, pytest.raises(PolicyStartError):
        await started(pod, record)
    assert "counter 11, and one with 12 was in force" in str(logs)
    await kept(store, "c", signed(files_of("c"), 12))
    assert (await started(pod, record)).generation.id == generation("c").id


async def test_R44_the_counter_of_a_copy_that_was_served_is_kept(
    pod: LocalFiles, store: Store, record: LastGoodPolicy
) -> None:
    await kept(store, "b", signed(files_of("b"), 10))
    files = await started(pod, record)
    pod.write("a", 9)
    await files.reload()
    assert (files.generation.id, files.state) == (generation("b").id, ActivationState.REJECTED)
    assert "counter 9, and one with 10 was in force" in str(files.diagnostics)
    pod.write("a", 11)
    await files.reload()
    assert (files.generation.id, files.state) == (generation("a").id, ActivationState.CURRENT)


# -- keeping -----------------------------------------------------------------------------------------------------------


class Fleet:
    id = "s"

    def set_facts(self, **facts: Any) -> None: ...
    async def register(self) -> None: ...
    async def members(self) -> list[dict[str, Any]]:
        return []


async def round_of(files: Activation, record: LastGoodPolicy, store: Store, clock: Any) -> PolicyRollout:
    """Return a rollout of the files, connected as in a serving process."""
    last_good = StoredLastGood(record, files.signature)
    rollout = PolicyRollout(
        files,
        PolicyHistory(store),
        Fleet(),
        Metrics("0", process=False),
        clock=clock.monotonic,
        last_good=last_good,
    )
    await rollout.record()
    await rollout.keep()
    return rollout


async def test_R43_the_signature_is_kept_with_the_files(
    pod: LocalFiles, store: Store, record: LastGoodPolicy, clock: Any
) -> None:
    pod.write("a", 10)
    files = await started(pod, record)
    await round_of(files, record, store, clock)
    assert await record.read() == LastGoodFiles(files_of("a"), signed(files_of("a"), 10))
    pod.write("a", 11)  # the same files, signed anew
    await files.reload()
    await round_of(files, record, store, clock)
    assert await record.read() == LastGoodFiles(files_of("a"), signed(files_of("a"), 11))


async def test_R43_files_without_a_valid_signature_are_not_kept(
    pod: LocalFiles, store: Store, record: LastGoodPolicy, clock: Any
) -> None:
    """The signature on disk is that of the next files, and the state directory lost the one in force."""
    pod.write("a", 10)
    files = await started(pod, record)
    shutil.rmtree(pod.folder / "state")
    (pod.place / NAME).write_text(signed(files_of("b"), 11))
    rollout = await round_of(files, record, store, clock)
    assert await record.read() is None
    (pod.place / NAME).write_text(signed(files_of("a"), 10))
    await rollout.keep()
    assert (await record.read() or SimpleNamespace(signature="")).signature == signed(files_of("a"), 10)


async def test_R43_a_sidecar_without_keys_removes_no_signature(store: Store, record: LastGoodPolicy) -> None:
    text = signed(files_of("a"), 10)
    await kept(store, "a", text)
    await kept(store, "a", "")
    assert await record.read() == LastGoodFiles(files_of("a"), text)
