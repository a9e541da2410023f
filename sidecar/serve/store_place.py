"""The place of the store that the settings name. Opens nothing."""

from sidecar.serve.places import mask
from sidecar.serve.settings import Settings
from sidecar.store.embedded import FOLDER


def has_embedded(settings: Settings) -> bool:
    """Whether the state directory holds a store."""
    return (settings.state_dir / FOLDER).is_dir()


def store_place(settings: Settings) -> str:
    """Where the store of these settings is, without its secret."""
    return str(settings.state_dir.absolute() / FOLDER) if settings.redis_url is None else mask(settings.redis_url)
