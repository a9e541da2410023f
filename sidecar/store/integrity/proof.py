"""Proof of R46: distinguishes the known store from an empty, another or an older one, by partition.

Pure comparison of the feed position reached by this process, the store's reply at that moment, and the meta record
that the settings require. `Fleet` requests the proof twice per lease, `Feed` after each new connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.store.codec import items, pairs
from sidecar.store.integrity.partition_state import PartitionState

NO_ENTRY: Final = "0-0"
"""Id before the first entry of a stream."""

RESTORING: Final = "restoring"
"""Field of a partition's meta record while a restore is incomplete."""
META_FIELDS: Final = ("schema", "demo", "issuer", "audience", "pepper")
_SETTINGS: Final = {"issuer": "SIDECAR_ISSUER", "audience": "SIDECAR_AUDIENCE", "pepper": "SIDECAR_KEYS_DIR"}


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Last applied change: data set id, change number, and id of its entry in the stream.
    ``ancestors``: ids of the data sets before this one, replaced by a restore or a recovery."""

    data_set: str
    n: int
    entry: str
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreProof:
    """Reply of the store. ``known``: number of the requested entry, None when the feed lacks it. ``first``, ``last``:
    numbers of the feed's oldest and newest entries, None when it is empty. ``n``: None when the counter is gone.
    ``lost``: lost changes are being recovered. ``recovered``: recoveries that gave the partition another data set."""

    data_set: str
    n: int | None
    known: int | None
    first: int | None
    last: int | None
    meta: Mapping[str, str]
    lost: bool = False
    recovered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProofResult:
    """Result of the proof. ``state`` None: undecided, the feed is behind. ``trimmed``: the feed must restart at its
    end. ``repair``: the counter or the data set id is gone and can be rewritten from the known position."""

    state: PartitionState | None
    reason: str = ""
    trimmed: bool = False
    repair: bool = False


def proof_of(reply: Mapping[str, Any]) -> StoreProof:
    """Return the reply of ``register.lua`` or ``feed_tail.lua`` as a value."""
    return StoreProof(
        data_set=str(reply["gen"]),
        n=_number(reply["n"]),
        known=_number(reply["mine"]),
        first=_number(reply["first"]),
        last=_number(reply["last"]),
        meta={str(field): str(value) for field, value in pairs(reply["meta"])},
        lost=bool(_number(reply.get("lost"))),
        recovered=tuple(str(each) for each in items(reply.get("recovered"))),
    )


def evaluate(known: FeedPosition | None, found: StoreProof, meta: Mapping[str, str]) -> ProofResult:
    """Compare the store with the known one. ``meta``: required fields; ``known`` None: no change was applied yet."""
    verdict = _evaluate(known, found, meta)
    if found.lost and verdict.state is PartitionState.OK:
        return ProofResult(
            PartitionState.RECOVERING, "lost changes are being recovered", verdict.trimmed, verdict.repair
        )
    return verdict


def _evaluate(known: FeedPosition | None, found: StoreProof, meta: Mapping[str, str]) -> ProofResult:
    if problem := _meta_problem(found, meta):
        return ProofResult(PartitionState.CHANGED, problem)
    if known is None:
        return (
            ProofResult(PartitionState.OK)
            if found.data_set
            else ProofResult(PartitionState.CHANGED, "its data set has no id")
        )
    proven = found.known == known.n or (known.entry == NO_ENTRY and found.n == known.n)
    if found.data_set != known.data_set:
        return _other_data_set(known, found, proven=proven)
    if found.n is None and found.last == known.n and proven:
        return ProofResult(PartitionState.OK, repair=True)
    if (found.n or 0) < known.n:
        return ProofResult(PartitionState.REGRESSED, f"its feed is at change {found.n or 0}, change {known.n} was seen")
    if proven or known.entry == NO_ENTRY:
        return ProofResult(PartitionState.OK)
    if _is_trimmed(known, found):
        return ProofResult(PartitionState.OK, trimmed=True)
    return ProofResult(
        PartitionState.REGRESSED, f"its feed has no change {known.n} any more, or another one under that number"
    )


def _other_data_set(known: FeedPosition, found: StoreProof, *, proven: bool) -> ProofResult:
    if not found.data_set and proven:
        return ProofResult(PartitionState.OK, repair=True)
    if found.data_set in known.ancestors:
        return ProofResult(PartitionState.REGRESSED, f"its data set dates from before change {known.n}, which was seen")
    if proven and found.n is not None and found.n > known.n:
        return ProofResult(None, "it holds another data set, not announced in the feed yet")
    if not found.data_set and not found.n:
        return ProofResult(PartitionState.CHANGED, "it is empty: its data set is gone")
    return ProofResult(PartitionState.CHANGED, "it holds another data set than the one in use")


def _is_trimmed(known: FeedPosition, found: StoreProof) -> bool:
    """Return whether the feed lost only its oldest entries, the known one among them."""
    if found.first is None:
        return found.n == known.n
    return found.first > known.n


def _meta_problem(found: StoreProof, meta: Mapping[str, str]) -> str:
    if not meta:
        return ""
    if not found.meta:
        if not found.data_set and not found.n:
            return "it is empty: data set and meta record are gone"
        return "its meta record is gone: run `sidecar fsck --repair`"
    for field in META_FIELDS:
        wanted, there = meta.get(field), found.meta.get(field)
        if wanted is None or wanted == there:
            continue
        setting = f": set {_SETTINGS[field]} to match, or use another store" if field in _SETTINGS else ""
        if field == "pepper":
            return f"its meta record names another pepper than this sidecar's{setting}"
        return f"its meta record has {field} {there!r}, this sidecar {wanted!r}{setting}"
    return ""


def _number(text: Any) -> int | None:
    return None if text in ("", None) else int(float(text))
