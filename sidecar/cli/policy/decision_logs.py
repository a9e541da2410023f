"""Reader of decision logs: files or standard input → counts, and the skipped lines with their reasons."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, Final

from sidecar.cli.output import usage_error
from sidecar.policy.usage.counts import NOT_JSON, LogLine, UsageCounts, parse
from sidecar.policy.usage.report import Skipped

MAX_LINE: Final = 1024 * 1024
"""Maximum bytes of a line. A decision has about 350, unless its request id is long."""

MAX_REASONS: Final = 1000
"""Maximum different reasons of skipped lines. Some hold a name of the line."""

_PACKED: Final = {
    b"\x1f\x8b": ("gzip", "gzip -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"\xfd7zXZ\x00": ("xz", "xz -dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
"""First bytes → format, and the command that unpacks it."""


@dataclass(slots=True)
class LogReader:
    """Reader with the limits of one call. ``since``: no older line counts. ``endpoints``: no other counts, if given."""

    counts: UsageCounts
    since: datetime | None = None
    endpoints: Collection[str] = ()
    skipped: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def read(self, logs: Sequence[str]) -> list[Skipped]:
        """Read the logs, ``-`` as standard input. Raises CliError without any decision of the policy."""
        for log in logs:
            with _opened(log) as file:
                for number, line in enumerate(_lines(file, log), start=1):
                    self._take(log, number, line)
        skipped = [Skipped(log, first, reason, times) for (log, reason), (first, times) in self.skipped.items()]
        if not self.counts.decisions:
            raise usage_error(f"{', '.join(logs)}: no decision of this policy{_what_instead(skipped, self.counts)}")
        return skipped

    def _take(self, log: str, number: int, line: bytes) -> None:
        if not line.strip():
            return
        found = parse(line) if len(line) <= MAX_LINE else f"longer than {MAX_LINE} bytes"
        reason = found if isinstance(found, str) else self._reject(found) or self.counts.add(found)
        if reason is None:
            return
        if reason == NOT_JSON and not line.endswith(b"\n"):
            reason = "cut off: neither JSON nor a line end"
        if (log, reason) not in self.skipped and len(self.skipped) >= MAX_REASONS:
            reason = "of further reasons"
        first, times = self.skipped.get((log, reason), (number, 0))
        self.skipped[log, reason] = (first, times + 1)

    def _reject(self, line: LogLine) -> str | None:
        if self.endpoints and line.endpoint not in self.endpoints:
            return f"of another endpoint: {line.endpoint[:64] or 'none'}"
        if self.since is None:
            return None
        try:
            moment = datetime.fromisoformat(line.time)
        except ValueError:
            return "without a readable time, which --since needs"
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return None if moment >= self.since else "older than --since"


def reject_packed(start: bytes, log: str, verb: str) -> None:
    """Raise CliError for the first bytes of a compressed file, with the command that unpacks it."""
    packed = next((how for magic, how in _PACKED.items() if start.startswith(magic)), None)
    if packed is not None:
        unpacked = f"{packed[1]} {log} | sidecar policy {verb} -"
        raise usage_error(f"{log}:1: compressed with {packed[0]}; unpack it: {unpacked}")


def _lines(file: BinaryIO, log: str) -> Iterator[bytes]:
    """Yield the lines. A longer one than MAX_LINE is cut. Raises CliError for a compressed or unreadable file."""
    try:
        line = file.readline(MAX_LINE + 1)
        reject_packed(line, log, "usage")
        while line:
            yield line
            while len(line) > MAX_LINE and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE + 1)
            line = file.readline(MAX_LINE + 1)
    except OSError as error:
        raise usage_error(f"{log}: {error.strerror}") from error


def _what_instead(skipped: Sequence[Skipped], counts: UsageCounts) -> str:
    found = [f"{one.file}:{one.line}: {one.reason} ({one.lines} lines)" for one in skipped[:5]]
    if counts.others:
        found.append(f"{counts.others.total()} decisions that depend on no rule")
    return f": {'; '.join(found) or 'it is empty'}"


@contextmanager
def _opened(log: str) -> Iterator[BinaryIO]:
    if log == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(log, "rb")  # noqa: PTH123, SIM115 - the name as it was given; closed below
    except OSError as error:
        raise usage_error(f"{log}: {error.strerror}") from error
    with file:
        yield file
