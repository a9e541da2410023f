"""``X-Sidecar-At-Least`` (R30): respond from data no older than a given change, or with a problem.

Each response to a change carries its revision in ``X-Sidecar-Revision``. Only rows with ``at_least`` (``POST
/v1/check`` and AuthZEN) read the header, because a gateway would pass on its client's value.
"""

import re
from typing import Final

from sidecar.domain.decision import Reason
from sidecar.domain.peps import Pep
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import AccountId
from sidecar.http.authorization import admit
from sidecar.http.context import AppContext
from sidecar.http.credentials import credential
from sidecar.http.endpoint import Requirement, RequireScope
from sidecar.http.headers import RawHeaders, header_values
from sidecar.http.request import Caller
from sidecar.policy.generation import Generation
from sidecar.store.live.revision_status import RevisionStatus

AT_LEAST: Final = b"x-sidecar-at-least"
REVISION: Final = "X-Sidecar-Revision"

_NUMBER: Final = re.compile(rb"[0-9]{1,15}")


async def admit_at_least(
    guard: Requirement,
    app: AppContext,
    generation: Generation | None,
    method: str,
    headers: RawHeaders,
    peer: str | None,
) -> Caller | Pep | Problem | None:
    """Check ``guard`` as ``admit`` does, by records no older than the requested revision."""
    caller = await admit(guard, app, generation, method, headers, peer)
    wanted = _revision(headers)
    if wanted is None:
        return caller
    if isinstance(wanted, Problem):
        return caller if isinstance(caller, Problem) else wanted
    account = _account(caller, guard, app, headers)
    if account is None or app.revisions.has(account, wanted):
        return caller
    match await app.revisions.reach(account, wanted):
        case RevisionStatus.UNKNOWN:
            return Problem(Code.BAD_REQUEST, f"X-Sidecar-At-Least: revision {wanted} does not exist yet")
        case RevisionStatus.LATE:
            return Problem(
                Code.STORE_UNAVAILABLE,
                f"this sidecar has not applied revision {wanted} yet; try again shortly",
                {"reason": Code.STORE_UNAVAILABLE.value},
                retry_after=1,
            )
        case RevisionStatus.REACHED:  # the first check may have used older data, and an older policy
            return await admit(guard, app, app.policy.generation, method, headers, peer)


def _revision(headers: RawHeaders) -> int | Problem | None:
    found = header_values(headers, AT_LEAST)
    if not found:
        return None
    if len(found) > 1 or _NUMBER.fullmatch(found[0]) is None:
        return Problem(Code.BAD_REQUEST, "X-Sidecar-At-Least must be one revision from an X-Sidecar-Revision header")
    return int(found[0])


def _account(
    caller: Caller | Pep | Problem | None, guard: Requirement, app: AppContext, headers: RawHeaders
) -> AccountId | None:
    """Return the account to which the revision belongs.

    For a denied user, possibly by stale data, read it from the token.
    """
    match caller:
        case Caller():
            return caller.record.account
        case Pep():
            return caller.account
        case _ if isinstance(guard, RequireScope):
            return None  # an unknown key has already been looked up in the store
        case _:
            credentials = credential(headers, app.public_config.cookie)
            return None if isinstance(credentials, Reason) else app.pdp.account(credentials)
