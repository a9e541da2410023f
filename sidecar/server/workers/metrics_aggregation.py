"""The metrics of several workers as one, which never go backwards: Prometheus takes a counter that does for a restart.

A worker that does not answer just now counts with what it said last. What one had counted that has ended stays in the
sum; its states do not.
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
        "sidecar_store_lag_seconds",
        "sidecar_store_state",
        "sidecar_store_warnings",
        "sidecar_build_info",
        "sidecar_policy_info",
    }
)
"""Of these the worst worker counts; everything else is added up."""

COUNTED = ("counter", "histogram", "summary")

Sample = tuple[str, tuple[tuple[str, str], ...]]


class Sum:
    """Several expositions as one: counters, histograms and queues added, states at their worst."""

    def __init__(self) -> None:
        self._heads: dict[str, list[str]] = {}
        self._totals: dict[str, dict[Sample, float]] = {}

    def add(self, exposition: str, *, ended: bool = False) -> None:
        """``ended``: only what goes on counting without the worker that said it."""
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
    if name.endswith("_created"):
        return min(one, other)  # a sum is as old as the oldest part of it
    return max(one, other) if name in LARGEST else one + other


def _line(key: Sample, value: float) -> str:
    name, labels = key
    shown = ",".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels)
    return f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


class Ledger:
    """What every worker counted, by the socket that is its own: those of today, and the sum of those before them."""

    def __init__(self) -> None:
        self._said: dict[Path, str] = {}
        self._ended = Sum()
        self._ours = WorkersMetrics()

    def begins(self, socket: Path, *, anew: bool = False) -> None:
        """``anew``: in the place of one that ended."""
        self._said[socket] = ""
        if anew:
            self._ours.restarts.inc()

    def ends(self, socket: Path) -> None:
        self._ended.add(self._said.pop(socket, ""), ended=True)

    def exposition(self, heard: Iterable[tuple[Path, str]], *, pause_left: float = 0.0) -> bytes:
        """With what those said who answered just now. An answer of one that has ended since is too late to count."""
        answered = {socket: text for socket, text in heard if text and socket in self._said}
        self._said |= answered
        self._ours.alive.set(len(answered))
        self._ours.pause_left.set(pause_left)
        total = deepcopy(self._ended)
        for text in self._said.values():
            total.add(text)
        return total.exposition().encode() + self._ours.exposition()
