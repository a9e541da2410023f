"""The state and key directories that the settings name: where the store is, and the modes of its files (R21).

Kubernetes' fsGroup opens each file of a volume to the group, at every mount. So the sidecar closes its own files anew.
"""

from collections.abc import Iterator

from sidecar.config.settings import Settings
from sidecar.config.sources import mask
from sidecar.server.audit_exporter import audit_file
from sidecar.sources import last_known_good
from sidecar.sources.private_files import GROUP, GROUP_WRITE, close_to_group
from sidecar.store.embedded.embedded import FOLDER


def has_embedded(settings: Settings) -> bool:
    """Whether the state directory holds a store."""
    return (settings.state_dir / FOLDER).is_dir()


def store_place(settings: Settings) -> str:
    """Where the store of these settings is, without its secret."""
    return str(settings.state_dir.absolute() / FOLDER) if settings.redis_url is None else mask(settings.redis_url)


def close_keys_and_state(settings: Settings) -> Iterator[str]:
    """Yields a warning for each file and directory that was open. State that the group can only read is left so."""
    state = (last_known_good.NAME, audit_file(settings.state_dir).name, FOLDER)
    yield from close_to_group(settings.state_dir, state, bits=GROUP_WRITE)
    yield from close_to_group(settings.keys_dir, bits=GROUP)
