"""Policies that an editor has open: buffers over the files on disk, compiled after each edit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sidecar.lsp.folders import Disk, Location, uri_of_path
from sidecar.policy.compiler import Compiled, ProofScope, compile_policy
from sidecar.policy.coverage import Coverage, measure
from sidecar.policy.diagnostics import FILES, Diagnostic, DiagnosticSink, path_of
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diff import Difference, diff
from sidecar.policy.editing.buffers import Buffer
from sidecar.policy.editing.symbols import Occurrence, occurrences
from sidecar.policy.generation import Generation
from sidecar.policy.stages import RememberedStages
from sidecar.sources.policy_files import MAX_FILE, PolicyFiles, report_too_large

_OF_DISK: Final = frozenset((Code.MISSING_FILE, Code.UNREADABLE_FILE, Code.FILE_TOO_LARGE))
"""Findings of a file on disk that an open buffer takes the place of."""


@dataclass(frozen=True, slots=True)
class OpenBuffer:
    """Text of a file that the client has open."""

    uri: str
    version: int | None
    text: str
    has_mark: bool = False
    """The client has sent a byte order mark, so the text without one is an edit."""

    def is_unchanged(self, data: bytes) -> bool:
        """Return whether the text is that of the file. An editor may hide a byte order mark and line ends."""
        if self.has_mark:
            return data == self.encoded
        return _plain(data.decode("utf-8-sig", "replace")) == _plain(self.text)

    @property
    def encoded(self) -> bytes:
        return self.text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class PolicySnapshot:
    """One state of a policy: its text, its compilation, and all that features read. Values are computed once."""

    compiled: Compiled
    files: Mapping[str, bytes]
    texts: Mapping[str, str]
    base: Generation | None
    """Policy on disk, or the last one there that has compiled."""

    @cached_property
    def buffers(self) -> dict[str, Buffer]:
        return {name: Buffer(name, text) for name, text in self.texts.items()}

    def buffer(self, name: str) -> Buffer:
        """Return the text of a file; empty if the file is missing."""
        return self.buffers.get(name) or Buffer(name, "")

    @cached_property
    def occurrences(self) -> list[Occurrence]:
        return occurrences(self.buffers)

    @cached_property
    def coverage(self) -> Coverage | None:
        draft = self.compiled.draft
        return None if draft is None else measure(draft, self.compiled.suite)

    @cached_property
    def difference(self) -> Difference | None:
        """Changes against `base`; None without a policy on one side."""
        draft = self.compiled.draft
        return None if draft is None or self.base is None else diff(self.base, draft)


class PolicySession:
    """One policy. `snapshot` compiles if a buffer or a file has changed."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.open: dict[str, OpenBuffer] = {}
        self.published: dict[str, object] = {}
        """Last published diagnostics per file."""
        self.stale = True
        self._disk = Disk(location)
        self._stages = RememberedStages()
        self._disk_stages = RememberedStages()
        self._compiled_disk: Mapping[str, bytes] | None = None
        self._base: Generation | None = None
        self._snapshot: PolicySnapshot | None = None
        self._inputs: tuple[object, ...] = ()
        self._draft: Generation | None = None

    def uri(self, name: str) -> str:
        """Return the client's URI of an open file, or otherwise the URI of its path."""
        opened = self.open.get(name)
        return uri_of_path(self.location.path(name)) if opened is None else opened.uri

    @property
    def snapshot(self) -> PolicySnapshot:
        on_disk = self._disk.read()
        files, texts, problems = self._overlaid(on_disk)
        inputs = (files, problems, on_disk.files)
        if self._snapshot is None or inputs != self._inputs:
            compiled = compile_policy(files, proof=ProofScope.NONE, problems=problems, stages=self._stages)
            self._draft = compiled.draft or self._draft
            self._snapshot = PolicySnapshot(compiled, files, texts, self._base_of(on_disk))
            self._inputs = inputs
        self.stale = False
        return self._snapshot

    @property
    def vocabulary(self) -> Generation | None:
        """The newest state that has compiled, for names while an edit is incomplete."""
        return self._draft or self._base

    def _overlaid(self, on_disk: PolicyFiles) -> tuple[dict[str, bytes], dict[str, str], tuple[Diagnostic, ...]]:
        """Return bytes and texts with the open buffers in place of files, and the findings of the reader."""
        files, texts = dict(on_disk.files), {}
        sink = DiagnosticSink()
        sink.extend(_without_overlaid(on_disk.diagnostics, self.open))
        for name in FILES:
            opened = self.open.get(name)
            if opened is not None:
                data = on_disk.files.get(name)
                files[name] = data if data is not None and opened.is_unchanged(data) else opened.encoded
                texts[name] = opened.text
                if len(files[name]) > MAX_FILE:
                    del files[name]
                    report_too_large(name, sink)
            elif name in files:
                texts[name] = files[name].decode("utf-8", "replace")
        return {name: files[name] for name in FILES if name in files}, texts, sink.sorted()

    def _base_of(self, on_disk: PolicyFiles) -> Generation | None:
        if on_disk.files is not self._compiled_disk:
            compiled = compile_policy(on_disk.files, proof=ProofScope.NONE, stages=self._disk_stages)
            self._compiled_disk = on_disk.files
            self._base = compiled.draft if compiled.draft is not None and compiled.valid else self._base
        return self._base


def _plain(text: str) -> str:
    """Return the text with LF alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _without_overlaid(diagnostics: Iterable[Diagnostic], opened: Mapping[str, OpenBuffer]) -> Iterable[Diagnostic]:
    paths = {path_of(name) for name in opened}
    return (one for one in diagnostics if one.file not in paths or one.code not in _OF_DISK)
