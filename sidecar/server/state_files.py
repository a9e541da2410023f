"""State and key directories: place of the store, and file modes (R21).

Kubernetes' fsGroup opens each file of a volume to the group at every mount. The sidecar therefore closes its own files
again at each start.
"""

from collections.abc import Iterator

from sidecar.config.settings import Settings
from sidecar.config.sources import mask
from sidecar.server.audit_exporter import audit_file
from sidecar.sources import kept_generation, last_known_good
from sidecar.sources.private_files import GROUP, GROUP_WRITE, close_to_group
from sidecar.store.embedded.embedded import FOLDER


def has_embedded(settings: Settings) -> bool:
    """Return True when the state directory holds a store."""
    return (settings.state_dir / FOLDER).is_dir()


def store_place(settings: Settings) -> str:
    """Return the place of the configured store, without its secret."""
    return str(settings.state_dir.absolute() / FOLDER) if settings.redis_url is None else mask(settings.redis_url)


def close_keys_and_state(settings: Settings) -> Iterator[str]:
    """Remove group access; yield a warning per changed file and directory. Group-readable state stays readable."""
    state = (last_known_good.NAME, kept_generation.NAME, audit_file(settings.state_dir).name, FOLDER)
    yield from close_to_group(settings.state_dir, state, bits=GROUP_WRITE)
    yield from close_to_group(settings.keys_dir, bits=GROUP)
