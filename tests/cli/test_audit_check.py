"""Verification of the whole audit: files among themselves, the store against files, one test per kind of tampering."""

import json

import pytest

from sidecar.domain.users import Actor
from sidecar.store.audit import SYSTEM, Audit, log_of
from sidecar.store.audit_export import AuditFile, Exporter
from sidecar.store.maintenance.audit_verify import check
from sidecar.tokens.audit_signing import CheckpointKey
from tests.fixtures import PEPPER, generation, hashing, issuer, town

__all__ = ["generation", "hashing", "issuer", "town"]

KEY = CheckpointKey(PEPPER)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def export(store, place, clock):
    """``await export()``: export as a running sidecar does every few seconds. ``keep``: rows that stay in the store."""

    async def run(path=place, keep=10_000, name="a"):
        clock.advance(1)
        exporter = Exporter(store, AuditFile(path), id=name, sign=KEY.sign, keep=keep, clock=clock.time)
        written = await exporter.export()
        await store.change("DEL", "sc:{p00}:exporter")
        return written

    return run


@pytest.fixture
async def account(town):
    ada = await town.found()
    for _ in range(3):
        await town.grant("ada@example.com")
    return ada.account


@pytest.fixture
def checked(store, place, account):
    async def run(*files):
        return await check(store, files or (place,), KEY, [account])

    return run


def details(report):
    return [finding.detail for finding in report.findings]


def rewritten(place, change):
    lines = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(b"".join(change(lines)))


async def test_R32_an_audit_that_nobody_touched_holds(town, store, export, checked):
    assert await export() > 0
    await Audit(store).note("keys.rotated", Actor.operator(), target="kid")
    await town.grant("ada@example.com")
    await export()
    await town.grant("ada@example.com")  # not exported yet
    report = await checked()
    assert (report.findings, report.logs, report.checkpoints) == ((), 2, 2)
    assert report.kept == report.rows + 1


async def test_R32_what_was_trimmed_after_its_export_is_not_missed(town, export, checked):
    for _ in range(3):
        await town.grant("ada@example.com")
        await export(keep=1)
    report = await checked()
    assert report.findings == ()
    assert report.kept < report.rows


async def test_R32_before_the_first_export_the_stores_numbers_suffice(checked, store, account, tmp_path):
    report = await check(store, (), KEY, [account])
    assert (report.findings, report.rows) == ((), 0)
    assert report.kept == 5


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda lines: [lines[0].replace(b"Acme", b"Evil"), *lines[1:]], "was changed: its hash differs"),
        (lambda lines: [*lines[:2], *lines[3:]], "rows 3 to 3 are missing"),
        (lambda lines: lines[1:], "rows 1 to 1 are missing"),
        (lambda lines: lines[:-2], "rows 5 to 5 were exported and are missing from these files"),
        (lambda lines: [], "rows 1 to 5 were exported and are missing from these files"),
        (lambda lines: [lines[0], lines[0][:20] + b"\n", *lines[1:]], "is not JSON"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b'"at":', b'"at":1')], "is invalid"),
        (lambda lines: [*lines[:2], lines[1], lines[0], *lines[2:]], ""),
    ],
)
async def test_R32_a_touched_file_is_found_out(export, checked, place, change, detail):
    await export()
    rewritten(place, change)
    found = details(await checked())
    assert any(detail in one for one in found) if detail else found == []


async def test_R32_a_file_cut_behind_its_checkpoint_is_detected(town, export, checked, place):
    await export()
    first = place.read_bytes()
    await town.grant("ada@example.com")
    await export()
    place.write_bytes(first)
    (finding,) = (await checked()).findings
    assert (finding.place, finding.detail) == ("store", "rows 6 to 6 were exported and are missing from these files")


async def test_R32_a_forged_end_is_another_than_the_store_sealed(town, export, checked, place, store, account):
    """An attacker with the file, but not the store, replaces the last row and its hash."""
    from sidecar.store.audit_chain import ChainHead, chained
    from sidecar.store.audit_export import rows_after

    await export()
    lines = place.read_bytes().splitlines(keepends=True)[:-1]
    (last,) = await rows_after(store, account, 4, 1)
    head = ChainHead(4, json.loads(lines[3])["hash"])
    forged, _ = chained(account, head, type(last)(**{**_fields(last), "actor": "usr_innocent"}))
    place.write_bytes(b"".join([*lines[:4], forged]))
    assert details(await checked()) == ["the store sealed another row with this number"]


def _fields(row):
    return {name: getattr(row, name) for name in type(row).__dataclass_fields__}


async def test_R32_a_row_changed_after_its_export_is_detected(export, checked, store, account):
    await export()
    log = log_of(account, store.partitions)
    (entry,) = await store.command("XRANGE", log, "3-0", "3-0")
    flat = entry[1]
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    rows = await store.command("XRANGE", log, "-", "+")
    await store.change("DEL", log)
    for entry_id, raw in rows:
        kept = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        kept = {**kept, "actor": "usr_innocent"} if entry_id == "3-0" else kept
        await store.change("XADD", log, entry_id, *[word for pair in kept.items() for word in pair])
    assert fields
    assert details(await checked()) == ["a row was changed after it was exported"]


@pytest.mark.parametrize(("gone", "detail"), [("3-0", "has no row 3"), ("5-0", "rows 5 to 5 were removed")])
async def test_R32_a_row_taken_out_of_the_store_is_found_out(export, checked, store, account, gone, detail):
    await export()
    await store.change("XDEL", log_of(account, store.partitions), gone)
    (found,) = details(await checked())
    assert detail in found


async def test_R32_sidecars_take_turns_and_their_files_are_one_audit(town, export, checked, tmp_path):
    one, two, three = (tmp_path / f"{name}.jsonl" for name in "abc")
    for path in (one, two, one, three, two, one):
        await town.grant("ada@example.com")
        await export(path, name=path.stem)
    assert (await checked(three, one, two)).findings == ()
    missing = details(await checked(one, three))
    assert any("are missing" in detail for detail in missing)


async def test_R32_an_audit_rotated_in_the_middle_is_still_one(town, export, checked, place, tmp_path):
    await export()
    old = tmp_path / "audit.jsonl.1"
    lines = place.read_bytes().splitlines(keepends=True)
    old.write_bytes(b"".join(lines[:3]))
    place.write_bytes(b"".join(lines[3:]))
    await town.grant("ada@example.com")
    await export()
    assert (await checked(place, old)).findings == ()


async def test_another_deployments_key_does_not_sign_ours(export, checked, store, place, account):
    from sidecar.tokens.opaque import Pepper

    await export()
    report = await check(store, (place,), CheckpointKey(Pepper(b"x" * 32)), [account])
    assert any("is invalid" in detail for detail in details(report))
    assert SYSTEM == ""
