"""Settings that are valid alone, and unsafe or contradictory together (R23)."""

from collections.abc import Iterator

from sidecar.config.settings import Settings
from sidecar.config.sources import spell_env

DEMO_MARK = "demo"
"""Name of the file in the key directory that marks its keys as demo keys."""


def problems(settings: Settings) -> list[str]:
    """Return the reasons not to serve with these settings, each with its remedy (R23). Empty: start."""
    return [*_exposure(settings), *_pairs(settings), *_shared(settings), *_demo_keys(settings)]


def _demo_keys(settings: Settings) -> Iterator[str]:
    try:
        marked = (settings.keys_dir / DEMO_MARK).exists()
    except OSError as error:
        yield f"SIDECAR_KEYS_DIR={settings.keys_dir}: cannot be read: {error.strerror}"
        return
    if marked:
        yield f"SIDECAR_KEYS_DIR={settings.keys_dir}: contains demo keys: use others"


def _exposure(settings: Settings) -> Iterator[str]:
    secured = {"listen": settings.listen, "check_listen": settings.check_listen, "grpc_listen": settings.grpc_listen}
    listeners = {**secured, "ops_listen": settings.ops_listen}
    far = [name for name, at in listeners.items() if at is not None and not at.loopback]
    if not far:
        return
    names = ", ".join(f"{spell_env(name)}={listeners[name]}" for name in far)
    if settings.redis_url is None and not settings.embedded:
        yield f"{names}: beyond loopback the embedded store needs SIDECAR_EMBEDDED=true (or set SIDECAR_REDIS_URL)"
    bare = [name for name in far if name not in secured or settings.tls_cert is None]
    if bare and not settings.plaintext:
        names = ", ".join(f"{spell_env(name)}={listeners[name]}" for name in bare)
        remedy = "set SIDECAR_TLS_CERT and SIDECAR_TLS_KEY, or SIDECAR_PLAINTEXT=true"
        if bare == ["ops_listen"]:
            remedy = "it has no TLS: listen on loopback, or set SIDECAR_PLAINTEXT=true"
        yield f"{names}: beyond loopback without TLS: {remedy}"


def _shared(settings: Settings) -> Iterator[str]:
    """Yield a problem for port 0 with several workers: the system would choose another port for each."""
    for name in ("listen", "check_listen", "grpc_listen"):
        at = getattr(settings, name)
        if settings.workers > 1 and getattr(at, "port", None) == 0:
            yield f"{spell_env(name)}={at}: {settings.workers} workers need a fixed port: set one, or SIDECAR_WORKERS=1"


def _pairs(settings: Settings) -> Iterator[str]:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        yield "SIDECAR_TLS_CERT and SIDECAR_TLS_KEY: set both or neither"
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        yield "SIDECAR_TLS_CLIENT_CA needs SIDECAR_TLS_CERT and SIDECAR_TLS_KEY"
    if settings.redis_sentinel_password is not None and "+sentinel://" not in (settings.redis_url or ""):
        yield "SIDECAR_REDIS_SENTINEL_PASSWORD is for redis+sentinel:// and rediss+sentinel:// alone: remove it"
    if settings.audit_sink_auth is not None and settings.audit_sink.url is None:
        yield "SIDECAR_AUDIT_SINK_AUTH is for an https:// SIDECAR_AUDIT_SINK alone: remove it"
    if settings.smtp_url is not None and settings.mail_from is None:
        yield "SIDECAR_SMTP_URL needs SIDECAR_MAIL_FROM: mails need a sender"
    taken: dict[str, str] = {}
    for name in ("listen", "ops_listen", "check_listen", "grpc_listen"):
        at = getattr(settings, name)
        if at is None or getattr(at, "port", None) == 0:
            continue
        if str(at) in taken:
            yield f"{spell_env(name)}={at}: the address is already used by {taken[str(at)]}"
        taken[str(at)] = spell_env(name)
