"""Messages between the sidecar and the compile child: a task, and its result."""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from sidecar import __version__
from sidecar.policy.declarations import DECLARED_IN, read_vocabulary
from sidecar.policy.diagnostics import Diagnostic, DiagnosticSink
from sidecar.policy.generation import DIALECT, Generation, PackedGeneration, pack, unpack
from sidecar.policy.routes import RouteTable

PROGRAM_VERSION: Final = f"{__version__} {DIALECT.decode()}"
"""Sent to the child, which may run a newer installed version. A mismatch is rejected, because the table format may
differ."""


class ExitStatus(IntEnum):
    """Exit statuses of the child with a reason. Python itself exits with 1 or 2; a signal is a negative number."""

    OUT_OF_MEMORY = 71
    TOO_MANY_CELLS = 73
    ANOTHER_PROGRAM = 75


class ResourceLimits(msgspec.Struct, frozen=True):
    """Resource limits of a child; 0 is unlimited. ``seconds``: wall time until the child is killed. ``nice``: niceness
    added to the sidecar's. ``spare``: use idle CPU time only. With ``nice`` alone, a check waits for the end of the
    child's time slice, which is 3 ms (Linux 6.18). ``memory_bytes``: in addition to the loaded program. ``cells``:
    roles × actions of a preview. ``answer_bytes``: maximum length of the response."""

    cpu_seconds: int = 0
    memory_bytes: int = 0
    seconds: float = 120.0
    nice: int = 5
    spare: bool = False
    cells: int = 0
    answer_bytes: int = 0


class CurrentPolicy(msgspec.Struct, frozen=True):
    """Active generation, in the form sent to the child."""

    files: dict[str, bytes]
    packed: PackedGeneration

    @classmethod
    def of(cls, generation: Generation) -> "CurrentPolicy":
        return cls(dict(generation.files), pack(generation))


class CompileTask(msgspec.Struct, frozen=True):
    """Task of the child: compile ``files``, or preview them against ``current`` for the ``people`` by role."""

    files: dict[str, bytes]
    problems: tuple[Diagnostic, ...] = ()
    current: CurrentPolicy | None = None
    people: dict[str, list[dict[str, str | int | bool]]] = {}
    limits: ResourceLimits = ResourceLimits()


Sizes = list[tuple[str, int]]
"""Names and lengths of files, in the order of their bytes."""


class Envelope(msgspec.Struct, frozen=True):
    """Task without the bytes of its files. They follow it: the task's files, then the current generation's files."""

    task: CompileTask
    files: Sizes
    current: Sizes


def encode_task(task: CompileTask) -> Iterator[bytes]:
    """Encode a task. File bytes are sent raw, because encoding megabytes holds the interpreter for milliseconds."""
    current = task.current.files if task.current else {}
    bare = replace(task, files={}, current=task.current and replace(task.current, files={}))
    envelope = msgspec.msgpack.encode(Envelope(bare, _sizes(task.files), _sizes(current)))
    yield len(envelope).to_bytes(4) + envelope
    yield from task.files.values()
    yield from current.values()


def _sizes(files: Mapping[str, bytes]) -> Sizes:
    return [(name, len(content)) for name, content in files.items()]


def decode_task(raw: bytes) -> CompileTask:
    """Decode a task."""
    at = 4 + int.from_bytes(raw[:4])
    envelope = msgspec.msgpack.decode(raw[4:at], type=Envelope)

    def split_files(sizes: Sizes) -> dict[str, bytes]:
        nonlocal at
        files = {}
        for name, size in sizes:
            files[name] = raw[at : at + size]
            at += size
        return files

    task = replace(envelope.task, files=split_files(envelope.files))
    return replace(task, current=task.current and replace(task.current, files=split_files(envelope.current)))


class CompileResponse(msgspec.Struct, frozen=True):
    """Compile result of the child. ``packed`` is None iff the findings contain an error."""

    findings: tuple[Diagnostic, ...]
    packed: PackedGeneration | None


def generation_of(packed: PackedGeneration, files: Mapping[str, bytes], like: Generation | None = None) -> Generation:
    """Unpack a generation of ``files``. Reuse names and routes of ``like`` if its declaration files are equal.

    Raises ValueError if ``packed`` and ``files`` do not belong together.
    """
    if like is not None and all(files[name] == like.files[name] for name in DECLARED_IN):
        return unpack(packed, files, like.roles, like.sections, like.routes)
    findings = DiagnosticSink()
    declared = read_vocabulary(files, findings)
    if findings.has_errors or declared.roles is None or declared.sections is None:
        raise ValueError(f"these files do not compile: {findings.sorted()[0]}")
    return unpack(packed, files, declared.roles, declared.sections, RouteTable(declared.routes))
