"""Stores that released versions left: this version serves each of them, whole, after its migration if it has one."""

import json
from pathlib import Path
from typing import Any

import pytest

import sidecar
from sidecar.domain.users import Status
from sidecar.policy.generation import content_hash
from sidecar.store.accounts import Accounts
from sidecar.store.audit_export import Exporter
from sidecar.store.connection import Store
from sidecar.store.factors import Factors
from sidecar.store.last_good_policy import LastGoodPolicy
from sidecar.store.maintenance.audit_verify import check
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.maintenance.migrate import migrate
from sidecar.store.maintenance.startup_checks import SCHEMA
from sidecar.store.peps import Peps
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.users import Users
from sidecar.tokens.audit_signing import CheckpointKey
from tests.store.older_state import put_back
from tests.upgrade import keep

VERSIONS = sorted(path.stem for path in keep.FOLDER.glob("[0-9]*.jsonl"))


def test_this_version_is_kept_if_it_is_a_release() -> None:
    """A version is released once its store is kept; before 1.0.0 there was none."""
    assert sidecar.__version__ in VERSIONS or sidecar.__version__.startswith("0.")


@pytest.fixture(params=VERSIONS)
async def released(request: pytest.FixtureRequest, bare_store: Store) -> str:
    """Put the store of a version in place, migrate it, and return the version."""
    lines = (keep.FOLDER / f"{request.param}.jsonl").read_text(encoding="utf-8").splitlines()
    await put_back(bare_store, [json.loads(line) for line in lines])
    if (await bare_store.meta())["schema"] != SCHEMA:
        assert await migrate(bare_store, keep.PEPPER) is not None
    await bare_store.check_meta(**keep.META)
    return str(request.param)


async def test_the_store_is_sound_and_its_users_are_as_before(released: str, bare_store: Store) -> None:
    report = await Fsck(bare_store).run()
    assert (report.findings, report.accounts, report.users, report.invited) == ([], 2, 4, 2)
    for account in await Accounts(bare_store).all():
        users, domain = Users(bare_store), f"{account.name.lower()}.example"
        bob = await users.record(await users.find(account.id, f"bob@{domain}"))
        assert (bob.role, bob.epoch, bob.review) == ("developer", 3, None)
        ada = await users.record(await users.find(account.id, f"ada@{domain}"))
        held: Any = await Factors(bare_store).listing(ada.id)
        assert (len(held.factors), held.recovery_codes) == (1, 1)  # sessions end 90 days after the file was written
        assert [pep.name for pep in await Peps(bare_store).listing(account.id)] == ["api"]
    globex = await Accounts(bare_store).find("Globex")
    assert globex is not None
    assert globex.status is Status.SUSPENDED


async def test_R32_the_audit_of_before_goes_on(released: str, bare_store: Store, tmp_path: Path) -> None:
    key, file = CheckpointKey(keep.PEPPER), tmp_path / "audit.jsonl"

    class Sink:
        async def write(self, lines: bytes) -> None:
            file.write_bytes(file.read_bytes() + lines)

    file.write_bytes((keep.FOLDER / f"{released}.audit").read_bytes())
    assert await Exporter(bare_store, Sink(), id="new", sign=key.sign).export() > 0
    report = await check(bare_store, [file], key)
    assert (report.findings, report.logs, report.repeated) == ((), 3, 0)


async def test_R25_the_policy_of_before_is_known(released: str, bare_store: Store) -> None:
    kept = await LastGoodPolicy(bare_store, keep.PEPPER).read()
    current = await PolicyHistory(bare_store).turns()
    assert kept is not None
    assert content_hash(kept.files) == current[0].generation
