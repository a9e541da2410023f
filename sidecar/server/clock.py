"""The clock of whatever may be used for so long and no longer: leases, rates, limits."""

import sys
import time
from functools import partial
from typing import Final

_CLOCK: Final = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC

# time.monotonic stands still while the host sleeps, and a copy of a live record would be good for as long after that.
since_boot: Final = partial(time.clock_gettime, _CLOCK)
"""Seconds since some start; goes on while the host sleeps."""
