"""Last good policy of a start: kept in the state directory, else in the store; compiled again before use (R25).

With SIDECAR_POLICY_KEYS, neither is served without a valid signature, nor with a counter below the kept one (R43, R44).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from sidecar.pdp.policy_signatures import FileSignature
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.transfer.packing import MAX_BYTES
from sidecar.sources import last_known_good
from sidecar.sources.private_files import PrivateFileError
from sidecar.store.last_good_policy import LastGoodPolicy, LastGoodPolicyError
from sidecar.telemetry.app_log import logger

ReadStored = Callable[[], Awaitable[Mapping[str, bytes] | None]]
"""Function that returns the store's copy, or None. Raises LastGoodPolicyError, StoreUnavailableError."""

_log = logger("policy")


class StoredLastGood:
    """Last good policy in the store, with the signature of its files where one is required."""

    def __init__(self, record: LastGoodPolicy, signature: FileSignature) -> None:
        self._record = record
        self._signature = signature

    async def read(self) -> Mapping[str, bytes] | None:
        """Return the files, or None. Raises LastGoodPolicyError, StoreUnavailableError."""
        found = await self._record.read()
        if found is None:
            return None
        if objection := await asyncio.to_thread(self._signature.take, found.signature, found.files):
            raise LastGoodPolicyError(objection)
        return found.files

    async def keep(self, generation: Generation) -> bool:
        """Keep a generation in force. Returns False if it has to be tried again: its signature has changed meanwhile.

        Raises StoreUnavailableError.
        """
        text = await asyncio.to_thread(self._signature.text_of, generation.files)
        if text is None:
            return False
        if not await self._record.keep(generation.id, generation.files, text):
            _log.warning("the policy is too large to be kept in the store", generation=generation.id, most=MAX_BYTES)
        return True


async def keep_last_good(state_dir: Path, files: Mapping[str, bytes], signature: FileSignature) -> None:
    """Store the last good files and their signature for a start with a bad file.

    A full or read-only state directory is only logged.
    """
    try:
        await asyncio.to_thread(last_known_good.keep, state_dir, files)
        await asyncio.to_thread(signature.keep, files)
    except OSError as error:
        _log.error("the last good policy could not be stored", error=error.strerror)


async def kept_last_good(state_dir: Path, signature: FileSignature) -> Generation | None:
    """Return the generation that the state directory keeps, or None. Its signature must hold, if one is required."""
    try:
        files = await asyncio.to_thread(last_known_good.kept, state_dir)
    except (OSError, PrivateFileError) as problem:
        _log.error("the stored last good policy is unusable", error=str(problem))
        return None
    if files is None:
        return None
    if objection := signature.objection_to_kept(files):
        _log.error("the stored last good policy is not served", error=objection)
        return None
    return await _compiled(files)


async def stored_last_good(read: ReadStored) -> Generation | None:
    """Return the generation that the store keeps, or None. Logs an error either way. Raises StoreUnavailableError."""
    try:
        files = await read()
    except LastGoodPolicyError as problem:
        _log.error("the store's last good policy is rejected", error=str(problem))
        return None
    if files is None:
        _log.error("the policy files are rejected, and neither this state directory nor the store keeps a good policy")
        return None
    generation = await _compiled(files)
    if generation is not None:
        _log.error(
            "the policy files are rejected, and this state directory keeps no good policy; the store's is served",
            generation=generation.id,
        )
    return generation


async def _compiled(files: Mapping[str, bytes]) -> Generation | None:
    compiled = await asyncio.to_thread(compile_policy, files, proof=ProofScope.START)
    if compiled.generation is None:
        first = next(found for found in compiled.diagnostics if found.is_error)
        _log.error("the stored last good policy no longer compiles", error=str(first))
    return compiled.generation
