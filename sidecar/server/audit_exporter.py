"""Audit export while serving: one sidecar of the fleet writes the chained, signed rows to its sink (R32).

The sink is the file of the state directory, another file, standard output, or an HTTP receiver. The last two outlive a
pod whose disk ends with it.
"""

import asyncio
from pathlib import Path
from typing import Final

import aiohttp

from sidecar.config.settings import Settings
from sidecar.sources.forward_proxy import InvalidProxyError, proxy_for
from sidecar.store.audit_export import AuditFile, Exporter, ExportSink
from sidecar.store.connection import Store
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.log_file import LogFile
from sidecar.tokens.audit_signing import CheckpointKey
from sidecar.tokens.opaque import Pepper

FILE = "audit.jsonl"
SEND_SECONDS: Final = 10.0

_log = logger("audit")


class SinkError(OSError):
    """The sink did not take all lines. The message names sink and cause."""


class AuditStdout:
    """Standard output of this process. Whole lines of at most PIPE_BUF bytes are not mixed with other output."""

    def __init__(self) -> None:
        self._output = LogFile(None)

    async def write(self, lines: bytes) -> None:
        taken = await asyncio.to_thread(self._output.write, lines)
        if taken < len(lines):
            raise SinkError(
                f"standard output took {taken} of {len(lines)} bytes: its reader has ended, or its disk is full"
            )


class AuditReceiver:
    """HTTP receiver: a POST of JSON lines per batch. A status of 2xx means that the receiver has stored them.

    ``authorization``: value of that header. Redirects are not followed, cookies are not kept.
    """

    def __init__(self, url: str, authorization: str | None = None, *, seconds: float = SEND_SECONDS) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/x-ndjson"}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._seconds = seconds

    async def write(self, lines: bytes) -> None:
        """Send the lines. Raises SinkError for a failure: the rows are sent again, with the same ids."""
        try:
            status = await self._send(lines)
        except InvalidProxyError as problem:
            raise SinkError(f"{self._url}: {problem}") from None
        except TimeoutError:
            raise SinkError(f"{self._url}: no response within {self._seconds:g} s") from None
        except (aiohttp.ClientError, ValueError, OSError) as error:  # its text may contain the proxy's password
            raise SinkError(f"{self._url}: connection failed: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise SinkError(
                f"{self._url}: status {status} instead of 2xx: check the receiver and SIDECAR_AUDIT_SINK_AUTH"
            )

    async def _send(self, lines: bytes) -> int:
        proxy = proxy_for(self._url)
        through, headers = (proxy.url, proxy.headers) if proxy else (None, None)
        patience = aiohttp.ClientTimeout(total=self._seconds)
        async with (
            aiohttp.ClientSession(timeout=patience, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.post(
                self._url,
                data=lines,
                headers=self._headers,
                allow_redirects=False,
                proxy=through,
                proxy_headers=headers,
            ) as response,
        ):
            return response.status


class ExportAlarm:
    """Logs a lasting export problem once, not at each attempt, and its end."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, problem: Exception) -> None:
        reported = str(problem)
        if reported != self._last:
            _log.error("the audit cannot be exported; its rows stay in the store", problem=reported)
        self._last = reported

    def end(self) -> None:
        """Log that an earlier problem has ended, or that another sidecar exports."""
        if self._last:
            _log.info("the audit is exported again, here or by another sidecar")
        self._last = ""


def audit_file(state_dir: Path) -> Path:
    return state_dir / FILE


def own_export(settings: Settings) -> Path | None:
    """Return the file to which this sidecar exports; None if the sink is no file."""
    sink = settings.audit_sink
    return None if sink.stdout or sink.url else sink.path or audit_file(settings.state_dir)


def exporter(store: Store, settings: Settings, pepper: Pepper, *, id: str) -> Exporter:  # noqa: A002 (the word for it)
    """Return the exporter. ``id`` names this process in the fleet."""
    key, alarm = CheckpointKey(pepper), ExportAlarm()
    return Exporter(store, _sink(settings), id=id, sign=key.sign, on_problem=alarm, on_success=alarm.end)


def _sink(settings: Settings) -> ExportSink:
    if settings.audit_sink.url is not None:
        return AuditReceiver(settings.audit_sink.url, settings.audit_sink_auth)
    file = own_export(settings)
    return AuditStdout() if file is None else AuditFile(file)
