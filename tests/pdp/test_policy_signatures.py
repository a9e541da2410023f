"""SIDECAR_POLICY_KEYS: signed generations of the store and signed local files (R43, R44)."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.pdp.activation import Activation
from sidecar.pdp.policy_holder import ActivationState
from sidecar.pdp.policy_signatures import SignatureCheck
from sidecar.policy.transfer.packing import pack
from sidecar.policy.transfer.signature import NAME, sign
from sidecar.sources.kept_generation import kept_record
from sidecar.sources.policy_keys import PolicyKeysError, read_policy_keys
from sidecar.store import keys
from sidecar.store.generation_records import MarkState
from sidecar.store.integrity.feed_entries import FeedReset
from sidecar.store.policy_generations import Activated
from tests.memory_store import bare_store
from tests.pdp.store_member import Member, without_proof
from tests.store.generations_fixture import generation, packaged_files, terms_of

__all__ = ["bare_store"]

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"k", b"o"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proof(monkeypatch)
    from sidecar.pdp import activation

    quick = activation.process.compile_policy
    monkeypatch.setattr(activation, "compile_policy", quick)


def keys_file(folder: Path, *lines: str, of: Ed25519PrivateKey = KEY) -> Path:
    pem = of.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path = folder / "policy-keys"
    path.write_text("\n".join(("# who signs", *lines, pem.decode())))
    path.chmod(0o600)
    return path


def signed(files: dict[str, bytes], counter: int, key: Ed25519PrivateKey = KEY) -> str:
    return sign(files, key, counter=counter, time="")


# -- the file of keys --------------------------------------------------------------------------------------------------


def test_a_keys_file_has_keys_comments_and_a_floor(tmp_path) -> None:
    found = read_policy_keys(keys_file(tmp_path, "min-counter: 42  # since May"))
    assert (len(found.keys), found.min_counter) == (1, 42)
    assert read_policy_keys(keys_file(tmp_path)).min_counter == 0


@pytest.mark.parametrize("line", ["min-counter: x", "max: 3", "min-counter: 1\nmin-counter: 2", "-----BEGIN"])
def test_a_keys_file_with_other_text_is_refused(tmp_path, line) -> None:
    with pytest.raises(PolicyKeysError, match=r"other text|public keys"):
        read_policy_keys(keys_file(tmp_path, line))


def test_a_keys_file_that_others_may_write_is_refused(tmp_path) -> None:
    path = keys_file(tmp_path)
    path.chmod(0o666)
    with pytest.raises(PolicyKeysError, match="can write it"):
        read_policy_keys(path)
    path.chmod(0o600)
    path.write_text("")
    with pytest.raises(PolicyKeysError, match="0 public keys"):
        read_policy_keys(path)
    rsa = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    path.write_text(rsa)
    with pytest.raises(PolicyKeysError, match="no public key"):
        read_policy_keys(path)


# -- the store ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def member(bare_store, clock, tmp_path) -> Member:
    """A sidecar with keys, whose signed files have seeded the store with counter 10."""
    place = tmp_path / "policy"
    place.mkdir(mode=0o700)
    for name, content in packaged_files().items():
        (place / name).write_bytes(content)
    (place / NAME).write_text(signed(packaged_files(), 10))
    check = SignatureCheck(keys_file(tmp_path))
    found = await Member(bare_store, tmp_path / "state", clock, policy_dir=place, signatures=check).started()
    await found.settle()
    assert found.active
    return found


async def mark_of(member: Member, name: str, *, counter: int, text: str):
    found = generation(name)
    terms = terms_of(found, counter, signature=text)
    candidate = await member.applying.generations.store_candidate(terms, pack(found.files), seconds=60)
    await member.look()
    return candidate, (await member.applying.generations.look()).marks[0]


async def test_R43_only_a_signed_candidate_is_ready(member) -> None:
    files = dict(generation("a").files)
    refused = {
        "is not signed": "",
        "not signed by a key": signed(files, 20, OTHER),
        "of other files": signed(dict(generation("b").files), 20),
        "is not 30, that of its signature": signed(files, 30),
    }
    for reason, text in refused.items():
        _, mark = await mark_of(member, "a", counter=20, text=text)
        assert mark.state is MarkState.REJECTED
        assert reason in mark.reason
    candidate, mark = await mark_of(member, "a", counter=20, text=signed(files, 20))
    assert mark.state is MarkState.READY
    assert isinstance(await member.applying.activate(candidate, generation("a")), Activated)
    await member.hear()
    assert member.active == generation("a").id


async def test_R43_an_unsigned_generation_is_not_served_after_a_reload(bare_store, clock, tmp_path) -> None:
    place = tmp_path / "policy"
    place.mkdir(mode=0o700)
    for name, content in packaged_files().items():
        (place / name).write_bytes(content)
    unsigned = await Member(bare_store, tmp_path / "state", clock, policy_dir=place).started()
    await unsigned.settle()
    assert unsigned.active
    restarted = Member(
        bare_store, tmp_path / "state", clock, "two", place, signatures=SignatureCheck(keys_file(tmp_path))
    )
    await restarted.started()
    assert restarted.active == ""
    assert "is not signed" in restarted.policy.problem


async def test_R43_an_empty_store_is_not_seeded_from_unsigned_files(bare_store, clock, tmp_path) -> None:
    place = tmp_path / "policy"
    place.mkdir(mode=0o700)
    for name, content in packaged_files().items():
        (place / name).write_bytes(content)
    check = SignatureCheck(keys_file(tmp_path))
    found = await Member(bare_store, tmp_path / "state", clock, policy_dir=place, signatures=check).started()
    await found.settle()
    assert found.active == ""
    assert "is not signed" in found.policy.problem
    assert (await found.applying.generations.look()).active is None


async def test_R44_min_counter_is_the_floor_of_a_pod_without_state(member, bare_store, clock, tmp_path) -> None:
    """A writer of the store shows an older signed record; a pod without state knows the floor of its keys file."""
    older = await bare_store.pairs("HGETALL", f"{keys.policy()}:active")
    files = dict(generation("a").files)
    candidate, _ = await mark_of(member, "a", counter=20, text=signed(files, 20))
    await member.applying.activate(candidate, generation("a"))
    await member.settle()
    await bare_store.change("HSET", f"{keys.policy()}:active", *(word for pair in older for word in pair))
    check = SignatureCheck(keys_file(tmp_path, "min-counter: 15"))
    fresh = await Member(bare_store, tmp_path / "fresh", clock, "two", signatures=check).started()
    assert fresh.active == ""
    assert "counter 10, below min-counter 15" in fresh.policy.problem
    member.policy.flush(FeedReset(0, 99, new_data_set=False))
    await member.look()
    assert member.active == generation("a").id, "a sidecar with state keeps the newer one"


# -- local files -------------------------------------------------------------------------------------------------------


class LocalFiles:
    """Policy files in a folder, with a signature, as one sidecar reads them."""

    def __init__(self, folder: Path, clock) -> None:
        self.folder, self.clock = folder, clock
        self.place = folder / "policy"
        self.place.mkdir(mode=0o700)
        self.check = SignatureCheck(keys_file(folder))

    def write(self, name: str, counter: int | None, key: Ed25519PrivateKey = KEY) -> str:
        files = dict(generation(name).files)
        for file, content in files.items():
            (self.place / file).write_bytes(content)
        (self.place / NAME).unlink(missing_ok=True)
        if counter is not None:
            (self.place / NAME).write_text(signed(files, counter, key))
        return generation(name).id

    def activation(self) -> Activation:
        model = self.place / "model.conf"
        return Activation(
            self.place, model, state_dir=self.folder / "state", clock=self.clock.time, signatures=self.check
        )

    async def started(self) -> Activation:
        found = self.activation()
        await found.start()
        if found.generation is not None:
            await found.confirm()
        return found


@pytest.fixture
def local(tmp_path, clock) -> LocalFiles:
    return LocalFiles(tmp_path, clock)


async def test_R43_local_files_need_a_signature(local) -> None:
    local.write("a", None)
    refused = await local.started()
    assert refused.generation is None
    assert "is not signed" in refused.diagnostics[0].message
    forced = local.activation()
    assert (await forced.start(force=True)).generation is None, "never forced"
    wanted = local.write("a", 10)
    assert (await local.started()).generation.id == wanted


async def test_R44_the_counter_of_local_files_never_goes_back(local) -> None:
    first = local.write("a", 10)
    serving = await local.started()
    second = local.write("b", 11)
    await serving.reload()
    assert serving.generation.id == second
    assert kept_record(local.folder / "state")["counter"] == "11"
    local.write("a", 10)
    await serving.reload()
    assert (serving.generation.id, serving.state) == (second, ActivationState.REJECTED)
    assert "counter 10, and one with 11 was in force" in str(serving.diagnostics)
    again = await local.started()
    assert (again.generation.id, again.state) == (second, ActivationState.REJECTED), "after a restart too"
    local.write("a", 12)
    await serving.reload()
    assert serving.generation.id == first


async def test_a_new_signature_of_the_same_files_is_noticed(local) -> None:
    wanted = local.write("a", 10, OTHER)
    serving = local.activation()
    await serving.start()
    assert serving.generation is None
    assert serving.signature.is_unchanged()
    (local.place / NAME).write_text(signed(dict(generation("a").files), 10))
    os.utime(local.place / NAME, (1, 1))
    assert not serving.signature.is_unchanged()
    assert (await local.started()).generation.id == wanted


async def test_R43_a_kept_policy_without_a_signature_is_not_served(local) -> None:
    local.write("a", 10)
    await local.started()
    (local.folder / "state" / "active-generation").unlink()
    local.write("b", None)
    assert (await local.started()).generation is None
