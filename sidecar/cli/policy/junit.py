"""JUnit report of the policy's tests, for CI systems."""

from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from sidecar.cli.output import plain
from sidecar.cli.policy.policy_source import Source
from sidecar.policy.compiler import Compiled
from sidecar.policy.diagnostics import Diagnostic, path_of
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.expectations import EXPECTATIONS, ROUTES, Expectation, FailedTest, RouteTest
from sidecar.policy.needs.rows import PREFIX

NOT_RUN: Final = "not judged: the policy does not compile"


def junit(result: Compiled, diagnostics: Sequence[Diagnostic], source: Source) -> str:
    """Return the report, with one suite per file.

    Failures outside the tests (syntax, gaps, invariants, coverage) form a suite of their own. ``diagnostics``: findings
    after `--strict` and `--threshold`, with files named as the user does. A test that did not run is reported as
    skipped.
    """
    suite = result.suite
    got = None if result.draft is None else {one.test: _got(one) for one in result.verdict.failed}
    suites = [
        _suite(
            source.name_of(path_of(EXPECTATIONS)), [_case(e, _expected(e), got, source) for e in suite.expectations]
        ),
        _suite(source.name_of(path_of(ROUTES)), [_case(t, _route(t), got, source) for t in suite.routes]),
        _suite("policy", [_finding(d) for d in diagnostics if d.is_error and not _stands_at_a_test(d)]),
    ]
    return '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n' + "".join(suites) + "</testsuites>\n"


def _stands_at_a_test(diagnostic: Diagnostic) -> bool:
    return diagnostic.code in (Code.FAILED_EXPECTATION, Code.FAILED_ROUTE)


def _finding(diagnostic: Diagnostic) -> str:
    """Return a test case: a failure for low coverage, otherwise an error, because it prevented a measurement."""
    kind = "failure" if diagnostic.code is Code.LOW_COVERAGE else "error"
    name = _attribute(f"{diagnostic.file}:{diagnostic.line} {diagnostic.code}")
    element = f"<{kind} message={_attribute(diagnostic.message)}>{escape(plain(str(diagnostic)))}</{kind}>"
    return f'    <testcase classname="policy" name={name}>{element}</testcase>'


def _suite(name: str, cases: list[str]) -> str:
    counts = " ".join(
        f'{what}="{sum(f"><{tag} " in case for case in cases)}"'
        for what, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    )
    head = f'  <testsuite name={_attribute(name)} tests="{len(cases)}" {counts}>'
    return "\n".join((head, *cases, "  </testsuite>\n"))


Test = Expectation | RouteTest

SHOWN: Final = 20
"""Maximum number of a failed row's cells in its message."""


def _case(test: Test, name: str, failed: Mapping[Test, str] | None, source: Source) -> str:
    """Return a test case. ``failed``: actual results of the failed tests; None when no test ran."""
    file = EXPECTATIONS if isinstance(test, Expectation) else ROUTES
    where = source.name_of(f"{path_of(file)}:{test.line}")
    head = f"    <testcase classname={_attribute(where)} name={_attribute(name)}"
    if failed is None:
        return head + f"><skipped message={_attribute(NOT_RUN)}/></testcase>"
    got = failed.get(test)
    return head + ("/>" if got is None else f"><failure message={_attribute(f'got {got}')}/></testcase>")


def _got(failed: FailedTest) -> str:
    """Return the result; for a row with a wildcard, with the cells that differ."""
    cells = [f"{section}/{action}" for section, action in failed.cells]
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return f"{failed.got} on {', '.join(cells[:SHOWN])}{more}" if cells else failed.got


def _expected(test: Expectation) -> str:
    missing = f" {PREFIX} {' | '.join(test.without)}" if test.without else ""
    return f"{test.effect} {test.role} {test.section}/{test.action}{missing}"


def _route(test: RouteTest) -> str:
    return f"{test.method} {test.path} is {test.expected}"


def _attribute(text: str) -> str:
    return quoteattr(plain(text))
