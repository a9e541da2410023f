"""Preflight checks for `sidecar doctor`: load files and bind addresses with the code that `serve` uses.

Fetches the keys of outside issuers. Creates and removes nothing, and does not disturb a running sidecar. An address in
use probably belongs to that sidecar.
"""

import asyncio
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.config.parsers import Address, UnixAddress
from sidecar.config.settings import Settings
from sidecar.server import span_export
from sidecar.server.container_identity import MailSetupError, outbox_of
from sidecar.server.grpc_listener import library
from sidecar.server.issuer_registry import read_issuers, read_keys
from sidecar.server.listeners import ListenerError, bind_all, check_folder, is_stale, tls_context
from sidecar.sources.trusted_issuers import TrustedIssuersError
from sidecar.telemetry.app_log import silent
from sidecar.telemetry.log_file import try_to_open


class CheckStatus(StrEnum):
    """Result of a check. A WARNING does not prevent a start, or may be intended."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """Result of one preflight check."""

    check: str
    status: CheckStatus
    detail: str


def rehearse(settings: Settings) -> Iterator[CheckFinding]:
    """Run the checks for the features that the settings enable."""
    yield from _tls(settings)
    yield from _issuers(settings)
    yield from _mails(settings)
    yield from _decision_log(settings)
    yield from _audit_sink(settings)
    yield from _tracing(settings)
    yield from _listeners(settings)


def _tls(settings: Settings) -> Iterator[CheckFinding]:
    try:
        if tls_context(settings) is not None:
            yield CheckFinding("tls", CheckStatus.OK, f"{settings.tls_cert} and its key load")
    except ListenerError as problem:
        yield CheckFinding("tls", CheckStatus.FAULT, str(problem))


def _issuers(settings: Settings) -> Iterator[CheckFinding]:
    try:
        found = read_issuers(settings)
    except TrustedIssuersError as wrong:
        yield from (CheckFinding("issuers", CheckStatus.FAULT, problem) for problem in wrong.problems)
        return
    if not found:
        return
    with silent():  # the same problems are reported here
        keys = asyncio.run(read_keys(found))
    for issuer, one in keys.items():
        problems = (one.problem,) if one.problem else one.left_out
        yield from (
            CheckFinding("issuers", CheckStatus.WARNING, f"{issuer}: its keys: {problem}") for problem in problems
        )
        if not one.problem:
            yield CheckFinding("issuers", CheckStatus.OK, f"{issuer}: {len(one.kids)} keys")


def _mails(settings: Settings) -> Iterator[CheckFinding]:
    if settings.smtp_url is None or settings.mail_from is None:
        return  # only one of the two is set: the settings check reports it
    try:
        outbox_of(settings)
    except MailSetupError as problem:
        yield CheckFinding("mails", CheckStatus.FAULT, str(problem))
    else:
        yield CheckFinding("mails", CheckStatus.OK, f"from {settings.mail_from}")


def _decision_log(settings: Settings) -> Iterator[CheckFinding]:
    path = settings.decision_log.path
    if path is None:
        return
    try:
        try_to_open(path)
    except OSError as error:
        yield CheckFinding("decision log", CheckStatus.FAULT, f"{path}: {error.strerror}")
    else:
        yield CheckFinding("decision log", CheckStatus.OK, str(path))


def _audit_sink(settings: Settings) -> Iterator[CheckFinding]:
    """Check a file of its own. The state directory is created at the start, and a receiver would store a test."""
    if (path := settings.audit_sink.path) is None:
        return
    try:
        try_to_open(path)
    except OSError as error:
        yield CheckFinding("audit sink", CheckStatus.FAULT, f"{path}: {error.strerror}")
    else:
        yield CheckFinding("audit sink", CheckStatus.OK, str(path))


def _tracing(settings: Settings) -> Iterator[CheckFinding]:
    if settings.otel_sample is None:
        return
    try:
        span_export.library()
    except span_export.TracingError as problem:
        yield CheckFinding("tracing", CheckStatus.FAULT, str(problem))
        return
    off = span_export.switched_off(os.environ)
    detail = "turned off by OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER" if off else "the exporter loads"
    yield CheckFinding("tracing", CheckStatus.WARNING if off else CheckStatus.OK, detail)


def _listeners(settings: Settings) -> Iterator[CheckFinding]:
    wanted: dict[str, Address | None] = {
        "public": settings.listen,
        "check": settings.check_listen,
        "grpc": settings.grpc_listen,
        "ops": settings.ops_listen,
    }
    for name, address in wanted.items():
        if address is not None:
            yield _listener(f"{name} listener", address)
    if settings.grpc_listen is not None:
        try:
            library()
        except ListenerError as problem:
            yield CheckFinding("grpc listener", CheckStatus.FAULT, str(problem))


def _listener(check: str, address: Address) -> CheckFinding:
    try:
        if isinstance(address, UnixAddress):
            _try_unix(address.path)
        else:
            for bound in bind_all(address):
                bound.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return CheckFinding(check, CheckStatus.WARNING, f"{address} is in use, probably by a running sidecar")
        return CheckFinding(check, CheckStatus.FAULT, f"cannot listen on {address}: {error.strerror or error}")
    return CheckFinding(check, CheckStatus.OK, str(address))


def _try_unix(path: Path) -> None:
    """Raise the OSError that `bind` would raise. Does not bind, because clients would find the socket."""
    check_folder(path.parent)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"the directory {path.parent} is not writable")
    if path.is_socket():
        if not is_stale(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    elif path.exists() or path.is_symlink():
        raise FileExistsError(errno.EEXIST, "the path exists and is not a socket: remove it, or choose another path")
