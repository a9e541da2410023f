"""Active generation of this process, with its state, its gates and its listeners. Two sources feed it: the policy files
(activation.py) and the store (store_activation.py)."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from sidecar.pdp.activation_checks import Gate
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.generation import Generation
from sidecar.sources.policy_location import PolicyLocation


class ActivationState(StrEnum):
    """State of the newest policy of the source: active or rejected."""

    CURRENT = "current"
    REJECTED = "rejected"


class ServedPolicy(Protocol):
    """Policy of a serving process, as request handlers see it. Read ``generation`` once per request."""

    @property
    def generation(self) -> Generation | None: ...
    @property
    def state(self) -> ActivationState: ...
    @property
    def loaded_at(self) -> float: ...
    async def reload(self) -> None: ...


class PolicyHolder:
    """Owner of the active generation. ``clock`` returns Unix seconds. ``location``: the policy files here."""

    def __init__(self, location: PolicyLocation, clock: Callable[[], float]) -> None:
        self.location = location
        self._clock = clock
        self._gates: list[Gate] = []
        self._listeners: list[Callable[[PolicyHolder], None]] = []
        self.forced = False
        self.generation: Generation | None = None
        self.state = ActivationState.REJECTED
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.loaded_at = 0.0

    def add_gate(self, gate: Gate) -> None:
        """Add a gate. Gates run before a generation is accepted."""
        self._gates.append(gate)

    def on_change(self, listener: "Callable[[PolicyHolder], None]") -> None:
        """Add a listener. It is called after each result, accepted or rejected."""
        self._listeners.append(listener)

    async def _refusals(self, generation: Generation) -> tuple[Diagnostic, ...]:
        found: tuple[Diagnostic, ...] = ()
        for gate in self._gates:
            found += await gate(generation)
        return found

    def _activate(self, generation: Generation, diagnostics: tuple[Diagnostic, ...]) -> None:
        if self.generation is None or generation.id != self.generation.id:
            self.generation = generation
            self.loaded_at = self._clock()
        self.state = ActivationState.CURRENT
        self.diagnostics = diagnostics
        self._notify()

    def _reject(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.state = ActivationState.REJECTED
        self.diagnostics = diagnostics

    def _notify(self) -> None:
        for listener in self._listeners:
            listener(self)
