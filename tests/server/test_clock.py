"""The clock of leases goes on while the host sleeps: no test can make it sleep, but that kernel clock does."""

import sys
import time

from sidecar.server.clock import since_boot


def test_it_is_the_clock_that_counts_sleep() -> None:
    kind = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
    before = time.clock_gettime(kind)
    assert before <= since_boot() <= time.clock_gettime(kind)
