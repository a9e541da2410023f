"""Last good policy in the store, for a pod with rejected files and an empty state directory (R25).

One record in partition 0: id, revision, packed files, the text of their signature, and a code, which is an HMAC under
the pepper over the four. A writer of Redis without the pepper can put back an earlier record, and make none. Readers
verify the signature where one is required, and compile the files again.
"""

import asyncio
import base64
import hmac
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.policy.generation import content_hash
from sidecar.policy.transfer.packing import MAX_BYTES, UnpackError, pack, unpack
from sidecar.store import keys
from sidecar.store.codec import integer
from sidecar.store.connection import Store
from sidecar.tokens.opaque import Pepper, Purpose


class LastGoodPolicyError(Exception):
    """Raised for a record that is not of this deployment, was changed, or has no valid signature. One sentence."""


@dataclass(frozen=True, slots=True)
class LastGoodFiles:
    """Files of an authentic record. ``signature``: text of policy.sig, or empty; not verified here."""

    files: Mapping[str, bytes]
    signature: str


@dataclass(frozen=True, slots=True)
class _Record:
    """Fields as they are stored; empty texts without a record. ``files``: packed, compressed, in base64."""

    id: str
    n: str
    files: str
    signature: str
    code: str = ""

    def expected_code(self, pepper: Pepper) -> str:
        return pepper.mac(Purpose.LAST_GOOD_POLICY, self.id, self.n, self.files, self.signature).hex()

    def is_authentic(self, pepper: Pepper) -> bool:
        expected = self.expected_code(pepper).encode("ascii")
        return hmac.compare_digest(self.code.encode("utf-8", "replace"), expected)


class LastGoodPolicy:
    """Operations on the record. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store, pepper: Pepper) -> None:
        self._store = store
        self._pepper = pepper

    async def keep(self, generation: str, files: Mapping[str, bytes], signature: str = "") -> bool:
        """Store the files if ``generation`` is the newest one. Returns False for files above MAX_BYTES.

        ``signature``: empty where none is required. A sidecar without SIDECAR_POLICY_KEYS removes none of equal files.
        """
        text = await asyncio.to_thread(_text, files)  # large ones take longer than checks may wait
        if text is None:
            return False
        stored = await self._record()
        is_same = (stored.id, stored.files) == (generation, text) and signature in (stored.signature, "")
        if is_same and stored.is_authentic(self._pepper):
            return True
        revision = str(integer(await self._store.command("GET", f"{keys.feed(0)}:n") or 0))
        code = _Record(generation, revision, text, signature).expected_code(self._pepper)
        await self._store.run(
            "policy_keep", [_generations()], [generation, revision, code, text, signature], write=True
        )
        return True

    async def read(self) -> LastGoodFiles | None:
        """Return the files, or None without a record. Raises LastGoodPolicyError for a record without a valid code."""
        stored = await self._record()
        if stored == _Record("", "", "", ""):
            return None
        if not stored.is_authentic(self._pepper):
            raise LastGoodPolicyError(
                "the store's last good policy has no valid code: it was changed, or is of another pepper"
            )
        try:
            files = unpack(zlib.decompress(base64.b64decode(stored.files)))
        except (ValueError, zlib.error, UnpackError):
            raise LastGoodPolicyError("the store's last good policy cannot be unpacked") from None
        if content_hash(files) != stored.id:
            raise LastGoodPolicyError(f"the store's last good policy is not generation {stored.id}")
        return LastGoodFiles(files, stored.signature)

    async def _record(self) -> _Record:
        """Return the record, read at one moment. Past the gate: a start reads before the proof."""
        names = ("id", "n", "files", "signature", "code")
        return _Record(*(str(one or "") for one in await self._store.read_anyway("HMGET", _key(), *names)))


def _text(files: Mapping[str, bytes]) -> str | None:
    """Return the packed files, compressed; None above MAX_BYTES."""
    packed = pack(files)
    return None if len(packed) > MAX_BYTES else base64.b64encode(zlib.compress(packed)).decode("ascii")


def _generations() -> str:
    return f"sc:{keys.tag(0)}:policy"


def _key() -> str:
    return f"{_generations()}:good"
