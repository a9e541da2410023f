"""Policies with needs, for tests: the shipped files, and conditions, needs and their rows in expectations.csv."""

from collections.abc import Mapping

CONDITIONS = """
[conditions.second-factor]
title = "Second factor"
second_factor = true
[conditions.passkey]
methods = ["passkey"]
[conditions.recent-sign-in]
title = "Recent sign-in"
signed_in_within = "15m"
[conditions.fresh]
signed_in_within = "5m"
[conditions.office]
networks = ["192.0.2.0/24", "2001:db8::/48"]
[conditions.office-hours]
hours = { days = "mon-fri", from = "08:00", to = "18:00", zone = "Europe/Berlin" }
[conditions.paid-plan]
account = { plan = ["pro", "enterprise"] }
"""

CHANGE_PLAN = "needs, accountant, billing, change-plan, second-factor | office\n"
CHANGE_PLAN_ROW = "deny, accountant, billing, change-plan, without second-factor | office\n"


def with_needs(
    seed: Mapping[str, bytes], needs: str = CHANGE_PLAN, rows: str = CHANGE_PLAN_ROW, conditions: str = CONDITIONS
) -> dict[str, bytes]:
    """Return the shipped files with these conditions, lines of needs.csv and more rows of expectations.csv."""
    return {
        **seed,
        "conditions.toml": conditions.encode(),
        "needs.csv": needs.encode(),
        "expectations.csv": seed["expectations.csv"] + rows.encode(),
    }
