"""Spans of traced requests, without a library. `otlp.py` exports them.

A request that is not traced has no current span, and instrumented code then gets `NO_SPAN`. So tracing that is off
costs one look at a context variable, and only where the store, a hash or another server costs far more.
Attributes never contain an e-mail, a token or, unless the operator opts in, a path.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from enum import Enum
from random import getrandbits, random
from time import time_ns
from typing import Final, Self

from sidecar.telemetry.trace_context import RANDOM, SAMPLED, TraceContext

Attribute = str | int | bool


class SpanKind(Enum):
    """Role of a span, as in OpenTelemetry."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


class Span:
    """One timed operation of a trace, and a context manager in which it is current. Times: Unix nanoseconds.

    ``parent``: None at the root. ``remote``: the parent is another program's. ``error``: class of a failure, as
    ``error.type``. ``endpoint``, ``decisions``: of the checks that were recorded in it.
    """

    __slots__ = (
        "_export",
        "_token",
        "attributes",
        "context",
        "decisions",
        "ended",
        "endpoint",
        "error",
        "kind",
        "name",
        "parent",
        "remote",
        "started",
    )

    def __init__(
        self, export: "Export", name: str, kind: SpanKind, parent: TraceContext | None, *, remote: bool = False
    ) -> None:
        self._export = export
        self._token: Token[Span | TraceContext | None] | None = None
        self.name = name
        self.kind = kind
        self.parent = parent
        self.remote = remote
        self.attributes: dict[str, Attribute] = {}
        self.error = ""
        self.endpoint = ""
        self.decisions = 0
        span_id = f"{getrandbits(64):016x}"
        if parent is None:
            self.context = TraceContext(f"{getrandbits(128):032x}", span_id, SAMPLED | RANDOM)
        else:
            self.context = TraceContext(parent.trace_id, span_id, parent.flags | SAMPLED, parent.state)
        self.ended = 0
        self.started = time_ns()

    def set(self, name: str, value: Attribute) -> None:
        self.attributes[name] = value

    def fail(self, error: str) -> None:
        """Mark the operation as failed. ``error``: a class of failures, never a message."""
        self.error = error
        self.attributes["error.type"] = error

    def end(self) -> None:
        """End and export. Later calls do nothing."""
        if not self.ended:
            self.ended = time_ns()
            self._export(self)

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> "Span":
        return Span(self._export, name, kind, self.context)

    def headers(self) -> dict[str, str]:
        return self.context.headers()

    def __enter__(self) -> Self:
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class NoSpan:
    """Span of code that is not traced. Does nothing."""

    __slots__ = ()

    def set(self, _name: str, _value: Attribute) -> None:
        """Do nothing."""

    def fail(self, _error: str) -> None:
        """Do nothing."""

    def headers(self) -> dict[str, str]:
        """Return the headers of an unsampled trace that the request came with."""
        return outgoing_headers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Do nothing."""


Export = Callable[[Span], None]
Current = Span | TraceContext | None
NO_SPAN: Final = NoSpan()
_CURRENT: ContextVar[Current] = ContextVar("trace", default=None)


class Tracer:
    """Sampler of incoming requests. ``share``: of those without a trace context. ``paths``: record their paths."""

    def __init__(
        self, export: Export, *, share: float, paths: bool = False, chance: Callable[[], float] = random
    ) -> None:
        self._export = export
        self.paths = paths
        self.begins: Callable[[], bool] = lambda: chance() < share
        """Returns True for the share of requests without a trace context that begin a trace."""

    def server(self, parent: TraceContext | None, name: str = "", *, always: bool = False) -> Span | None:
        """Return the span of an incoming request, or None if it is not traced. A parent's decision is followed.

        ``always``: trace each request without a parent.
        """
        if parent is not None:
            return Span(self._export, name, SpanKind.SERVER, parent, remote=True) if parent.flags & SAMPLED else None
        if always or self.begins():
            return Span(self._export, name, SpanKind.SERVER, None)
        return None

    def root(self, name: str, parent: TraceContext | None = None) -> Span:
        """Return the span of background work, which is always traced. ``parent``: of another program."""
        return Span(self._export, name, SpanKind.INTERNAL, parent, remote=parent is not None)


def current() -> Span | None:
    """Return the span in which the caller runs; None if it is not traced."""
    found = _CURRENT.get()
    return found if type(found) is Span else None


def child(name: str, kind: SpanKind = SpanKind.INTERNAL) -> Span | NoSpan:
    """Return a child of the current span, or `NO_SPAN`."""
    found = _CURRENT.get()
    return found.child(name, kind) if type(found) is Span else NO_SPAN


def outgoing_headers() -> dict[str, str]:
    """Return the headers that continue the current trace in a request to another server; empty without one."""
    found = _CURRENT.get()
    return {} if found is None else found.headers()


def attach(position: Current) -> Token[Current]:
    """Make a span or a remote context current until `detach`. It is not ended there."""
    return _CURRENT.set(position)


def detach(token: Token[Current]) -> None:
    _CURRENT.reset(token)


@contextmanager
def continuing(position: Current) -> Iterator[None]:
    """Run the block in a trace that began elsewhere, as queued work does."""
    token = _CURRENT.set(position)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def waiting(name: str) -> Iterator[None]:
    """Run a block that polls: one child of the current span, and none per poll."""
    with child(name), continuing(None):
        yield


def ids() -> Mapping[str, str]:
    """Return the ids of the current span as fields of a log entry; empty if nothing is traced."""
    found = current()
    return {} if found is None else {"trace_id": found.context.trace_id, "span_id": found.context.span_id}
