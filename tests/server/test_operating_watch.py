"""Sources of the metrics of operation, each with a value that a fault changes."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecar.config.settings import load
from sidecar.domain.users import UserId
from sidecar.identity.hash_limits import MailSource
from sidecar.identity.hashing import Hashing, HashParameters, Priority
from sidecar.identity.outbox import Outbox
from sidecar.server.operating_watch import FleetSize, copies_age, watch_export, watch_loop, watch_operation
from sidecar.server.served_certificate import ServedCertificate, certificate_expiry
from sidecar.store.audit_export import Exporter
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.live.record_cache import Lease
from sidecar.telemetry.metrics import Metrics
from sidecar.tokens.opaque import Pepper
from tests.server.certificates import make_pair


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics._registry.get_sample_value(name, labels)


def replica(now: float, leases: dict[int, Lease]) -> SimpleNamespace:
    records = SimpleNamespace(clock=lambda: now, lease_seconds=1.0, leases=leases)
    return SimpleNamespace(records=records, fleet=SimpleNamespace())


async def test_the_fleet_size_is_unknown_while_the_store_is_out() -> None:
    metrics, found = Metrics("1"), list[list[int]]([[1, 2, 3]])

    async def members() -> list[int]:
        if not found:
            raise StoreUnavailableError("out")
        return found.pop()

    fleet = FleetSize(metrics, members)
    await fleet.read()
    assert sample(metrics, "sidecar_fleet_members") == 3
    await fleet.read()
    assert sample(metrics, "sidecar_fleet_members") is None


async def test_a_blocked_event_loop_is_measured() -> None:
    observed: list[float] = []
    task = asyncio.create_task(watch_loop(observed.append))
    await asyncio.sleep(0)
    time.sleep(0.4)  # a callback that blocks the loop
    while not observed:
        await asyncio.sleep(0.01)
    task.cancel()
    assert 0.1 < observed[0] < 10


def test_the_age_of_copies_is_that_of_the_worst_partition() -> None:
    fresh, old = Lease(until=100.5), Lease(until=90.0)
    assert copies_age(replica(100.0, {0: fresh})) == 0.5
    assert copies_age(replica(100.0, {0: fresh, 1: old})) == 11.0
    assert copies_age(replica(100.0, {})) == float("inf")


async def test_keys_memory_mails_and_revocations_are_read() -> None:
    metrics, live = Metrics("1"), replica(1.0, {})
    sent: list[object] = []
    outbox = Outbox(lambda mail: asyncio.sleep(0, sent.append(mail)))
    keyring = SimpleNamespace(keys=SimpleNamespace(made_at=1700000000))
    watch_operation(metrics, live=live, keyring=keyring, memory=SimpleNamespace(share=0.5), outbox=outbox)
    outbox.post(lambda: asyncio.sleep(0, ()), MailSource.USER)
    assert sample(metrics, "sidecar_signing_key_timestamp_seconds") == 1700000000
    assert sample(metrics, "sidecar_store_memory_ratio") == 0.5
    assert sample(metrics, "sidecar_mails_waiting", source="user") == 1
    live.fleet.on_incomplete()
    assert sample(metrics, "sidecar_revocations_incomplete_total") == 1


async def test_the_audit_is_old_while_its_export_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, ages = Metrics("1"), list[float]()
    exporter = Exporter(None, None, id="a", sign=lambda _text: "")  # type: ignore[arg-type]
    watch_export(metrics, exporter)
    exporter.exported_at -= 1000

    async def export() -> int:
        ages.append(sample(metrics, "sidecar_audit_export_age_seconds") or 0)
        if len(ages) < 3:
            raise OSError("full")
        return 0  # without the lease

    async def is_complete() -> bool:
        return len(ages) > 3

    monkeypatch.setattr(exporter, "export", export)
    monkeypatch.setattr(exporter, "is_complete", is_complete)
    task = asyncio.create_task(exporter.run(interval=0))
    while len(ages) < 5:
        await asyncio.sleep(0)
    task.cancel()
    assert all(age >= 1000 for age in ages[:4])
    assert ages[4] < 100


async def test_hashing_is_measured_with_its_wait() -> None:
    hashing = Hashing(Pepper(bytes(32)), parameters=HashParameters(1, 8), threads=1)
    seconds: list[float] = []
    hashing.on_hashed = seconds.append
    user = UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb")
    await asyncio.gather(*(hashing.hash(Priority.PROVEN, user, "otter") for _ in range(3)))
    hashing.close()
    assert len(seconds) == 3
    assert all(one > 0 for one in seconds)


def test_the_end_of_the_certificate_is_read_again_at_renewal(tmp_path: Path) -> None:
    chain, key = make_pair(tmp_path)
    settings = load({}, {"SIDECAR_TLS_CERT": str(chain), "SIDECAR_TLS_KEY": str(key)})
    metrics = Metrics("1")
    served = ServedCertificate(settings, metrics)
    name = "sidecar_tls_expiry_timestamp_seconds"
    first = sample(metrics, name)
    assert first is not None
    assert abs(first - time.time() - 86400) < 100
    key.write_text("no key")
    chain.write_text("no certificate")
    served.renew([])
    assert (sample(metrics, name), sample(metrics, "sidecar_tls_rejected")) == (first, 1)
    time.sleep(1.1)  # certificates have whole seconds
    make_pair(tmp_path)
    served.renew([])
    assert sample(metrics, "sidecar_tls_rejected") == 0
    assert (sample(metrics, name) or 0) > first


def test_a_file_without_a_certificate_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    assert certificate_expiry(tmp_path / "empty.pem") is None
    assert certificate_expiry(tmp_path / "missing.pem") is None
