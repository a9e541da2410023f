"""One compiled policy: an immutable table over role × section × action, its routes, and the hash of its bytes.

The compiler builds it once. A reader takes one reference, and all its further look-ups are in that generation.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import msgspec

from sidecar.policy.decision_table import Closures, DecisionTable, build_table, unpacked
from sidecar.policy.declarations import Role, Section
from sidecar.policy.needs.lines import NeedBook
from sidecar.policy.needs.table import Needs, PackedNeeds, build_needs
from sidecar.policy.routes import RouteTable
from sidecar.policy.rules import Inheritance, Rule

DIALECT = b"sidecar-policy/1"
"""Version of the policy language. Raise it if the meaning of the same bytes changes (R25)."""


@dataclass(frozen=True, eq=False)
class Generation:
    """Compiled policy. ``closures``: per role, the role itself and its inherited roles, nearest first.

    ``allowed``: the allowed cells per role. ``packed_rules`` is the source of `rules`. Decisions need no rules, and
    20,000 objects are slow to create and to free.
    """

    id: str
    roles: Mapping[str, Role]
    sections: Mapping[str, Section]
    routes: RouteTable
    packed_rules: bytes
    inheritance: tuple[Inheritance, ...]
    closures: Closures
    cells: DecisionTable
    needs: Needs
    files: Mapping[str, bytes]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Rules in the order of the file, unpacked at first use."""
        return msgspec.msgpack.decode(self.packed_rules, type=tuple[Rule, ...])

    @cached_property
    def allowed(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        return _Allowed(self.cells, self.roles)

    def lean(self) -> "Generation":
        """Return a copy without the values cached during compilation."""
        return replace(self)

    def __repr__(self) -> str:
        return f"Generation({self.id})"


class _Allowed(Mapping[str, frozenset[tuple[str, str]]]):
    """Mapping of each role to its allowed cells, listed at first use."""

    def __init__(self, cells: DecisionTable, roles: Mapping[str, Role]) -> None:
        self._cells = cells
        self._roles = roles
        self._listed: dict[str, frozenset[tuple[str, str]]] = {}

    def __getitem__(self, role: str) -> frozenset[tuple[str, str]]:
        listed = self._listed.get(role)
        if listed is None:
            listed = self._listed[role] = frozenset(self._cells.allowed_for(role))
        return listed

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)


def content_hash(files: Mapping[str, bytes]) -> str:
    """Return 128 bits of SHA-256 over the language version and (name, length, bytes) of each file (R25)."""
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
    book: NeedBook | None = None,
) -> Generation:
    """Build a generation from the compiler's results. Raises TooManyClassesError."""
    cells = build_table(roles, sections, rules, closures)
    return Generation(
        id=content_hash(files),
        roles=MappingProxyType(dict(roles)),
        sections=MappingProxyType(dict(sections)),
        routes=routes,
        packed_rules=msgspec.msgpack.encode(rules),
        inheritance=inheritance,
        closures=MappingProxyType(dict(closures)),
        cells=cells,
        needs=build_needs(book or NeedBook(), roles, sections, closures, cells),
        files=MappingProxyType(dict(files)),
    )


def with_files(generation: Generation, files: Mapping[str, bytes]) -> Generation:
    """Return the generation of files that differ only in bytes without a meaning for it, such as tests and comments."""
    if generation.files == files:
        return generation
    return replace(generation, id=content_hash(files), files=MappingProxyType(dict(files)))


# -- transfer between processes ----------------------------------------------------------------------------------------


class PackedGeneration(msgspec.Struct, frozen=True):
    """Generation without its files and their declarations. All fields are fast to unpack."""

    id: str
    rules: bytes
    cells: bytes
    inheritance: tuple[Inheritance, ...]
    closures: dict[str, tuple[str, ...]]
    needs: PackedNeeds


def pack(generation: Generation) -> PackedGeneration:
    """Pack a generation for a process that has its files. `unpack` is the inverse."""
    return PackedGeneration(
        generation.id,
        generation.packed_rules,
        generation.cells.packed,
        generation.inheritance,
        dict(generation.closures),
        generation.needs.packed,
    )


def unpack(
    packed: PackedGeneration,
    files: Mapping[str, bytes],
    roles: Mapping[str, Role],
    sections: Mapping[str, Section],
    routes: RouteTable,
) -> Generation:
    """Return the generation of these files, which the compiler of another process has accepted.

    Raises ValueError if it was packed from other bytes (R25) or with other declarations.
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
        needs=Needs(packed.needs, roles, sections, packed.closures),
        files=MappingProxyType(dict(files)),
    )
