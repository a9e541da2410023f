"""Watcher of the files of SIDECAR_REDIS_URL_FILE and SIDECAR_REDIS_SENTINEL_PASSWORD_FILE while serving.

They are read every second and at SIGHUP. New connections must prove to lead to the same store before the old ones are
closed. An invalid file, or a server that rejects the connections, leaves the old ones in use. Each cause is logged once
as an error, and sets the metric ``sidecar_store_url_rejected``. A rejected URL is tried again until it succeeds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from sidecar.store.connection import Store, StoreMismatchError, StoreUnavailableError
from sidecar.store.servers.address import StoreAddressError
from sidecar.telemetry.app_log import logger

POLL_SECONDS: Final = 1.0
URL: Final = "SIDECAR_REDIS_URL"
PASSWORD: Final = "SIDECAR_REDIS_SENTINEL_PASSWORD"  # noqa: S105 (the setting's name)

_log = logger("store")


class StoreUrlWatch:
    """Watcher of the store's URL.

    ``files``, ``used``: by setting, its file and the text in use. ``take_over`` verifies a store and puts it in use.
    ``rejected`` receives 1 while the files are rejected, else 0.
    """

    def __init__(
        self,
        files: Mapping[str, Path | None],
        used: Mapping[str, str | None],
        *,
        lone_master: bool,
        take_over: Callable[[Store], Awaitable[None]],
        rejected: Callable[[int], None],
    ) -> None:
        self._files = {name: path for name, path in files.items() if path is not None}
        self._used = used
        self._lone_master = lone_master
        self._take_over = take_over
        self._rejected = rejected
        self._complaint = ""
        self._reading = asyncio.Lock()

    async def watch(self) -> None:
        """Read every second, until cancelled."""
        while self._files:
            await asyncio.sleep(POLL_SECONDS)
            await self.read()

    async def read(self) -> None:
        """Read the files now, and use new contents. Returns after the old connections are released."""
        async with self._reading:
            try:
                found = {**self._used, **await asyncio.to_thread(_contents, self._files)}
                if found != self._used:
                    await self._use(found)
            except (StoreAddressError, StoreMismatchError, StoreUnavailableError) as problem:
                self._reject(str(problem))
                return
            self._complaint = ""
            self._rejected(0)

    async def _use(self, found: Mapping[str, str | None]) -> None:
        """Take over the store. After StoreAddressError, StoreMismatchError or StoreUnavailableError nothing has
        changed."""
        other = Store.at(found[URL] or "", sentinel_password=found[PASSWORD])
        other.lone_master = self._lone_master
        try:
            await self._take_over(other)
        except BaseException:
            await other.close()
            raise
        self._used = found
        _log.info("store URL changed", store=other.where)

    def _reject(self, complaint: str) -> None:
        self._rejected(1)
        if complaint != self._complaint:
            files = [f"{name}_FILE={path}" for name, path in self._files.items()]
            _log.error("store URL rejected; the previous one stays in use", problem=complaint, files=files)
        self._complaint = complaint


def _contents(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the text per setting. Raises StoreAddressError."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = path.read_bytes().decode().rstrip("\r\n")
        except OSError as error:
            raise StoreAddressError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise StoreAddressError(f"{path}: is not UTF-8") from None
        if not found[name]:
            raise StoreAddressError(f"{path}: is empty: write the store's URL, or the Sentinels' password")
    return found
