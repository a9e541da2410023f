"""Last good policy in the store, for a pod with rejected files and an empty state directory (R25).

One record in partition 0: id, revision, packed files, and a code, which is an HMAC under the pepper over the three. A
writer of Redis without the pepper can put back an earlier record, and make none. Readers compile the files again.
"""

import asyncio
import base64
import hmac
import json
import zlib
from collections.abc import Mapping
from typing import Final

from sidecar.policy.generation import content_hash
from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.tokens.opaque import Pepper, Purpose

MAX_BYTES: Final = 8 * 1024 * 1024
"""Largest policy, packed, that the store keeps."""


class LastGoodPolicyError(Exception):
    """Raised for a record that is not of this deployment, or was changed. One sentence."""


class LastGoodPolicy:
    """Operations on the record. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store, pepper: Pepper) -> None:
        self._store = store
        self._pepper = pepper

    async def keep(self, generation: str, files: Mapping[str, bytes]) -> bool:
        """Store the files if ``generation`` is the newest one. Returns False for files above MAX_BYTES."""
        text = await asyncio.to_thread(_text, files)  # large ones take longer than checks may wait
        if text is None:
            return False
        stored = await self._fields()
        if stored == (generation, stored[1], self._code(generation, stored[1], text), text):
            return True
        revision = str(integer(await self._store.command("GET", f"{keys.feed(0)}:n") or 0))
        words = [generation, revision, self._code(generation, revision, text), text]
        await self._store.run("policy_keep", [_generations()], words, write=True)
        return True

    async def read(self) -> dict[str, bytes] | None:
        """Return the files, or None without a record. Raises LastGoodPolicyError for a record without a valid code."""
        fields = await self._fields()
        if not any(fields):
            return None
        generation, revision, code, text = fields
        expected = self._code(generation, revision, text)
        if not hmac.compare_digest(code.encode("utf-8", "replace"), expected.encode("ascii")):
            raise LastGoodPolicyError(
                "the store's last good policy has no valid code: it was changed, or is of another pepper"
            )
        files = _unpack(zlib.decompress(base64.b64decode(text)))
        if content_hash(files) != generation:
            raise LastGoodPolicyError(f"the store's last good policy is not generation {generation}")
        return files

    async def _fields(self) -> tuple[str, str, str, str]:
        """Return id, revision, code and files; empty without them. Past the gate: a start reads before the proof."""
        found = [await self._store.read_anyway("HGET", _key(), name) for name in ("id", "n", "code", "files")]
        generation, revision, code, text = (str(one or "") for one in found)
        return generation, revision, code, text

    def _code(self, generation: str, revision: str, text: str) -> str:
        return self._pepper.mac(Purpose.LAST_GOOD_POLICY, generation, revision, text).hex()


def _text(files: Mapping[str, bytes]) -> str | None:
    """Return a line of JSON with names and lengths, then the bytes of the files, compressed; None above MAX_BYTES."""
    header = json.dumps([[name, len(files[name])] for name in sorted(files)]).encode("ascii")
    packed = b"".join((header, b"\n", *(files[name] for name in sorted(files))))
    return None if len(packed) > MAX_BYTES else base64.b64encode(zlib.compress(packed)).decode("ascii")


def _unpack(packed: bytes) -> dict[str, bytes]:
    header, _, content = packed.partition(b"\n")
    files: dict[str, bytes] = {}
    for name, length in json.loads(header):
        files[str(name)], content = content[:length], content[length:]
    return files


def _generations() -> str:
    return f"sc:{keys.tag(0)}:policy"


def _key() -> str:
    return f"{_generations()}:good"
