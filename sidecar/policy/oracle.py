"""Proof of a compiled table: decides its cells again with pycasbin. The only import of casbin.

pycasbin is the reference semantics, not the parser. It receives the canonical model and, per role, that role's closure
of rules (R28), through an in-memory adapter. Roles have a prefix there, so that no role can be confused with a section
or a user. The proof fails if the distribution `casbin` is installed too, because it overwrites pycasbin's files.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zlib import crc32

import casbin
import casbin.util.log

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation
from sidecar.policy.model import MODEL
from sidecar.policy.rules import ANY, FILE, Rule

_pycasbin: Any = casbin  # untyped

CALL_COST = 10
"""Fixed cost of one pycasbin call, in units of evaluated rules."""
MAX_AT_START = 1_000_000
"""Limit of the full proof at start, in rule × cell. Above it, a seeded sample of cells is proved (R28)."""
MAX_WHOLE_FOR_EDIT = 150_000
"""Limit for an edit's proof with the whole closure of rules, in rule × cell: less than one second.

Above it, the narrow proof of `MAX_WHOLE` applies. If the calls alone exceed the limit, a sample is proved.
"""
MAX_WHOLE = 3_000_000
"""Limit of a full proof with the whole closure of rules, in rule × cell: about 15 seconds.

Above it, the narrow proof: each cell with only those rules of the closure that name its section or all sections, plus a
sample with the whole closure.
"""
SAMPLE = 100_000
"""Size of a sample in rule × cell: half a second."""
SAMPLE_FOR_EDIT = 40_000
"""Size of an edit's sample, in rule × cell. An edit must be active within two seconds.

Each generation has its own sample, so successive edits cover more of the table.
"""


Progress = Callable[[int, int], None]
"""Callback with two counts: cells proved, and cells to prove."""


def prove(
    generation: Generation,
    findings: DiagnosticSink,
    *,
    sampled: bool,
    hurried: bool = False,
    progress: Progress | None = None,
) -> None:
    """Report each cell with different decisions of table and pycasbin: a bug in either. None is known.

    Proves all cells. If ``sampled`` and the work exceeds `MAX_AT_START`, proves only a sample (`SAMPLE`). ``hurried``:
    the limits of an edit apply, with fewer rules per cell and smaller samples.
    """
    twin = beside_casbin()
    if twin:
        hint = "pip uninstall casbin, then pip install --force-reinstall pycasbin"
        findings.add(Code.CASBIN_INSTALLATION, FILE, (1, 1), twin, hint)
        return
    _pycasbin.util.log.disabled_logging()  # process-wide; pycasbin would log each request
    work = _work(generation)
    too_much = sampled and work > MAX_AT_START
    narrow = not too_much and work > (MAX_WHOLE_FOR_EDIT if hurried else MAX_WHOLE)
    if narrow and hurried and CALL_COST * len(generation.cells) > MAX_WHOLE_FOR_EDIT:
        narrow, too_much = False, True
    share = (SAMPLE_FOR_EDIT if hurried else SAMPLE) / work if narrow or too_much else 1.0
    rules: dict[str, list[Rule]] = {}
    for rule in generation.rules:
        rules.setdefault(rule.role, []).append(rule)
    for index, role in enumerate(generation.roles, start=1):
        witness = _Witness(generation, role, rules)
        for section, action in _cells(generation, role, share):
            _compare(generation, witness, section, action, findings)
        if narrow:
            for declared in generation.sections.values():
                witness.narrow(declared.id)
                for action in declared.actions:
                    _compare(generation, witness, declared.id, action, findings)
        if progress is not None:
            progress(index * len(generation.cells) // len(generation.roles), len(generation.cells))


def _compare(generation: Generation, witness: "_Witness", section: str, action: str, findings: DiagnosticSink) -> None:
    role = witness.role
    if witness.allows(section, action) is not ((section, action) in generation.allowed[role]):
        ruling = generation.cells[role, section, action]
        message = f"{role} {section}/{action} is {ruling.reason} in the table, and pycasbin differs"
        findings.add(Code.CASBIN_DISAGREES, FILE, (ruling.line or 1, 1), message, "please report this bug")


def beside_casbin() -> str | None:
    """Return the installation error as a sentence, or None."""
    try:
        version = importlib.metadata.version("casbin")
    except importlib.metadata.PackageNotFoundError:
        return None
    return f"the distribution casbin {version} is installed beside pycasbin and overwrites its files"


def _work(generation: Generation) -> int:
    """Return the work of the whole proof: rule × cell, plus the fixed cost per call."""
    per_role = dict.fromkeys(generation.roles, 0)
    for rule in generation.rules:
        per_role[rule.role] += 1
    cells = len(generation.cells) // max(1, len(generation.roles))
    rules = sum(per_role[other] for closure in generation.closures.values() for other in closure)
    return rules * cells + CALL_COST * len(generation.cells)


def _cells(generation: Generation, role: str, share: float) -> Iterator[tuple[str, str]]:
    """Yield all cells of a role, or a sample. The generation's hash is the seed, so a policy has one sample."""
    limit = int(share * 2**32)
    for section in generation.sections.values():
        for action in section.actions:
            if share >= 1.0 or _sample_point(generation.id, role, section.id, action) < limit:
                yield (section.id, action)


def _sample_point(*parts: str) -> int:
    return crc32("\n".join(parts).encode())


_PREFIX = "role:"


class _Witness:
    """pycasbin enforcer for one role and its closure of rules."""

    def __init__(self, generation: Generation, role: str, rules: dict[str, list[Rule]]) -> None:
        self.role = role
        closure = generation.closures[role]
        self._lines = [
            [_PREFIX + rule.role, rule.section, rule.action, str(rule.effect)]
            for name in closure
            for rule in rules.get(name, ())
        ]
        links = [[_PREFIX + g.role, _PREFIX + g.inherits] for g in generation.inheritance if g.role in closure]
        model = _pycasbin.Model()
        model.load_model_from_text(MODEL)
        self._enforcer = _pycasbin.Enforcer(model, _Adapter(self._lines, links), enable_log=False)

    def allows(self, section: str, action: str) -> bool:
        allowed: bool = self._enforcer.enforce(_PREFIX + self.role, section, action)
        return allowed

    def narrow(self, section: str) -> None:
        """Restrict the following calls to rules that name this section or all sections."""
        named = [line for line in self._lines if line[1] in (section, ANY)]
        self._enforcer.model["p"]["p"].policy[:] = named


class _Adapter(casbin.persist.Adapter):
    """Adapter that passes the rules to pycasbin without conversion to text."""

    def __init__(self, rules: Iterable[list[str]], links: Iterable[list[str]]) -> None:
        self._rules = list(rules)
        self._links = list(links)

    def load_policy(self, model: Any) -> None:
        model["p"]["p"].policy.extend(self._rules)
        model["g"]["g"].policy.extend(self._links)
