"""Generation of the store that this state directory keeps: its record, and the files of the last good policy."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.pdp.policy_signatures import kept_counter
from sidecar.policy.generation import content_hash
from sidecar.sources import last_known_good
from sidecar.sources.kept_generation import keep_record, kept_record
from sidecar.sources.private_files import PrivateFileError
from sidecar.store.generation_records import ActiveRecord, GenerationTerms, active_of
from sidecar.telemetry.app_log import logger
from sidecar.tokens.opaque import Pepper

_log = logger("policy")


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """Kept record, and its files if they are those of the record. ``counter``: also of local signed files."""

    record: ActiveRecord | None = None
    files: Mapping[str, bytes] | None = None
    counter: int = 0


async def load_kept(state_dir: Path, pepper: Pepper) -> KeptPolicy:
    """Return what the state directory keeps."""
    try:
        fields = await asyncio.to_thread(kept_record, state_dir)
        files = await asyncio.to_thread(last_known_good.kept, state_dir)
    except (OSError, PrivateFileError) as problem:
        _log.error("the stored last good policy is unusable", error=str(problem))
        return KeptPolicy()
    counter = kept_counter(fields or {})
    record = active_of(fields) if fields else None
    if record is None or not record.is_authentic(pepper):
        return KeptPolicy(counter=counter)
    own = files is not None and content_hash(files) == record.terms.id
    return KeptPolicy(record, files if own else None, counter)


async def store_kept(state_dir: Path, record: ActiveRecord, files: Mapping[str, bytes]) -> None:
    """Keep a generation for a start without the store, and its counter for a store that went back (R44).

    A full or read-only state directory is only logged.
    """
    try:
        await asyncio.to_thread(last_known_good.keep, state_dir, files)
        await asyncio.to_thread(keep_record, state_dir, record.fields())
    except OSError as error:
        _log.error("the last good policy could not be stored", error=error.strerror)


def went_back(its: GenerationTerms, kept: ActiveRecord | None, floor: int) -> str:
    """Return the problem of a store with an older record than the kept one. Both counters are named (R44)."""
    mine = f"{kept.terms.counter} ({kept.terms.id})" if kept else str(floor)
    return (
        f"the store went back: its active generation {its.id} has counter {its.counter}, and the counter kept here is "
        f"{mine}: run `sidecar policy apply`"
    )
