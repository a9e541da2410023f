"""Mapping of old to new names between two versions of a policy. Pure values; detect.py finds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RenameKind(StrEnum):
    """Kind of a renamed name. An action belongs to its section."""

    ROLE = "role"
    SECTION = "section"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Renames:
    """Old names with their new ones. ``actions``: old section and action → new action. Other names stay."""

    roles: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.roles or self.sections or self.actions)

    def role(self, name: str) -> str:
        return self.roles.get(name, name)

    def cell(self, section: str, action: str) -> tuple[str, str]:
        """Return section and action under their new names."""
        return self.sections.get(section, section), self.actions.get((section, action), action)

    def cells(self, cells: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        return frozenset(cells) if not (self.sections or self.actions) else frozenset(self.cell(*one) for one in cells)
