"""``python -m tests.bench.quiet serve``: the sidecar without decision log and check metrics, to measure their cost.

There is no setting for it, on purpose: an authorization without a log is not offered.
"""

from sidecar.__main__ import main
from sidecar.telemetry.check_recorder import CheckRecorder


def nothing(*_: object) -> None:
    pass


if __name__ == "__main__":
    CheckRecorder.record = nothing  # type: ignore[assignment, method-assign]  # on purpose, see above
    main()
