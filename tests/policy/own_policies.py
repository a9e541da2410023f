"""Policies with own segments, for tests: the shipped files with own paths in two sections."""

from collections.abc import Mapping

BILLING = '  { path = "/dashboard/billing/**", methods = ["GET"], action = "view" },\n'
ANALYTICS = '  { path = "/dashboard/analytics/**", methods = ["GET"], action = "view" },\n'
OWN_BILLING = """\
  { path = "/accounts/{account}/invoices/**", methods = ["GET"], action = "view" },
  { path = "/accounts/{account}/invoices/**", methods = ["POST"], action = "change-plan" },
  { path = "/accounts/*/invoices/terms", methods = ["GET"], action = "view", own = false },
  { path = "/accounts/{account}/users/{user}/**", methods = ["GET"], action = "view" },
"""
OWN_ANALYTICS = '  { path = "/reports/{user}/**", methods = ["GET"], action = "view" },\n'
ROWS = """
own billing/view, GET, /accounts/{account}/invoices/1
own billing/change-plan, POST, /accounts/{account}/invoices
billing/view, GET, /accounts/acc_bbbbbbbbbbbb/invoices/terms
own billing/view, GET, /accounts/{account}/users/{user}/cards
own analytics/view, GET, /reports/{user}
"""


def with_own(seed: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the shipped files with own paths: some of the section billing, and all of the section analytics."""
    sections = seed["sections.toml"].decode()
    assert BILLING in sections
    assert ANALYTICS in sections
    sections = sections.replace(BILLING, BILLING + OWN_BILLING).replace(ANALYTICS, OWN_ANALYTICS)
    tests = [line for line in seed["routes.csv"].decode().splitlines() if not line.startswith("analytics/")]
    return {**seed, "sections.toml": sections.encode(), "routes.csv": ("\n".join(tests) + ROWS).encode()}
