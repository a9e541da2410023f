"""Aggregated metrics of several workers. They never decrease, because Prometheus takes a decrease for a restart.

A worker that does not respond counts with its last values. The counters of an ended worker stay in the sum; its gauges
do not.
"""

import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sidecar.telemetry.metrics import WorkersMetrics

LARGEST = frozenset(
    {
        "sidecar_policy_rejected",
        "sidecar_policy_behind_seconds",
        "sidecar_policy_last_reload_timestamp_seconds",
        "sidecar_trusted_issuers_rejected",
        "sidecar_issuer_keys_failing",
        "sidecar_issuer_keys_left_out",
        "sidecar_issuer_accounts_missing",
        "sidecar_tls_rejected",
        "sidecar_store_url_rejected",
        "sidecar_store_lag_seconds",
        "sidecar_store_state",
        "sidecar_store_warnings",
        "sidecar_build_info",
        "sidecar_policy_info",
        "sidecar_audit_export_age_seconds",
        "sidecar_signing_key_timestamp_seconds",
        "sidecar_fleet_members",
        "sidecar_store_memory_ratio",
        "sidecar_record_copies_age_seconds",
    }
)
"""Gauges aggregated as the maximum over the workers."""

SMALLEST = frozenset({"sidecar_tls_expiry_timestamp_seconds"})
"""Gauges aggregated as the minimum over the workers."""

ADDED = frozenset(
    {
        "sidecar_ready",
        "sidecar_hash_queue_depth",
        "sidecar_record_copies",
        "sidecar_connections",
        "sidecar_mails_waiting",
    }
)
"""Gauges that are added, as every counter is."""

COUNTED = ("counter", "histogram", "summary")

Sample = tuple[str, tuple[tuple[str, str], ...]]


class MetricsSum:
    """Sum of several expositions: counters, histograms and queues are added, states take the maximum."""

    def __init__(self) -> None:
        self._heads: dict[str, list[str]] = {}
        self._totals: dict[str, dict[Sample, float]] = {}

    def add(self, exposition: str, *, ended: bool = False) -> None:
        """Add an exposition. ``ended``: only its counters, for a worker that has ended."""
        for family in text_string_to_metric_families(exposition):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            if ended and family.type not in COUNTED and not name.endswith("_created"):
                continue
            self._heads.setdefault(name, [f"# HELP {name} {family.documentation}", f"# TYPE {name} {family.type}"])
            totals = self._totals.setdefault(name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                totals[key] = _both(sample.name, totals[key], sample.value) if key in totals else sample.value

    def exposition(self) -> str:
        lines = [
            line
            for name, head in self._heads.items()
            for line in (*head, *(_line(key, value) for key, value in self._totals[name].items()))
        ]
        return "\n".join([*lines, ""])


def _both(name: str, one: float, other: float) -> float:
    if name in SMALLEST or name.endswith("_created"):
        return min(one, other)  # a sum is as old as its oldest part
    return max(one, other) if name in LARGEST else one + other


def _line(key: Sample, value: float) -> str:
    name, labels = key
    shown = ",".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels)
    return f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


class MetricsAggregator:
    """Metrics of the live workers by private socket, and the sum of the ended ones."""

    def __init__(self) -> None:
        self._received: dict[Path, str] = {}
        self._ended = MetricsSum()
        self._ours = WorkersMetrics()

    def begins(self, socket: Path, *, anew: bool = False) -> None:
        """Add a worker. ``anew``: it replaces an ended one."""
        self._received[socket] = ""
        if anew:
            self._ours.restarts.inc()

    def ends(self, socket: Path) -> None:
        self._ended.add(self._received.pop(socket, ""), ended=True)

    def exposition(self, received: Iterable[tuple[Path, str]], *, pause_left: float = 0.0) -> bytes:
        """Update with the responses ``received``, and return the aggregate. Responses of ended workers are ignored."""
        answered = {socket: text for socket, text in received if text and socket in self._received}
        self._received |= answered
        self._ours.alive.set(len(answered))
        self._ours.pause_left.set(pause_left)
        total = deepcopy(self._ended)
        for text in self._received.values():
            total.add(text)
        return total.exposition().encode() + self._ours.exposition()
