"""Generation of the store that this state directory keeps: its record, and the files of the last good policy."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sidecar.policy.generation import content_hash
from sidecar.sources import last_known_good
from sidecar.sources.kept_generation import keep_record, kept_record
from sidecar.sources.private_files import PrivateFileError
from sidecar.store.generation_records import ActiveRecord, active_of
from sidecar.telemetry.app_log import logger
from sidecar.tokens.opaque import Pepper

_log = logger("policy")


async def load_kept(state_dir: Path, pepper: Pepper) -> tuple[ActiveRecord | None, Mapping[str, bytes] | None]:
    """Return the record and its files. The files are None if those kept belong to another generation."""
    try:
        fields = await asyncio.to_thread(kept_record, state_dir)
        files = await asyncio.to_thread(last_known_good.kept, state_dir)
    except (OSError, PrivateFileError) as problem:
        _log.error("the stored last good policy is unusable", error=str(problem))
        return None, None
    record = active_of(fields) if fields else None
    if record is None or not record.is_authentic(pepper):
        return None, None
    return record, files if files is not None and content_hash(files) == record.terms.id else None


async def store_kept(state_dir: Path, record: ActiveRecord, files: Mapping[str, bytes]) -> None:
    """Keep a generation for a start without the store, and its counter for a store that went back (R44).

    A full or read-only state directory is only logged.
    """
    try:
        await asyncio.to_thread(last_known_good.keep, state_dir, files)
        await asyncio.to_thread(keep_record, state_dir, record.fields())
    except OSError as error:
        _log.error("the last good policy could not be stored", error=error.strerror)
