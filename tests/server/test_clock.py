"""The clock of leases runs while the host sleeps. No test can make the host sleep, but that kernel clock is
defined so.
"""

import sys
import time

from sidecar.server.clock import since_boot


def test_it_is_the_clock_that_counts_sleep() -> None:
    kind = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
    before = time.clock_gettime(kind)
    assert before <= since_boot() <= time.clock_gettime(kind)
