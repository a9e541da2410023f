"""R46: proofs that a partition is the known store, and insufficient ones. Pure, one row per case."""

import pytest

from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.integrity.proof import FeedPosition, ProofResult, StoreProof, evaluate, proof_of

KNOWN = FeedPosition("set-1", 7, "70-0")
META = {"schema": "1", "demo": "0", "issuer": "https://id.example", "audience": "dashboard", "pepper": "p1"}


def found(**other: object) -> StoreProof:
    """The known store at change 9, with the named differences."""
    base = {"data_set": "set-1", "n": 9, "known": 7, "first": 1, "last": 9, "meta": META}
    return StoreProof(**{**base, **other})  # type: ignore[arg-type]


OK = ProofResult(PartitionState.OK)


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (found(), PartitionState.OK, ""),
        (found(n=7, last=7), PartitionState.OK, ""),
        (found(data_set="", n=None, known=None, first=None, last=None, meta={}), PartitionState.CHANGED, "empty"),
        (found(data_set="", n=None, known=None, first=None, last=None), PartitionState.CHANGED, "empty"),
        (found(meta={}), PartitionState.CHANGED, "meta record is gone"),
        (found(data_set="set-2", known=None), PartitionState.CHANGED, "another data set"),
        (found(data_set="set-2", n=7, last=7), PartitionState.CHANGED, "another data set"),
        (found(n=6, known=None, last=6), PartitionState.REGRESSED, "change 6, change 7 was seen"),
        (found(n=None, known=None, last=None, first=None), PartitionState.REGRESSED, "change 0"),
        (found(known=None), PartitionState.REGRESSED, "no change 7"),
        (found(known=6), PartitionState.REGRESSED, "no change 7"),
        (found(meta={**META, "issuer": "https://other.example"}), PartitionState.CHANGED, "SIDECAR_ISSUER"),
        (found(meta={**META, "audience": "other"}), PartitionState.CHANGED, "SIDECAR_AUDIENCE"),
        (found(meta={**META, "pepper": "p2"}), PartitionState.CHANGED, "another pepper"),
        (found(meta={**META, "schema": "2"}), PartitionState.CHANGED, "schema"),
        (found(meta={**META, "demo": "1"}), PartitionState.CHANGED, "demo"),
    ],
)
def test_R46_each_answer_has_its_state(answer: StoreProof, state: PartitionState, reason: str) -> None:
    verdict = evaluate(KNOWN, answer, META)
    assert verdict.state is state
    assert reason in verdict.reason
    assert "p1" not in verdict.reason


def test_R46_another_data_set_ahead_of_the_feed_must_wait() -> None:
    assert evaluate(KNOWN, found(data_set="set-2"), META).state is None


def test_R46_a_trimmed_feed_is_no_loss() -> None:
    assert evaluate(KNOWN, found(known=None, first=8), META) == ProofResult(PartitionState.OK, trimmed=True)
    assert evaluate(KNOWN, found(n=7, known=None, first=None, last=None), META) == ProofResult(
        PartitionState.OK, trimmed=True
    )


def test_R46_a_lost_counter_or_id_at_a_known_entry_is_repaired() -> None:
    assert evaluate(KNOWN, found(n=None, last=7), META) == ProofResult(PartitionState.OK, repair=True)
    assert evaluate(KNOWN, found(data_set=""), META) == ProofResult(PartitionState.OK, repair=True)


def test_R46_before_the_first_entry_the_count_alone_proves() -> None:
    fresh = FeedPosition("set-1", 0, "0-0")
    empty = found(n=None, known=None, first=None, last=None)
    assert evaluate(fresh, empty, META) == OK
    assert (
        evaluate(fresh, found(data_set="set-2", n=0, known=None, first=None, last=None), META).state
        is not PartitionState.OK
    )


def test_R46_a_first_store_needs_its_meta_record_and_an_id() -> None:
    assert evaluate(None, found(), META) == OK
    assert evaluate(None, found(data_set=""), META).state is PartitionState.CHANGED
    assert evaluate(None, found(meta={}), META).state is PartitionState.CHANGED


@pytest.mark.parametrize("empty", [{}, []])
def test_an_answer_is_read_from_both_forms_of_an_empty_table(empty: object) -> None:
    reply = {"gen": "", "n": "", "mine": "", "first": "", "last": "", "meta": empty}
    assert proof_of(reply) == StoreProof("", None, None, None, None, {})
    full = {"gen": "g", "n": "9", "mine": 7, "first": "1.0", "last": "9", "meta": ["schema", "1"]}
    assert proof_of(full) == StoreProof("g", 9, 7, 1, 9, {"schema": "1"})
