"""Compiler of the policy: all files → a generation, or all findings. Shared by server, CLI and console.

All findings are reported at once: an unreadable file is one finding, and the other files are still checked. The
policy's own tests and the invariants of R26 are part of compilation. A policy that fails them is never activated, but
its `draft` can be inspected.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.policy import lint
from sidecar.policy.declarations import Vocabulary, read_vocabulary
from sidecar.policy.diagnostics import (
    FILES,
    MODEL_FILE,
    NO_FILE,
    OPTIONAL_FILES,
    TEST_FAILURES,
    Diagnostic,
    DiagnosticSink,
)
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.expectations import Suite, TestResults, read_suite
from sidecar.policy.generation import Generation, build, with_files
from sidecar.policy.model import check_model
from sidecar.policy.needs import conditions as conditions_file
from sidecar.policy.needs import lines as needs_file
from sidecar.policy.needs.conditions import Conditions, read_conditions
from sidecar.policy.needs.lines import NeedBook, read_needs
from sidecar.policy.needs.lint import check_needs
from sidecar.policy.needs.proof import prove_needs
from sidecar.policy.needs.table import TooManyClassesError
from sidecar.policy.routes import RouteTable
from sidecar.policy.rules import RuleBook, read_closures, read_rules
from sidecar.policy.stages import Stages
from sidecar.policy.suite_runner import run_tests


class ProofScope(StrEnum):
    """Share of the table that is verified with pycasbin (R28). ``NONE`` is for previews, which are never activated."""

    FULL = "full"
    START = "start"
    EDIT = "edit"
    NONE = "none"


Progress = Callable[[int, int], None]
"""Callback with two counts: cells proved, and cells to prove."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Result of a compilation. ``generation`` is None if and only if there is an error.

    ``draft`` is set once the rules are valid, even if tests or invariants fail. Explain, diff and preview use it; it is
    never activated. ``verdict`` holds the test results of the draft.
    """

    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]
    draft: Generation | None = None
    verdict: TestResults = field(default_factory=TestResults)
    suite: Suite = field(default_factory=Suite)

    @property
    def valid(self) -> bool:
        """Return whether the policy compiles, without regard to its own tests (`POST /v1/policy/preview`)."""
        return all(d.code in TEST_FAILURES for d in self.diagnostics if d.is_error)


def compile_policy(
    files: Mapping[str, bytes],
    *,
    proof: ProofScope = ProofScope.FULL,
    problems: Iterable[Diagnostic] = (),
    progress: Progress | None = None,
    stages: Stages | None = None,
) -> Compiled:
    """Compile the policy files.

    ``files`` maps bare names to bytes. ``problems`` are findings of the file reader, such as the reason why a file is
    missing. ``stages``: memory of earlier compilations, for an editor.
    """
    findings, stages = DiagnosticSink(), stages or Stages()
    findings.extend(problems)
    _report_missing(files, findings)
    sources = _read_sources(files, stages, findings)
    vocabulary, need_book = sources.vocabulary, sources.need_book
    broken = findings.errors_in(MODEL_FILE, "policy.csv", "roles.toml", "sections.toml", *OPTIONAL_FILES)
    tests = (files.get("expectations.csv"), files.get("routes.csv"))
    suite = stages.run(
        "suite",
        (*tests, vocabulary.names, need_book.conditions),
        findings,
        lambda sink: read_suite(*tests, vocabulary, need_book.conditions, sink),
    )
    draft, verdict = None, TestResults()
    if not broken:
        draft = _build(files, sources, stages, findings)
    if draft is not None:
        _lint(draft, suite, stages, findings)
        verdict = run_tests(draft, suite, findings)
        _prove(draft, proof, findings, progress)
    generation = None if findings.has_errors or draft is None else draft.lean()
    return Compiled(generation, findings.sorted(), draft, verdict, suite)


@dataclass(frozen=True, slots=True)
class _Sources:
    """Declarations and lines of the files, without the tests."""

    vocabulary: Vocabulary
    book: RuleBook
    closures: Mapping[str, tuple[str, ...]]
    need_book: NeedBook


def _read_sources(files: Mapping[str, bytes], stages: Stages, findings: DiagnosticSink) -> _Sources:
    if MODEL_FILE in files:
        model = files[MODEL_FILE]
        stages.run("model", (model,), findings, lambda sink: check_model(model, sink))
    declared = (files.get("roles.toml"), files.get("sections.toml"))
    vocabulary = stages.run("vocabulary", declared, findings, lambda sink: read_vocabulary(files, sink, stages))
    rules, names = files.get("policy.csv"), vocabulary.names
    book = RuleBook()
    if rules is not None:
        book = stages.run("rules", (rules, names), findings, lambda sink: read_rules(rules, vocabulary, sink))
    closures = stages.run(
        "closures",
        (names, book.inheritance),
        findings,
        lambda sink: read_closures(vocabulary.roles or {}, book.inheritance, sink),
    )
    need_files = (files.get(conditions_file.FILE), files.get(needs_file.FILE))
    need_book = stages.run("needs", (*need_files, names), findings, lambda sink: _read_needs(files, vocabulary, sink))
    return _Sources(vocabulary, book, closures, need_book)


def _report_missing(files: Mapping[str, bytes], findings: DiagnosticSink) -> None:
    for name in FILES:
        if name not in files and name not in OPTIONAL_FILES and not findings.errors_in(name):
            findings.add(Code.MISSING_FILE, name, (1, 1), "the file is missing", NO_FILE)


def _read_needs(files: Mapping[str, bytes], vocabulary: Vocabulary, findings: DiagnosticSink) -> NeedBook:
    conditions = read_conditions(files.get(conditions_file.FILE), findings)
    if needs_file.FILE in files and conditions_file.FILE not in files:
        if not findings.errors_in(conditions_file.FILE):
            message = "the file is missing, and needs.csv refers to it"
            hint = "declare the conditions there, or delete needs.csv and the rows with without in expectations.csv"
            findings.add(Code.MISSING_FILE, conditions_file.FILE, (1, 1), message, hint)
        conditions = Conditions(readable=False)
    return NeedBook(conditions, read_needs(files.get(needs_file.FILE), conditions, vocabulary, findings))


def _build(
    files: Mapping[str, bytes], sources: _Sources, stages: Stages, findings: DiagnosticSink
) -> Generation | None:
    if sources.vocabulary.roles is None or sources.vocabulary.sections is None:
        return None
    known = {name: files[name] for name in FILES if name in files}
    inputs = (sources.vocabulary, sources.book, sources.closures, sources.need_book)
    built = stages.run("build", inputs, findings, lambda sink: _build_new(known, sources, sink))
    return None if built is None else with_files(built, known)


def _build_new(files: Mapping[str, bytes], sources: _Sources, findings: DiagnosticSink) -> Generation | None:
    vocabulary, book = sources.vocabulary, sources.book
    routes = RouteTable(vocabulary.routes)
    try:
        return build(
            files,
            vocabulary.roles or {},
            vocabulary.sections or {},
            routes,
            book.rules,
            book.inheritance,
            sources.closures,
            sources.need_book,
        )
    except TooManyClassesError as error:
        hint = "use fewer conditions of different kinds, or fewer different limits"
        findings.add(Code.POLICY_TOO_LARGE, needs_file.FILE, (1, 1), str(error), hint)
        return None


def _lint(draft: Generation, suite: Suite, stages: Stages, findings: DiagnosticSink) -> None:
    denied = suite.denied()

    def check(sink: DiagnosticSink) -> None:
        lint.warn(draft, denied, sink)
        lint.check_invariants(draft, sink)
        check_needs(draft, sink)

    stages.run("lint", (draft.cells, draft.needs, draft.files["roles.toml"], denied), findings, check)


def _prove(draft: Generation, scope: ProofScope, findings: DiagnosticSink, progress: Progress | None) -> None:
    if scope is ProofScope.NONE:
        return
    from sidecar.policy import oracle  # noqa: PLC0415 - importing pycasbin takes 50 ms, and only the proof needs it

    sampled, hurried = scope is not ProofScope.FULL, scope is ProofScope.EDIT
    oracle.prove(draft, findings, sampled=sampled, hurried=hurried, progress=progress)
    prove_needs(draft, findings, sampled=sampled, hurried=hurried)
