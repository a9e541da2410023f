"""Why a cell is answered as it is, and what would change it. One object for API, CLI and console."""

from dataclasses import dataclass

from sidecar.policy.generation import Generation, Ruling
from sidecar.policy.rules import Inheritance, Rule


@dataclass(frozen=True, slots=True)
class Explanation:
    """``path``: the ``g`` lines from the role to the role of ``rule``, in order; empty when the rule is its own."""

    role: str
    section: str
    action: str
    ruling: Ruling
    rule: Rule | None = None
    path: tuple[Inheritance, ...] = ()


def explain(generation: Generation, role: str, section: str, action: str) -> Explanation:
    """Names that are not declared are explained as what they are: a reasoned deny."""
    raise NotImplementedError
