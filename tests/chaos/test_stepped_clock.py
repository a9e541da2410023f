"""The stepped clock itself: the wall clock of a process follows it, and its waits and its monotonic clock do not."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.stepped_clock import NoCompilerError, SteppedClock

CHILD = """
import datetime, json, sys, threading, time
for _ in range(2):
    begun = time.monotonic()
    threading.Event().wait(0.05)
    time.sleep(0.05)
    waited = time.monotonic() - begun
    print(json.dumps([time.time(), datetime.datetime.now(datetime.UTC).timestamp(), waited]), flush=True)
    sys.stdin.readline()
"""


def test_the_wall_clock_is_stepped_and_waits_are_not(tmp_path: Path) -> None:
    try:
        clock = SteppedClock(tmp_path, "a")
    except NoCompilerError as missing:
        pytest.skip(str(missing))
    clock.step(-3600.0)
    words = [sys.executable, "-c", CHILD]
    with clock.applied(), subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for seconds, following in ((-3600.0, 90.5), (90.5, 0.0)):
            wall, shown, waited = json.loads(child.stdout.readline())
            assert abs(wall - time.time() - seconds) < 5
            assert abs(shown - wall) < 5
            assert 0.1 <= waited < 5
            clock.step(following)
            child.stdin.write("\n")
            child.stdin.flush()
        assert child.wait(10) == 0
