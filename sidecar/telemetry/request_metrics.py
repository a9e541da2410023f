"""Metrics of the API: requests by endpoint and status, and their durations. Plain integers, as for checks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. A read takes about a millisecond, a sign-in 20 ms of hashing, a revocation up to one lease."""

_BOUNDS = (*map(str, REQUEST_BUCKETS), "+Inf")


class Durations:
    """Histogram of one endpoint. Not thread-safe."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.seconds = 0.0


class RequestCounter(Collector):
    """API requests by endpoint and status, and durations by endpoint. Not thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = defaultdict(int)
        self._durations: dict[str, Durations] = defaultdict(Durations)

    def count(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request. ``endpoint``: the path of its row in the router, or one word for all unknown paths."""
        self._counts[endpoint, status] += 1
        durations = self._durations[endpoint]
        durations.counts[bisect_left(REQUEST_BUCKETS, seconds)] += 1
        durations.seconds += seconds

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        requests = CounterMetricFamily("sidecar_http_requests", "API requests", labels=("endpoint", "status"))
        for (endpoint, status), count in self._counts.items():
            requests.add_metric((endpoint, str(status)), count)
        yield requests
        duration = HistogramMetricFamily(
            "sidecar_http_request_duration_seconds", "Duration of API requests", labels=("endpoint",)
        )
        for endpoint, found in self._durations.items():
            cumulative = list(zip(_BOUNDS, accumulate(found.counts), strict=True))
            duration.add_metric((endpoint,), cumulative, found.seconds)
        yield duration
