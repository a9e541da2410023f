"""Errors in AuthZEN's words: the status, and "an error message string" as the whole body. Denials are no errors."""

import msgspec

from sidecar.edge.answers import REALM, Answer, challenge
from sidecar.vocabulary.decision import Reason
from sidecar.vocabulary.problems import Problem

OUT_OF_SCOPE = f'Bearer realm="{REALM}", error="insufficient_scope"'


def tell(problem: Problem) -> Answer:
    """The message is a JSON string, so that a PEP that parses every answer as JSON never breaks on one."""
    headers = [("Cache-Control", "no-store"), ("Content-Type", "application/json")]
    if "reason" in problem.extra:
        headers.append(("X-Auth-Reason", problem.extra["reason"]))
    if problem.status == 401:
        headers.append(("WWW-Authenticate", challenge(Reason(problem.extra["reason"]))))
    if problem.status == 403:
        headers.append(("WWW-Authenticate", OUT_OF_SCOPE))
    if problem.retry_after is not None:
        headers.append(("Retry-After", str(problem.retry_after)))
    return Answer(problem.status, tuple(headers), msgspec.json.encode(problem.detail))
