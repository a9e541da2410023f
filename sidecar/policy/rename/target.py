"""Validation of a rename: names exist, do not collide, and are not those that the sidecar itself uses."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sidecar.domain.users import ADMINISTRATOR
from sidecar.policy.declarations import Role, Section, shape_of
from sidecar.policy.diagnostics import suggestion
from sidecar.policy.lint import MEMBER, MEMBER_SECTION
from sidecar.policy.name_checks import quoted
from sidecar.policy.rename.names import RenameKind, Renames
from sidecar.policy.text.csv_reader import NAME, NAME_FORM

OWN_ROLES: Final = (ADMINISTRATOR, MEMBER)
OWN_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("view", "manage"),
    "policy": ("view", "preview"),
    "audit": ("view",),
    MEMBER_SECTION: ("view", "change-password"),
}
"""Sections and actions that guard the sidecar's own endpoints and pages."""


@dataclass(frozen=True, slots=True)
class RenameTarget:
    """Valid rename. ``section``: of an action, else empty."""

    kind: RenameKind
    old: str
    new: str
    section: str = ""

    @property
    def renames(self) -> Renames:
        match self.kind:
            case RenameKind.ROLE:
                return Renames(roles={self.old: self.new})
            case RenameKind.SECTION:
                return Renames(sections={self.old: self.new})
            case RenameKind.ACTION:
                return Renames(actions={(self.section, self.old): self.new})


@dataclass(frozen=True, slots=True)
class InvalidRename:
    """Rejected rename. ``message``: problem, value and remedy."""

    message: str


def read_target(
    kind: RenameKind, old: str, new: str, roles: Mapping[str, Role], sections: Mapping[str, Section]
) -> RenameTarget | InvalidRename:
    """Validate a rename against the declared names. ``old`` of an action: ``SECTION/ACTION``, or the bare action."""
    target = find_target(kind, old, roles, sections)
    if isinstance(target, InvalidRename):
        return target
    if kind is RenameKind.ACTION:
        section, slash, new = new.rpartition("/")
        if slash and section != target.section:
            return InvalidRename(
                f"an action stays in its section: write {quoted(new)}, not {quoted(f'{section}/{new}')}"
            )
    return _with_new_name(replace(target, new=new), _declared(target, roles, sections))


def find_target(
    kind: RenameKind, old: str, roles: Mapping[str, Role], sections: Mapping[str, Section]
) -> RenameTarget | InvalidRename:
    """Return what ``old`` names, still without a new name. Names that the sidecar itself uses are rejected."""
    target = _action_target(old, sections) if kind is RenameKind.ACTION else RenameTarget(kind, old, "")
    if isinstance(target, InvalidRename):
        return target
    known = _declared(target, roles, sections)
    if target.old not in known:
        return InvalidRename(f"there is no {kind} {quoted(target.old)}: {suggestion(target.old, known)}")
    if _is_own(target, target.old):
        return InvalidRename(f"the sidecar itself uses the {kind} {quoted(target.old)}: it cannot be renamed")
    return target


def _declared(target: RenameTarget, roles: Mapping[str, Role], sections: Mapping[str, Section]) -> tuple[str, ...]:
    """Return the declared names of the same kind, of an action those of its section."""
    if target.kind is RenameKind.ACTION:
        return sections[target.section].actions
    return tuple(roles if target.kind is RenameKind.ROLE else sections)


def _action_target(old: str, sections: Mapping[str, Section]) -> RenameTarget | InvalidRename:
    section, slash, action = old.rpartition("/")
    if not slash:
        holders = [one.id for one in sections.values() if old in one.actions]
        if len(holders) > 1:
            choices = " or ".join(f"{holder}/{old}" for holder in holders)
            return InvalidRename(f"{quoted(old)} is an action of {len(holders)} sections: write {choices}")
        if not holders:
            actions = dict.fromkeys(action for one in sections.values() for action in one.actions)
            return InvalidRename(f"no section has an action {quoted(old)}: {suggestion(old, actions)}")
        section = holders[0]
    if section not in sections:
        return InvalidRename(f"there is no section {quoted(section)}: {suggestion(section, sections)}")
    return RenameTarget(RenameKind.ACTION, action, "", section)


def _with_new_name(target: RenameTarget, known: tuple[str, ...]) -> RenameTarget | InvalidRename:
    kind, old, new = target.kind, target.old, target.new
    if not NAME.fullmatch(new):
        return InvalidRename(f"{quoted(new)} is not a valid {kind} id: an id is {NAME_FORM}")
    if old == new:
        return InvalidRename(f"{quoted(old)} is the name already: write another one")
    if new in known:
        return InvalidRename(f"the {kind} {quoted(new)} exists already: write another name")
    if _is_own(target, new):
        return InvalidRename(f"the sidecar itself uses the {kind} {quoted(new)}: write another name")
    alike = next((one for one in known if one != old and shape_of(one) == shape_of(new)), None)
    if alike is not None and kind is not RenameKind.ACTION:
        return InvalidRename(f"{quoted(new)} looks like the {kind} {quoted(alike)}: write another name")
    return target


def _is_own(target: RenameTarget, name: str) -> bool:
    match target.kind:
        case RenameKind.ROLE:
            return name in OWN_ROLES
        case RenameKind.SECTION:
            return name in OWN_ACTIONS
        case RenameKind.ACTION:
            return name in OWN_ACTIONS.get(target.section, ())
