"""Fixes for own segments in sections.toml: paths that lead around one, and marks ``own = false``."""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.editing.buffers import BufferEdit
from sidecar.policy.editing.findings import Finding, Fix, Fixer, fix
from sidecar.policy.own_segments import OWN

_AROUND: Final = re.compile(r"(/\S*) leads around (/\S*) of line \d+: .* in place of (\{\w+\})$")
_SAME: Final = re.compile(r"(/\S*) and (/\S*) of line \d+ are the same path")
_MARK: Final = re.compile(r"\s*own\s*=\s*false\s*,|,\s*own\s*=\s*false\b")
_MARK_LINE: Final = re.compile(r"^[ \t]*own[ \t]*=[ \t]*false[ \t]*\n", re.MULTILINE)


def _bypass(finding: Finding) -> Iterator[Fix]:
    """Write the own segment in the narrower path too, or mark the route as one for all."""
    match = _AROUND.match(finding.message)
    if match is None:
        return
    path, around, segment = match.groups()
    if finding.hint.startswith("write "):
        places = [at for at, one in enumerate(around.split("/")) if one == segment]
        corrected = "/".join(segment if at in places else one for at, one in enumerate(path.split("/")))
        yield from fix(f"Write {corrected}", *_replace(finding, path, corrected))
    yield from fix("Write own = false", *_mark(finding, path))


def _mark(finding: Finding, path: str) -> Iterator[BufferEdit]:
    at = finding.find(f'"{path}"')
    if at is None:
        return
    end = at + len(path) + 2
    inline = "{" in finding.buffer.text[finding.buffer.line_start(finding.buffer.line_of(at)) : at]
    yield finding.buffer.replace(end, end, ", own = false" if inline else "\nown = false")


def _segment(finding: Finding) -> Iterator[Fix]:
    """Write the path of an equal route, or ``*`` in a public path."""
    same = _SAME.match(finding.message)
    if same is not None:
        yield from fix(f"Write {same[2]}", *_replace(finding, same[1], same[2]))
    elif finding.hint.startswith("write * in its place"):
        corrected = "/".join("*" if one in OWN else one for one in finding.name.split("/"))
        yield from fix(f"Write {corrected}", *finding.replace_name(corrected))


def _unused(finding: Finding) -> Iterator[Fix]:
    """Delete a mark without effect: behind the path, in the same table."""
    buffer, start = finding.buffer, finding.buffer.line_start(finding.line)
    line = buffer.line(finding.line)
    inline = _MARK.search(line)
    if inline is not None:
        yield from fix("Delete own = false", buffer.replace(start + inline.start(), start + inline.end(), ""))
        return
    table = re.search(r"^\[", buffer.text[start + 1 :], re.MULTILINE)
    mark = _MARK_LINE.search(buffer.text, start, len(buffer.text) if table is None else start + 1 + table.start())
    if mark is not None:
        yield from fix("Delete own = false", buffer.replace(mark.start(), mark.end(), ""))


def _replace(finding: Finding, path: str, new: str) -> Iterator[BufferEdit]:
    at = finding.find(f'"{path}"')
    if at is not None:
        yield finding.buffer.replace(at + 1, at + 1 + len(path), new)


FIXERS: Final[dict[Code, Fixer]] = {
    Code.OWN_BYPASS: _bypass,
    Code.OWN_SEGMENT: _segment,
    Code.UNUSED_OWN: _unused,
}
