"""Wall clock of one process that a test steps, by a small preloaded library. Time that only runs is not touched.

Libfaketime also changes waits: `time.sleep` and `Event.wait` of threads then never end.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

OFFSET: Final = "TEST_CLOCK_OFFSET"
"""Variable with the path of 8 bytes: nanoseconds that are added to the wall clock."""

SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *offset;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("TEST_CLOCK_OFFSET");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file >= 0) {
    void *at = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) offset = at;
    close(file);
  }
}

int clock_gettime(clockid_t id, struct timespec *now) {
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(id, now);
  if (!failed && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
    long long at = now->tv_sec * 1000000000LL + now->tv_nsec + *offset;
    now->tv_sec = at / 1000000000LL;
    now->tv_nsec = at % 1000000000LL;
  }
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec at;
  (void)zone;
  int failed = clock_gettime(CLOCK_REALTIME, &at);
  now->tv_sec = at.tv_sec;
  now->tv_usec = at.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *kept) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (kept) *kept = at.tv_sec;
  return at.tv_sec;
}
"""


class NoCompilerError(Exception):
    """No C compiler is installed. The message names the package."""


class SteppedClock:
    """Clock of the processes that start inside `applied`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._library = _built(folder)
        self._offset = folder / f"clock-{name}"
        self.seconds = 0.0
        self.step(0.0)

    def step(self, seconds: float) -> None:
        """Set the difference from the machine's clock. In place, because the processes have mapped the file."""
        self.seconds = seconds
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(struct.pack("q", round(seconds * 1e9)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let processes that start meanwhile have this clock."""
        before = {name: os.environ.get(name) for name in ("LD_PRELOAD", OFFSET)}
        os.environ |= {"LD_PRELOAD": str(self._library), OFFSET: str(self._offset)}
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _built(folder: Path) -> Path:
    library = folder / "stepped-clock.so"
    if library.exists():
        return library
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompilerError("clock steps need a C compiler: apt-get install gcc libc6-dev")
    source = folder / "stepped-clock.c"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library
