"""Certificate in force: loaded at the start, and again at SIGHUP. Its end is a metric."""

from collections.abc import Iterable
from pathlib import Path

from sidecar.config.settings import Settings
from sidecar.server.grpc_listener import GrpcListener
from sidecar.server.listeners import Listener, ListenerError, tls_context
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.operating_metrics import WatchedGauge

_log = logger("server")


class ServedCertificate:
    """Certificate of the listeners. Its files are read when the sidecar starts and at each ``renew``."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._rejected = metrics.tls_rejected
        self._expiry = self._read_expiry()
        metrics.operation.watch(WatchedGauge.TLS_EXPIRY_TIME, lambda: self._expiry)

    def renew(self, listeners: Iterable[Listener | GrpcListener]) -> None:
        """Load the certificate and key again. An invalid pair leaves the current one in force."""
        try:
            tls = tls_context(self._settings)
            if tls is not None:
                for listener in listeners:
                    listener.renew(tls)
        except (ListenerError, OSError) as problem:
            _log.error("the certificate on disk cannot be used; the one in memory stays in force", problem=str(problem))
            self._rejected.set(1)
        else:
            self._expiry = self._read_expiry()
            self._rejected.set(0)

    def _read_expiry(self) -> float | None:
        """Return the end of the certificate on disk. None without TLS, or if a start would reject the file."""
        path = self._settings.tls_cert
        return None if path is None else certificate_expiry(path)


def certificate_expiry(path: Path) -> float | None:
    """Return the end of the first certificate of a PEM file in Unix seconds; None if there is none."""
    from cryptography import x509  # noqa: PLC0415 - only with TLS, because it takes milliseconds to import

    try:
        first = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None
    return first.not_valid_after_utc.timestamp()
