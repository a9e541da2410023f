"""Verification of the whole audit: files among themselves, the store against files, one test per kind of tampering."""

import json
from select import PIPE_BUF

import pytest

from sidecar.domain.users import Actor
from sidecar.store.audit import SYSTEM, Audit, log_of
from sidecar.store.audit_chain import AuditRow, ChainHead, chained, checkpoint, genesis
from sidecar.store.audit_export import SIGNED_LOGS, AuditFile, AuditGapError, Exporter, rows_after, sealed_head
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
        return await check(store, files or (place,), KEY)

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
    report = await check(store, (), KEY)
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
    report = await check(store, (place,), CheckpointKey(Pepper(b"x" * 32)))
    assert any("is invalid" in detail for detail in details(report))
    assert SYSTEM == ""


# Sets of exports ------------------------------------------------------------------------------------------------------


async def test_R32_overlapping_and_repeated_exports_are_one_audit(town, export, checked, place, tmp_path):
    await export()
    early = tmp_path / "early.jsonl"
    early.write_bytes(place.read_bytes())
    await town.grant("ada@example.com")
    await export()
    report = await checked(place, early, place)
    assert report.findings == ()
    assert (report.rows, report.repeated) == (6, 11)


async def test_R32_rows_of_another_store_are_findings(export, checked, place, tmp_path):
    """The same deployment, another store: its keys sign both, only the rows differ."""
    await export()
    row = AuditRow(1, 1, "keys.rotated", "", "kid", None, None, "cli", "")
    for log, detail in (
        ("acc_aaaaaaaaaaaa", "the store has no such account: the rows are of another store"),
        (SYSTEM, "the store has no rows 1 to 1: they are of another store, or it lost them"),
    ):
        line, head = chained(log, genesis(log), row)
        other = tmp_path / "other.jsonl"
        other.write_bytes(line + checkpoint({log: head}, at=1, sign=KEY.sign))
        assert details(await checked(place, other)) == [detail]


async def test_R32_rows_that_the_store_has_otherwise_are_findings(town, export, checked, place, store, account):
    """The store was put back and went on with other rows; the files are of the time before."""
    await export()
    sealed = await sealed_head(store, account)
    await town.grant("ada@example.com")
    (row,) = await rows_after(store, account, sealed.seq, 1)
    line, _ = chained(account, sealed, type(row)(**{**_fields(row), "actor": "usr_before"}))
    place.write_bytes(place.read_bytes() + line)
    assert details(await checked()) == ["the store has another row with this number"]


async def test_R32_an_export_of_one_account_has_no_other(export, store, place, account):
    await Audit(store).note("keys.rotated", Actor.operator(), target="kid")
    await export()
    report = await check(store, (place,), KEY, only=account)
    assert details(report) == ["the rows are of another account"]
    own = [line for line in place.read_bytes().splitlines(keepends=True) if b'"log":""' not in line]
    place.write_bytes(b"".join(own))
    report = await check(store, (place,), KEY, only=account)
    assert (report.findings, report.logs, report.rows) == ((), 1, 5)


def cri(line):
    """Frame as Kubernetes' runtimes write it, a long line in two parts."""
    at = b"2026-11-30T10:00:00.1Z stdout "
    return at + b"P " + line[:40] + b"\n" + at + b"F " + line[40:]


def docker(line):
    def part(text):
        return json.dumps({"log": text, "stream": "stdout", "time": "2026-11-30T10:00:00.1Z"}).encode() + b"\n"

    return part(line[:40].decode()) + part(line[40:].decode())


NOISE = [
    b'{"decision":"allow","path":"/x","seq":1,"reason":"allowed","user":"usr_1"}\n',
    b"Traceback (most recent):" * 3 + b"\n",
]


@pytest.mark.parametrize("frame", [bytes, cri, docker])
async def test_R32_an_audit_among_other_output_is_found(export, place, store, account, frame):
    await export()
    lines = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(b"".join(frame(line) for line in [*NOISE, *lines[:2], *NOISE, *lines[2:]]))
    report = await check(store, (place,), KEY, mixed=True)
    assert (report.findings, report.rows, report.checkpoints) == ((), 5, 1)
    place.write_bytes(b"".join(frame(line) for line in [*NOISE, lines[0], *lines[2:]]))
    (finding,) = (await check(store, (place,), KEY, mixed=True)).findings
    assert finding.detail == "rows 2 to 2 are missing"
    assert finding.place == f"{place}:{4 if frame is bytes else 8}"


async def test_R32_a_deleted_accounts_log_is_still_judged(export, checked, place, store):
    await export()
    await store.change("DEL", "sc:{p00}:names")
    place.write_bytes(b"")
    assert details(await checked()) == ["rows 1 to 5 were exported and are missing from these files"]


# The exporter ---------------------------------------------------------------------------------------------------------


class Failing:
    """Sink whose calls with the numbers ``failures`` fail."""

    def __init__(self, sink, failures):
        self.sink, self.failures, self.calls = sink, failures, 0

    async def write(self, lines):
        self.calls += 1
        if self.calls in self.failures:
            raise OSError("no")
        await self.sink.write(lines)


@pytest.mark.parametrize("failures", [{1}, {2}, {1, 2}, {2, 3}])
async def test_R32_a_failing_sink_loses_no_row_and_no_signature(store, place, checked, clock, failures):
    """The first write has the rows, the next the checkpoint. Another sidecar continues at once."""
    sink = Failing(AuditFile(place), failures)
    for attempt in range(len(failures)):
        with pytest.raises(OSError, match="no"):
            await Exporter(store, sink, id=f"pod-{attempt}", sign=KEY.sign, clock=clock.time).export()
    await Exporter(store, sink, id="pod-last", sign=KEY.sign, clock=clock.time).export()
    report = await checked()
    assert (report.findings, report.rows, report.checkpoints) == ((), 5, 1)


async def test_R32_a_gap_in_one_log_stops_no_other(store, place, account):
    await Audit(store).note("keys.rotated", Actor.operator(), target="kid")
    await Audit(store).note("keys.rotated", Actor.operator(), target="kid")
    await store.change("XDEL", "sc:{p00}:sys", "1-0")
    with pytest.raises(AuditGapError, match="the store has no row 1"):
        await Exporter(store, AuditFile(place), id="a", sign=KEY.sign).export()
    assert (await sealed_head(store, account)).seq == 5
    assert b"checkpoint" in place.read_bytes()


def test_R32_a_line_of_many_logs_fits_a_pipes_atomic_write():
    heads = {f"acc_{number:012}": ChainHead(10**9, "f" * 64) for number in range(SIGNED_LOGS)}
    assert len(checkpoint(heads, at=10**13, sign=KEY.sign)) <= PIPE_BUF
