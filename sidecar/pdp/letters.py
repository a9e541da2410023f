"""What goes to the child that judges policies, and what comes back: a task, and findings."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from sidecar.policy.diagnostics import Diagnostic, DiagnosticCode, Severity


class Limits(msgspec.Struct, frozen=True):
    """What a child may use; 0 is no limit. ``seconds``: until it is ended, whatever it does. ``nice``: how far it
    stands back when checks want the processor. ``spare``: it has the processor only while nobody else wants it; under
    ``nice`` alone a check waits until the child's slice is over, which is 3 ms (Linux 6.18)."""

    cpu_seconds: int = 0
    memory_bytes: int = 0
    seconds: float = 120.0
    nice: int = 5
    spare: bool = False


class Task(msgspec.Struct, frozen=True):
    """What the child is to do: judge ``files``, or preview them against ``current`` for the ``people`` by role."""

    files: dict[str, bytes]
    problems: tuple["Finding", ...] = ()
    current: dict[str, bytes] | None = None
    people: dict[str, list[dict[str, str]]] = {}
    limits: Limits = Limits()


class Envelope(msgspec.Struct, frozen=True):
    """A task without the bytes of its files, which follow it in this order: name and length."""

    task: Task
    files: list[tuple[str, int]]
    current: list[tuple[str, int]] | None


def letter(task: Task) -> Iterator[bytes]:
    """A task on its way to the child. The files go as they are: encoding megabytes keeps the interpreter for
    milliseconds."""
    sizes = [(name, len(content)) for name, content in task.files.items()]
    current = None if task.current is None else [(name, len(content)) for name, content in task.current.items()]
    envelope = msgspec.msgpack.encode(Envelope(replace(task, files={}, current=None), sizes, current))
    yield len(envelope).to_bytes(4) + envelope
    yield from task.files.values()
    yield from (task.current or {}).values()


def opened(raw: bytes) -> Task:
    """What a letter holds."""
    at = 4 + int.from_bytes(raw[:4])
    envelope = msgspec.msgpack.decode(raw[4:at], type=Envelope)

    def cut(sizes: list[tuple[str, int]]) -> dict[str, bytes]:
        nonlocal at
        files = {}
        for name, size in sizes:
            files[name] = raw[at : at + size]
            at += size
        return files

    files = cut(envelope.files)
    return replace(envelope.task, files=files, current=None if envelope.current is None else cut(envelope.current))


class Finding(msgspec.Struct, frozen=True):
    """A diagnostic on its way through the pipe."""

    severity: Severity
    code: DiagnosticCode
    file: str
    line: int
    column: int
    message: str
    hint: str

    @classmethod
    def of(cls, found: Diagnostic) -> "Finding":
        return cls(found.severity, found.code, found.file, found.line, found.column, found.message, found.hint)

    def diagnostic(self) -> Diagnostic:
        return Diagnostic(self.severity, self.code, self.file, self.line, self.column, self.message, self.hint)
