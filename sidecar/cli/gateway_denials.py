"""Explanation of a running sidecar's last denied checks, for ``sidecar doctor --from-gateway``."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.cli.health import fetch, fetch_bytes
from sidecar.config.parsers import Address
from sidecar.server.preflight import CheckFinding, CheckStatus

ENOUGH: Final = 10
"""Minimum number of checks for a finding about a reason that all of them have."""

_CHECKS: Final = re.compile(r"^sidecar_checks_total\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)
_REASON: Final = re.compile(r'reason="([a-z_]+)"')

_NO_CHECK: Final = "no check has arrived: point the gateway at a check endpoint of this sidecar (gateways/README.md)"
_NO_TOKEN: Final = "no check had a token: let the gateway pass Authorization and Cookie on"  # noqa: S105 (a sentence)


def gateway_findings(address: Address) -> Iterator[CheckFinding]:
    """Ask the sidecar at the ops listener. Raises CliError without a response."""
    _, status = fetch(address, "/status")
    _, exposition = fetch_bytes(address, "/metrics")
    yield from findings_of(status, reasons_in(exposition.decode("utf-8", "replace")))


def reasons_in(exposition: str) -> Counter[str]:
    """Return the number of checks by reason."""
    found: Counter[str] = Counter()
    for labels, value in _CHECKS.findall(exposition):
        reason = _REASON.search(labels)
        if reason is not None:
            found[reason[1]] += round(float(value))
    return found


def findings_of(status: Mapping[str, Any], reasons: Counter[str]) -> Iterator[CheckFinding]:
    """Yield a summary, then each kind of denial with its remedy, the newest first."""
    total, allowed = reasons.total(), reasons["allowed"] + reasons["public"]
    if total == 0:
        yield CheckFinding("gateway", CheckStatus.FAULT, _NO_CHECK)
        return
    summary = f"{total} checks, {allowed} allowed"
    denied = [f"{count} {reason}" for reason, count in reasons.most_common() if reason not in {"allowed", "public"}]
    state = CheckStatus.OK if allowed else CheckStatus.WARNING
    yield CheckFinding("gateway", state, ", ".join([summary, *denied]))
    if total >= ENOUGH and reasons["missing_token"] == total:
        yield CheckFinding("gateway", CheckStatus.FAULT, _NO_TOKEN)
    for denial in status.get("denials") or ():
        text = f"{denial['count']} at {denial['endpoint']}, the last {denial['age_s']:.0f} s ago: {denial['detail']}"
        yield CheckFinding(denial["kind"], CheckStatus.WARNING if allowed else CheckStatus.FAULT, text)
