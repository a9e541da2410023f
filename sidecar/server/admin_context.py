"""Store, keys and services of ``serve`` for an operator's command, without the listeners.

Uses the embedded store of a running sidecar, or starts that store for the command. Rejects the store of a demo (R23)
and a store with another pepper. A missing store is made only with the caller's consent: in
another working directory the same command would use a second, empty store.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sidecar.config.settings import Settings
from sidecar.identity.hashing import Hashing
from sidecar.identity.services import IdentityServices
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.server.container_identity import operator_identity
from sidecar.server.state_files import has_embedded, store_place
from sidecar.sources.key_files import PEPPER, LoadedKeys, key_problems, load_or_create
from sidecar.sources.policy_files import read_policy_files
from sidecar.sources.policy_location import PolicyLocation
from sidecar.sources.private_files import check_private_directory
from sidecar.store.connection import Store, StoreMismatchError
from sidecar.store.embedded.embedded import EmbeddedServer
from sidecar.store.maintenance.migrate import Migrated, migrate
from sidecar.store.maintenance.startup_checks import holds_data
from sidecar.tokens.opaque import Pepper

PATIENCE: Final = 10.0
"""Timeout of an operator's store requests, in seconds. Longer than a check's, because an operator on a slow link can
wait."""


class PolicyFilesError(Exception):
    """The policy files do not compile. One sentence."""


@dataclass(frozen=True, slots=True)
class AdminContext:
    settings: Settings
    store: Store
    people: IdentityServices
    pepper: Pepper
    migrated: Migrated | None = None


class NoStoreError(Exception):
    """No store exists at the configured place. ``where``: that place, for the operator."""

    def __init__(self, where: str) -> None:
        super().__init__(f"there is no store in {where}")
        self.where = where


def _never(where: str) -> None:
    raise NoStoreError(where)


Consent = Callable[[str], None]
"""Called with the store's place before a store is made there. Raises an exception to prevent it."""


@asynccontextmanager
async def operating(
    settings: Settings, consent: Consent = _never, *, repair: bool = False, migrating: bool = False
) -> AsyncIterator[AdminContext]:
    """Open the store and build the operator's services.

    ``repair``: rewrite a lost meta record. ``migrating``: first migrate an older schema to this version's.

    Raises StoreUnavailableError, StoreMismatchError, KeyFileError, and NoStoreError when ``consent`` does not allow a
    new store.
    """
    async with AsyncExitStack() as stack:
        found = _keys(settings)
        fresh = settings.redis_url is None and not has_embedded(settings)
        if fresh:
            consent(store_place(settings))
        store = await Store.open(
            await _url(settings, stack),
            read_timeout=PATIENCE,
            write_timeout=PATIENCE,
            sentinel_password=settings.redis_sentinel_password,
        )
        store.lone_master = settings.redis_lone_master
        stack.push_async_callback(store.close)
        meta = await store.meta()
        if not meta and not fresh and not await holds_data(store):
            consent(store.where)
        if found is None and "pepper" in meta:
            raise StoreMismatchError(
                f"the store at {store.where} holds passwords made with a pepper, and {settings.keys_dir} has none: "
                "point SIDECAR_KEYS_DIR at the keys that belong to this store"
            )
        keys = found or load_or_create(settings.keys_dir, group_read=settings.keys_group_read)
        # Issuer and audience are neither set nor compared here: the serving sidecars do that.
        migrated = await migrate(store, keys.pepper) if migrating else None
        await store.check_meta(pepper=keys.pepper.identity, repair=repair)
        hashing = Hashing(keys.pepper)
        stack.callback(hashing.close)
        yield AdminContext(settings, store, operator_identity(settings, keys, store, hashing), keys.pepper, migrated)


def _keys(settings: Settings) -> LoadedKeys | None:
    """Return None when no keys exist yet."""
    with key_problems(settings.keys_dir):
        if not settings.keys_dir.exists():
            return None
        check_private_directory(settings.keys_dir, group_read=settings.keys_group_read)
        made = (settings.keys_dir / PEPPER).exists()
    return load_or_create(settings.keys_dir, group_read=settings.keys_group_read) if made else None


async def operating_warnings(operator: AdminContext) -> tuple[str, ...]:
    """Return the warnings about the store's configuration, with the text that ``serve`` logs."""
    return await operator.store.check_meta()


def generation(settings: Settings) -> Generation:
    """Compile the policy files, for R11 and the list of roles. Raises PolicyFilesError."""
    files = read_policy_files(settings.policy_dir, settings.model)
    compiled = compile_policy(files.files, proof=ProofScope.START, problems=files.diagnostics)
    if compiled.generation is not None:
        return compiled.generation
    first, *more = (found for found in compiled.diagnostics if found.is_error)
    others = f" (and {len(more)} more)" if more else ""
    shown = PolicyLocation(settings.policy_dir, settings.model).shown(first)
    raise PolicyFilesError(f"the policy does not compile: {shown}{others}; see sidecar policy check")


async def _url(settings: Settings, stack: AsyncExitStack) -> str:
    if settings.redis_url is not None:
        return settings.redis_url
    embedded = await EmbeddedServer.acquire(settings.state_dir)
    stack.push_async_callback(embedded.stop)
    return embedded.url
