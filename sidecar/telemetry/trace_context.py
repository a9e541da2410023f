"""W3C Trace Context: ``traceparent`` and ``tracestate`` as values. Invalid ones start a new trace (section 3.2)."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
SAMPLED: Final = 1
RANDOM: Final = 2
"""Flag of level 2: the trace id is random. It is passed on."""

MAX_STATE: Final = 512
"""Characters of a tracestate that is passed on. A longer one is dropped whole."""

VALUE: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_STATE: Final = re.compile(r"[ -~\t]*")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """Position in a trace: ids in lower-case hexadecimal, flags, and the ``tracestate`` of the vendors."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    def headers(self) -> dict[str, str]:
        """Return the headers that continue this trace in a request to another server."""
        found = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        if self.state:
            found["tracestate"] = self.state
        return found


def parse(value: bytes, state: bytes = b"") -> TraceContext | None:
    """Return the context of a ``traceparent``. None: it is malformed, or its ids are zero."""
    match = VALUE.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags = [part.decode("ascii") for part in match.groups()]
    if version == "ff" or (version == "00" and match.end(4) != len(value)):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, int(flags, 16) & (SAMPLED | RANDOM), _state(state))


def context_of(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the context of header lines. None without exactly one valid ``traceparent``."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == TRACEPARENT:
            parents.append(value.strip(b" \t"))
        elif lowered == TRACESTATE:
            states.append(value.strip(b" \t"))
    return parse(parents[0], b",".join(states)) if len(parents) == 1 else None


def _state(raw: bytes) -> str:
    text = raw.decode("latin-1")
    return text if len(text) <= MAX_STATE and _STATE.fullmatch(text) else ""
