"""The proof: every cell of a compiled table, asked again of pycasbin. The only import of casbin.

pycasbin is the reference semantics and never the parser: it gets the canonical model and, for each role, that role's
closure of rules (R28), through an adapter in memory. Roles are prefixed there, and nowhere else, so that no role can
be taken for a section or a user. It is refused beside the distribution `casbin`, which overwrites its files.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zlib import crc32

import casbin
import casbin.util.log

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import Findings
from sidecar.policy.generation import Generation
from sidecar.policy.model import MODEL
from sidecar.policy.rules import ANY, FILE, Rule

_pycasbin: Any = casbin  # it has no types

ASKING = 10
"""What a question costs beside the rules that it goes through, in rules."""
MAX_AT_START = 1_000_000
"""Rule × cell: what a start proves in full; above it a seeded sample of cells (R28)."""
MAX_WHOLE_FOR_EDIT = 150_000
"""Rule × cell that an edit asks with the whole closure of rules, under a second; above it as above `MAX_WHOLE`, or,
where that many cells alone take as long, a sample."""
MAX_WHOLE = 3_000_000
"""Rule × cell: what a full proof asks with the whole closure of rules, some fifteen seconds. Above it every cell is
asked with the rules of the closure that name its section or every section, and a sample with the whole closure."""
SAMPLE = 100_000
"""Rule × cell of a sample: half a second."""
SAMPLE_FOR_EDIT = 40_000
"""The same for an edit, which is to be in force within two seconds. Each has a sample of its own: edits add up."""


Progress = Callable[[int, int], None]
"""Called with cells proved and cells to prove."""


def prove(
    generation: Generation,
    findings: Findings,
    *,
    sampled: bool,
    hurried: bool = False,
    progress: Progress | None = None,
) -> None:
    """Reports each cell on which table and pycasbin differ. None is known; one would be a bug of ours or theirs.

    All cells, or, when ``sampled`` and the work is above `MAX_AT_START`, a sample of them (`SAMPLE`). ``hurried``:
    somebody waits for an edit; what is asked in full is asked with fewer rules sooner.
    """
    twin = beside_casbin()
    if twin:
        hint = "pip uninstall casbin, then pip install --force-reinstall pycasbin"
        findings.add(Code.CASBIN_INSTALLATION, FILE, (1, 1), twin, hint)
        return
    _pycasbin.util.log.disabled_logging()  # process-wide; they would write what is asked
    work = _work(generation)
    too_much = sampled and work > MAX_AT_START
    narrow = not too_much and work > (MAX_WHOLE_FOR_EDIT if hurried else MAX_WHOLE)
    if narrow and hurried and ASKING * len(generation.cells) > MAX_WHOLE_FOR_EDIT:
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


def _compare(generation: Generation, witness: "_Witness", section: str, action: str, findings: Findings) -> None:
    role = witness.role
    if witness.allows(section, action) is not ((section, action) in generation.allowed[role]):
        ruling = generation.cells[role, section, action]
        message = f"{role} {section}/{action} is {ruling.reason} in the table and otherwise in pycasbin"
        findings.add(Code.CASBIN_DISAGREES, FILE, (ruling.line or 1, 1), message, "report this: it is not your mistake")


def beside_casbin() -> str | None:
    """What is wrong with the installation, in a sentence, or None."""
    try:
        version = importlib.metadata.version("casbin")
    except importlib.metadata.PackageNotFoundError:
        return None
    return f"the distribution casbin {version} is installed beside pycasbin and overwrites its files"


def _work(generation: Generation) -> int:
    """Rule × cell of the whole proof, and what each question costs by itself."""
    per_role = dict.fromkeys(generation.roles, 0)
    for rule in generation.rules:
        per_role[rule.role] += 1
    cells = len(generation.cells) // max(1, len(generation.roles))
    rules = sum(per_role[other] for closure in generation.closures.values() for other in closure)
    return rules * cells + ASKING * len(generation.cells)


def _cells(generation: Generation, role: str, share: float) -> Iterator[tuple[str, str]]:
    """All cells of a role, or a sample that the generation's own hash chooses: the same policy, the same sample."""
    limit = int(share * 2**32)
    for section in generation.sections.values():
        for action in section.actions:
            if share >= 1.0 or _lot(generation.id, role, section.id, action) < limit:
                yield (section.id, action)


def _lot(*parts: str) -> int:
    return crc32("\n".join(parts).encode())


_PREFIX = "role:"


class _Witness:
    """pycasbin, knowing one role and its closure of rules."""

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
        """From now on only the rules that name this section, or every one."""
        named = [line for line in self._lines if line[1] in (section, ANY)]
        self._enforcer.model["p"]["p"].policy[:] = named


class _Adapter(casbin.persist.Adapter):
    """Hands the rules over as they are; nothing is written to text and parsed again."""

    def __init__(self, rules: Iterable[list[str]], links: Iterable[list[str]]) -> None:
        self._rules = list(rules)
        self._links = list(links)

    def load_policy(self, model: Any) -> None:
        model["p"]["p"].policy.extend(self._rules)
        model["g"]["g"].policy.extend(self._links)
