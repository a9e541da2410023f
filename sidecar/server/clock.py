"""Clock for expiring values: leases, rates, limits."""

import sys
import time
from functools import partial
from typing import Final

_CLOCK: Final = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC

# time.monotonic stops while the host sleeps, which would extend the lease of a cached record by the time asleep.
since_boot: Final = partial(time.clock_gettime, _CLOCK)
"""Return seconds since an arbitrary start. Continues while the host sleeps."""
