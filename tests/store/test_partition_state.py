"""One state per partition, and exactly one log line per transition that an operator must see (R46, R49)."""

import pytest

from sidecar.store.errors import StoreUnavailableError
from sidecar.store.integrity import partition_state
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates, PartitionStatus, unavailable_share


class Log:
    def __init__(self):
        self.lines = []

    def error(self, event, **fields):
        self.lines.append((event, fields.get("state"), fields["partitions"], fields.get("reason")))

    def warning(self, event, **fields):
        self.lines.append((event, None, fields["partitions"], fields["seconds"]))


@pytest.fixture
def log(monkeypatch):
    found = Log()
    monkeypatch.setattr(partition_state, "_log", found)
    return found


@pytest.fixture
def states(clock):
    return PartitionStates(clock=clock.monotonic, later=lambda _delay, _callback: None)


def test_R46_a_start_without_trouble_writes_no_line(states, log):
    states.report(0, PartitionState.OK)
    states.settle()
    assert log.lines == []


def test_R46_one_line_down_and_one_up_with_the_whole_duration(states, log, clock):
    states.report(0, PartitionState.OK)
    states.report(0, PartitionState.OUT, "no answer")
    states.report(0, PartitionState.OUT, "no answer, again")
    states.settle()
    clock.advance(3)
    states.report(0, PartitionState.REFUSING, "NOREPLICAS")
    clock.advance(4)
    states.report(0, PartitionState.OK)
    states.settle()
    assert log.lines == [
        ("store unavailable", "out", ["00"], "no answer"),
        ("store available again", None, ["00"], 7.0),
    ]


@pytest.mark.parametrize("lost", [PartitionState.CHANGED, PartitionState.REGRESSED])
def test_R46_a_loss_found_during_an_outage_is_one_line_more(states, log, clock, lost):
    states.report(0, PartitionState.OK)
    states.report(0, PartitionState.OUT, "no answer")
    clock.advance(1)
    states.report(0, lost, "it is older")
    states.report(0, PartitionState.RECOVERING, "")
    clock.advance(1)
    states.report(0, PartitionState.OK)
    states.settle()
    assert [line[:2] for line in log.lines] == [
        ("store unavailable", "out"),
        ("store unavailable", lost),
        ("store available again", None),
    ]
    assert log.lines[-1][3] == 2.0


def test_R46_several_partitions_at_once_are_one_line(states, log):
    for partition in range(16):
        states.report(partition, PartitionState.OK)
        states.report(partition, PartitionState.OUT, "no answer")
    states.settle()
    assert log.lines == [("store unavailable", "out", [f"{p:02d}" for p in range(16)], "no answer")]


def test_the_lines_of_one_moment_are_gathered_once(clock):
    delays = []
    states = PartitionStates(clock=clock.monotonic, later=lambda delay, _callback: delays.append(delay))
    for partition in range(3):
        states.report(partition, PartitionState.OUT, "no answer")
    assert delays == [partition_state.GATHER_SECONDS]


def test_a_repeated_state_keeps_its_start_and_the_newest_reason(states, clock):
    begun = clock.monotonic()
    states.report(0, PartitionState.OUT, "one")
    clock.advance(5)
    states.report(0, PartitionState.OUT, "two")
    assert states.status(0) == PartitionStatus(PartitionState.OUT, "two", begun)


def test_a_regression_is_counted_when_it_begins(states):
    counted = []
    states.on_regression = counted.append
    states.report(2, PartitionState.REGRESSED, "older")
    states.report(2, PartitionState.REGRESSED, "older still")
    assert counted == [2]


def test_direct_reads_from_a_failed_partition_are_rejected(states):
    states.require(0)
    states.report(0, PartitionState.OUT, "no answer")
    with pytest.raises(StoreUnavailableError) as out:
        states.require(0)
    assert out.value.cause == "store_out"
    states.report(0, PartitionState.CHANGED, "it is empty")
    with pytest.raises(StoreUnavailableError, match="it is empty") as refused:
        states.require(0)
    assert refused.value.cause == "store_changed"
    states.require(1)


def test_R49_the_unavailable_share_counts_users_or_partitions():
    ok, out = PartitionStatus(PartitionState.OK, "", 0, readable=True), PartitionStatus(PartitionState.OUT, "", 0)
    full = PartitionStatus(PartitionState.REFUSING, "OOM", 0, readable=True)
    assert unavailable_share([(ok, 60), (out, 40)]) == 0.4
    assert unavailable_share([(ok, 0), (out, 40)]) == 1.0
    assert unavailable_share([(ok, 0), (out, 0)]) == 0.5
    assert unavailable_share([(full, 10)]) == 0.0
    assert unavailable_share([]) == 1.0


def test_a_store_that_is_full_is_read_and_named(states):
    states.report(0, PartitionState.REFUSING, "the store returned an error: OOM", readable=True)
    states.require(0)
    assert states.status(0).state is PartitionState.REFUSING
