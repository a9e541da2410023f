"""ClientConnection to the client over standard input and output, in one thread.

Edits are only noted when they arrive. Work that follows from them waits until no input is pending, so that a burst of
keystrokes costs one compilation; a steady stream delays it by `MAX_DELAY_S` at most.
"""

import os
import select
import time
from typing import Final, Protocol

from sidecar.lsp.framing import FrameDecoder, FrameFault
from sidecar.lsp.protocol import PolicyProtocol

CHUNK: Final = 64 * 1024
MAX_DELAY_S: Final = 0.2


class IdleWork(Protocol):
    """Work that waits for a pause of the input."""

    def pending(self) -> bool: ...

    def run(self) -> None: ...


class DescriptorWriter:
    """Writer of whole messages to a descriptor. Once the client is gone, messages are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.closed = False

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self.closed:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                self.closed = True

    def close(self) -> None:
        self.closed = True


class ClientConnection:
    """Reader of messages until the client exits, or ends the stream."""

    def __init__(self, protocol: PolicyProtocol, work: IdleWork, source: int, target: int) -> None:
        self._protocol = protocol
        self._work = work
        self._source = source
        self._writer = DescriptorWriter(target)
        self._decoder = FrameDecoder()
        self._since: float | None = None
        protocol.set_writer(self._writer)

    def serve(self) -> int:
        """Serve until the end, and return the exit status: 0 if the client has asked for a shutdown."""
        while self._protocol.exit_status is None and not self._writer.closed:
            if self._work.pending() and (self._is_due() or not self._readable(0)):
                self._since = None
                self._work.run()
                continue
            chunk = os.read(self._source, CHUNK)
            if not chunk:
                break
            self._receive(chunk)
        return self._protocol.exit_status or int(self._protocol.exit_status is None)

    def _receive(self, chunk: bytes) -> None:
        for item in self._decoder.feed(chunk):
            if isinstance(item, FrameFault):
                self._protocol.fault(item.value)
            else:
                self._protocol.receive(item)
            if self._protocol.exit_status is not None:
                return

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since > MAX_DELAY_S

    def _readable(self, timeout: float) -> bool:
        return bool(select.select([self._source], [], [], timeout)[0])
