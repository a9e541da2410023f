"""One policy in force: an immutable table over role × section × action, its routes, and the hash of its bytes.

Built once by the compiler, never changed; readers take it once and everything that follows is of this generation.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import msgspec

from sidecar.policy.decision_table import Cells, Closures, filled, unpacked
from sidecar.policy.declarations import Role, Section
from sidecar.policy.routes import RouteTable
from sidecar.policy.rules import Inheritance, Rule

DIALECT = b"sidecar-policy/1"
"""Raised when the same bytes would mean something else (R25)."""


@dataclass(frozen=True, eq=False)
class Generation:
    """``closures`` lists for each role itself and what it inherits, nearest first; ``allowed`` its open cells.

    ``packed_rules`` is for `rules`: deciding needs none of them, and twenty thousand values take long to make and to
    free.
    """

    id: str
    roles: Mapping[str, Role]
    sections: Mapping[str, Section]
    routes: RouteTable
    packed_rules: bytes
    inheritance: tuple[Inheritance, ...]
    closures: Closures
    cells: Cells
    files: Mapping[str, bytes]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """In the order of the file; unpacked when somebody asks."""
        return msgspec.msgpack.decode(self.packed_rules, type=tuple[Rule, ...])

    @cached_property
    def allowed(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        return _Allowed(self.cells, self.roles)

    def lean(self) -> "Generation":
        """The same, without what was unpacked of it on the way."""
        return replace(self)

    def __repr__(self) -> str:
        return f"Generation({self.id})"


class _Allowed(Mapping[str, frozenset[tuple[str, str]]]):
    """The open cells of each role, listed when they are asked for."""

    def __init__(self, cells: Cells, roles: Mapping[str, Role]) -> None:
        self._cells = cells
        self._roles = roles
        self._listed: dict[str, frozenset[tuple[str, str]]] = {}

    def __getitem__(self, role: str) -> frozenset[tuple[str, str]]:
        listed = self._listed.get(role)
        if listed is None:
            listed = self._listed[role] = frozenset(self._cells.open_to(role))
        return listed

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)


def content_hash(files: Mapping[str, bytes]) -> str:
    """128 bits of SHA-256 over dialect version and (name, length, bytes) of every file (R25)."""
    digest = hashlib.sha256(DIALECT)
    for name in sorted(files):
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(8) + encoded + len(files[name]).to_bytes(8) + files[name])
    return digest.hexdigest()[:32]


def build(
    files: Mapping[str, bytes],
    roles: Mapping[str, Role],
    sections: Mapping[str, Section],
    routes: RouteTable,
    rules: tuple[Rule, ...],
    inheritance: tuple[Inheritance, ...],
    closures: Closures,
) -> Generation:
    """What the compiler has read, as one value."""
    return Generation(
        id=content_hash(files),
        roles=MappingProxyType(dict(roles)),
        sections=MappingProxyType(dict(sections)),
        routes=routes,
        packed_rules=msgspec.msgpack.encode(rules),
        inheritance=inheritance,
        closures=MappingProxyType(dict(closures)),
        cells=filled(roles, sections, rules, closures),
        files=MappingProxyType(dict(files)),
    )


# -- from process to process -------------------------------------------------------------------------------------------


class Packed(msgspec.Struct, frozen=True):
    """What a generation is beside its files and what they declare: nothing of it takes long to unpack."""

    id: str
    rules: bytes
    cells: bytes
    inheritance: tuple[Inheritance, ...]
    closures: dict[str, tuple[str, ...]]


def pack(generation: Generation) -> Packed:
    """For another process that has its files: see `unpack`."""
    return Packed(
        generation.id,
        generation.packed_rules,
        generation.cells.packed,
        generation.inheritance,
        dict(generation.closures),
    )


def unpack(
    packed: Packed,
    files: Mapping[str, bytes],
    roles: Mapping[str, Role],
    sections: Mapping[str, Section],
    routes: RouteTable,
) -> Generation:
    """The generation of these files, in which the compiler of another process has found no error.

    Raises ValueError when it was packed of other bytes (R25) or with other declarations.
    """
    if packed.id != content_hash(files):
        raise ValueError(f"generation {packed.id} is none of these files")
    return Generation(
        id=packed.id,
        roles=MappingProxyType(dict(roles)),
        sections=MappingProxyType(dict(sections)),
        routes=routes,
        packed_rules=packed.rules,
        inheritance=packed.inheritance,
        closures=MappingProxyType(packed.closures),
        cells=unpacked(packed.cells, roles, sections),
        files=MappingProxyType(dict(files)),
    )
