"""The policy's tests as a JUnit report: what CI systems show beside the tests of the code."""

from xml.sax.saxutils import escape, quoteattr

from sidecar.cli.output import plain
from sidecar.cli.policy_files import Source
from sidecar.policy.compiler import Compiled
from sidecar.policy.diagnostics import JUDGEMENTS, path_of
from sidecar.policy.expectations import EXPECTATIONS, ROUTES, Expectation, RouteTest


def junit(result: Compiled, source: Source) -> str:
    """One suite a file; what fails beside the tests (syntax, gaps, invariants) is an error of a suite of its own."""
    got = dict(result.verdict.failed)
    suites = [
        _suite(
            path_of(EXPECTATIONS),
            source,
            [_case(e, _expected(e), got, EXPECTATIONS, source) for e in result.suite.expectations],
        ),
        _suite(path_of(ROUTES), source, [_case(t, _route(t), got, ROUTES, source) for t in result.suite.routes]),
    ]
    others = [
        d
        for d in result.diagnostics
        if d.is_error and (d.code not in JUDGEMENTS or d.code.startswith(("missing", "untested")))
    ]
    cases = [
        f'    <testcase classname="policy" name={_attribute(f"{d.file}:{d.line} {d.code}")}>'
        f"<error message={_attribute(d.message)}>{escape(plain(str(d)))}</error></testcase>"
        for d in others
    ]
    suites.append(_suite("policy", source, cases))
    return '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n' + "".join(suites) + "</testsuites>\n"


def _suite(name: str, source: Source, cases: list[str]) -> str:
    failures = sum("<failure" in case for case in cases)
    errors = sum("<error" in case for case in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{errors}"'
    return "\n".join((f"  <testsuite name={_attribute(source.name_of(name))} {counts}>", *cases, "  </testsuite>\n"))


def _case(
    test: Expectation | RouteTest,
    name: str,
    got: dict[Expectation | RouteTest, str],
    file: str,
    source: Source,
) -> str:
    where = source.name_of(f"{path_of(file)}:{test.line}")
    head = f"    <testcase classname={_attribute(where)} name={_attribute(name)}"
    if test not in got:
        return head + "/>"
    return head + f"><failure message={_attribute(f'got {got[test]}')}/></testcase>"


def _expected(test: Expectation) -> str:
    return f"{'allow' if test.allowed else 'deny'} {test.role} {test.section}/{test.action}"


def _route(test: RouteTest) -> str:
    return f"{test.method} {test.path} is {test.expected}"


def _attribute(text: str) -> str:
    return quoteattr(plain(text))
