"""Memory of the compiler's stages: a stage runs again only if one of its inputs has changed.

For editors, which compile after each keystroke. A stage is remembered with its result and its findings, once: memory
stays that of one compilation. Inputs are compared by identity or by equality.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sidecar.policy.diagnostics import FILES, DiagnosticSink

T = TypeVar("T")
Inputs = tuple[Any, ...]


class StageSink(DiagnosticSink):
    """Findings of one stage. Files with errors of earlier stages count as files with errors."""

    def __init__(self, erroneous: frozenset[str]) -> None:
        super().__init__()
        self._erroneous = erroneous

    def errors_in(self, *files: str) -> bool:
        return not self._erroneous.isdisjoint(files) or super().errors_in(*files)


@dataclass(frozen=True, slots=True)
class _Remembered:
    inputs: Inputs
    erroneous: frozenset[str]
    value: Any
    findings: StageSink


class Stages:
    """Runner of stages without memory. `RememberedStages` has one."""

    def run(self, name: str, inputs: Inputs, findings: DiagnosticSink, work: Callable[[DiagnosticSink], T]) -> T:  # noqa: ARG002
        """Return the result of a stage, and add its findings. ``inputs``: all that ``work`` depends on."""
        return work(findings)


class RememberedStages(Stages):
    """Runner that remembers the last run of each stage, by name."""

    def __init__(self) -> None:
        self._last: dict[str, _Remembered] = {}

    def run(self, name: str, inputs: Inputs, findings: DiagnosticSink, work: Callable[[DiagnosticSink], T]) -> T:
        erroneous = frozenset(file for file in FILES if findings.errors_in(file))
        last = self._last.get(name)
        if last is None or last.erroneous != erroneous or not _same(last.inputs, inputs):
            sink = StageSink(erroneous)
            value = work(sink)
            if last is not None and type(value) is type(last.value) and _equal(value, last.value):
                value = last.value  # the same object: later stages compare by identity first
            last = self._last[name] = _Remembered(inputs, erroneous, value, sink)
        findings.absorb(last.findings)
        result: T = last.value
        return result


def _same(before: Inputs, after: Inputs) -> bool:
    return len(before) == len(after) and all(
        one is other or _equal(one, other) for one, other in zip(before, after, strict=True)
    )


def _equal(one: object, other: object) -> bool:
    return bool(one == other)
