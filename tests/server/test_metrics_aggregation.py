"""Sums over workers: they never decrease, also when a worker is silent or gone."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sidecar.domain.decision import Decision, Reason
from sidecar.server.workers.metrics_aggregation import MetricsAggregator
from sidecar.telemetry.metrics import IssuerHealth, Metrics

ONE, TWO, THREE = Path("/0-0.sock"), Path("/1-1.sock"), Path("/0-2.sock")


def received(checks: int, *, rejected: int = 0, created: float | None = None) -> str:
    """Return the metrics of a worker that has counted that many checks."""
    metrics = Metrics("1")
    counter = metrics.checks.counter("/check", Decision(Reason.ALLOWED, generation=""), "billing")
    for _ in range(checks):
        metrics.checks.count([counter], [0.0001])
        metrics.logins.labels("allowed").inc()
    metrics.policy_rejected.set(rejected)
    metrics.trusted_issuers_rejected.set(rejected)
    metrics.watch_issuers(lambda: [IssuerHealth("https://login.example", failing=True, left_out=2, missing=1)])
    metrics.watch_hash_queue(lambda: 3)
    text = metrics.exposition().decode()
    if created is not None:
        lines = [line if "_created{" not in line else f"{line.split(' ')[0]} {created}" for line in text.splitlines()]
        text = "\n".join([*lines, ""])
    return text


def read(exposition: bytes, name: str) -> float:
    families = text_string_to_metric_families(exposition.decode())
    found = [sample.value for family in families for sample in family.samples if sample.name == name]
    assert found, name
    return sum(found)


def aggregator() -> MetricsAggregator:
    made = MetricsAggregator()
    made.begins(ONE)
    made.begins(TWO)
    return made


def test_counters_add_up_and_states_are_at_their_worst() -> None:
    text = aggregator().exposition([(ONE, received(3, rejected=1)), (TWO, received(4, rejected=1))])
    assert read(text, "sidecar_checks_total") == 7
    assert read(text, "sidecar_check_duration_seconds_count") == 7
    assert read(text, "sidecar_logins_total") == 7
    assert read(text, "sidecar_hash_queue_depth") == 6
    assert read(text, "sidecar_policy_rejected") == 1
    assert read(text, "sidecar_trusted_issuers_rejected") == 1
    assert read(text, "sidecar_issuer_keys_failing") == 1
    assert read(text, "sidecar_issuer_keys_left_out") == 2
    assert read(text, "sidecar_issuer_accounts_missing") == 1
    assert read(text, "sidecar_workers") == 2
    assert read(text, "sidecar_worker_restarts_total") == 0


def test_who_is_silent_counts_with_what_it_said_last() -> None:
    book = aggregator()
    book.exposition([(ONE, received(3)), (TWO, received(4))])
    text = book.exposition([(ONE, ""), (TWO, received(5))])
    assert read(text, "sidecar_checks_total") == 8
    assert read(text, "sidecar_workers") == 1


def test_counters_of_an_exited_worker_stay_and_its_gauges_go() -> None:
    book = aggregator()
    book.exposition([(ONE, received(3, rejected=1)), (TWO, received(4))])
    book.ends(ONE)
    book.begins(THREE, anew=True)
    text = book.exposition([(THREE, received(1)), (TWO, received(4))])
    assert read(text, "sidecar_checks_total") == 8
    assert read(text, "sidecar_check_duration_seconds_count") == 8
    assert read(text, "sidecar_check_duration_seconds_bucket") >= 8
    assert read(text, "sidecar_hash_queue_depth") == 6
    assert read(text, "sidecar_policy_rejected") == 0
    assert read(text, "sidecar_worker_restarts_total") == 1


def test_a_late_scrape_of_an_exited_worker_is_not_counted_twice() -> None:
    book = aggregator()
    book.exposition([(ONE, received(3)), (TWO, received(4))])
    book.ends(ONE)
    book.begins(THREE, anew=True)
    assert read(book.exposition([(ONE, received(3)), (TWO, received(4))]), "sidecar_checks_total") == 7
    assert read(book.exposition([(THREE, received(1)), (TWO, received(4))]), "sidecar_checks_total") == 8


def test_a_sum_is_as_old_as_its_oldest_part() -> None:
    book = aggregator()
    book.exposition([(ONE, received(1, created=100)), (TWO, received(1, created=200))])
    book.ends(ONE)
    book.begins(THREE, anew=True)
    text = book.exposition([(THREE, received(1, created=300)), (TWO, received(1, created=200))])
    assert read(text, "sidecar_logins_created") == 100


def test_every_family_stands_in_one_place() -> None:
    book = aggregator()
    book.exposition([(ONE, received(3)), (TWO, "")])
    book.ends(ONE)
    types = [line for line in book.exposition([(TWO, received(1))]).decode().splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
