"""Audit export while serving: one sidecar of the fleet writes the chained, signed rows to its state directory (R32)."""

from pathlib import Path

from sidecar.store.audit_export import AuditFile, Exporter
from sidecar.store.connection import Store
from sidecar.telemetry.app_log import logger
from sidecar.tokens.audit_signing import CheckpointKey
from sidecar.tokens.opaque import Pepper

FILE = "audit.jsonl"

_log = logger("audit")


class ExportAlarm:
    """Logs a lasting export problem once, not at each attempt."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, problem: Exception) -> None:
        reported = str(problem)
        if reported != self._last:
            _log.error("the audit cannot be exported; its rows stay in the store", problem=reported)
        self._last = reported


def audit_file(state_dir: Path) -> Path:
    return state_dir / FILE


def exporter(store: Store, state_dir: Path, pepper: Pepper, *, id: str) -> Exporter:  # noqa: A002 (the word for it)
    """Return the exporter. ``id`` names this process in the fleet."""
    key = CheckpointKey(pepper)
    return Exporter(store, AuditFile(audit_file(state_dir)), id=id, sign=key.sign, on_problem=ExportAlarm())
