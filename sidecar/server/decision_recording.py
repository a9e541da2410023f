"""Recorder of checks and decision log of one serving process."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from sidecar.config.settings import Settings
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.log_file import LogFile
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.task_supervision import supervised


class DecisionLogError(Exception):
    """The file of the decision log cannot be opened. One sentence."""


class DecisionRecording:
    """Recorder with its log. ``stack`` closes both. ``failed`` counts failures of the background task.

    ``kind``: class of the recorder, with or without traces.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        kind: type[CheckRecorder],
        stack: AsyncExitStack,
        failed: Callable[[str], None],
    ) -> None:
        """Open the log and start the recorder, in the running event loop. Raises DecisionLogError."""
        self._stack = stack
        self.rotate: Callable[[], None] = lambda: None
        """Reopens the file of the log."""
        wanted = settings.decision_log
        log = self._open(wanted.path, metrics.decision_log_dropped.inc) if wanted.enabled else None
        call_soon = asyncio.get_running_loop().call_soon
        self.recorder = kind(metrics, log, allows=wanted.allows, call_soon=call_soon)
        stack.callback(self.recorder.flush)
        # Runs to the end: responses are still sent while the listeners stop.
        keeping = asyncio.create_task(supervised("logbook", self.recorder.keep, failed=failed))
        stack.callback(keeping.cancel)

    def _open(self, path: Path | None, dropped: Callable[[int], None]) -> DecisionLog:
        try:
            file = LogFile(path)
        except OSError as error:
            raise DecisionLogError(f"decision log {path}: {error.strerror}") from None
        self._stack.callback(file.close)
        log = DecisionLog(file, dropped=dropped, reopen=file.reopen)
        self._stack.callback(log.close)
        self.rotate = log.rotate
        return log
