"""Findings and their fixes, as edits of buffers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.policy.diagnostics import DiagnosticCode
from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.fields import Field, fields_of


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that apply a hint. ``title`` is an instruction; ``certain``: the only fix that comes into question."""

    title: str
    edits: tuple[BufferEdit, ...]
    certain: bool = False


@dataclass(frozen=True)
class Finding:
    """Diagnostic at one of its places, and the buffers of all files."""

    code: DiagnosticCode
    file: str
    line: int
    column: int
    message: str
    hint: str
    buffers: Mapping[str, Buffer] = field(repr=False)
    places: tuple[tuple[int, int], ...] = ()
    """Lines and columns of all places, if there are several."""

    @property
    def buffer(self) -> Buffer:
        return self.other(self.file)

    def other(self, file: str) -> Buffer:
        return self.buffers.get(file) or Buffer(file, "")

    @property
    def offset(self) -> int:
        return self.buffer.offset(self.line, self.column)

    @property
    def fields(self) -> list[Field]:
        return fields_of(self.buffer, self.line)

    @property
    def field(self) -> Field | None:
        """The CSV field at the position."""
        return next((one for one in self.fields if one.end >= self.offset), None)

    @property
    def name(self) -> str:
        """The name in quotes at the message's start; empty if there is none."""
        match = re.match(r'"(.*?)"(?= |:|$)', self.message)
        return match[1] if match else ""

    def find(self, text: str, within: int = 4_000) -> int | None:
        """Return the offset of a text at or behind the position; in a CSV file, in the field."""
        field = self.field if self.file.endswith(".csv") else None
        end = self.offset + within if field is None else field.end
        found = self.buffer.text.find(text, self.offset, end) if text else -1
        return None if found < 0 else found

    def replace_name(self, new: str) -> Iterator[BufferEdit]:
        """Yield the edit that replaces the name of the message."""
        at = self.find(self.name)
        if at is not None:
            yield self.buffer.replace(at, at + len(self.name), new)


Fixer = Callable[[Finding], Iterable[Fix]]


def fix(title: str, *edits: BufferEdit, certain: bool = False) -> Iterator[Fix]:
    """Yield a fix, if it has an edit."""
    if edits:
        yield Fix(title, edits, certain)


def delete_line(finding: Finding) -> Iterator[Fix]:
    yield from fix(f"Delete line {finding.line}", finding.buffer.delete_line(finding.line))


def delete_other_line(finding: Finding) -> Iterator[Fix]:
    """Yield the deletion of the line that the message names, in the same file."""
    match = re.search(r"\bline (\d+)", finding.message)
    if match is not None and int(match[1]) <= len(finding.buffer.starts):
        yield from fix(f"Delete line {match[1]}", finding.buffer.delete_line(int(match[1])))
