"""axe-core in the page of a visitor."""

import json
from typing import Any

from tests.console.visitor import Visitor

OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}


def violations(visitor: Visitor) -> list[str]:
    """Return each violation with its element and the way to mend it."""
    from axe_playwright_python.base import AXE_SCRIPT

    if not visitor.page.evaluate("'axe' in window"):
        visitor.page.evaluate(AXE_SCRIPT + "; undefined")
    found: dict[str, Any] = visitor.page.evaluate(f"axe.run({json.dumps(OPTIONS)})")
    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
