"""Change of a store's issuer (R22): ends every session, raises every epoch, then changes the store's own record.

In this order, an interrupted change has only ended sessions and can be run again. The change is rejected while sidecars
serve, because they would continue to issue tokens of the old issuer.
"""

from dataclasses import dataclass

from sidecar.domain.users import Actor, Status
from sidecar.store import keys
from sidecar.store.accounts import Accounts
from sidecar.store.audit import Audit
from sidecar.store.connection import Store
from sidecar.store.integrity.data_set import replace
from sidecar.store.live.fleet import Fleet
from sidecar.store.outcomes import Changed, NoAccount
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper


@dataclass(frozen=True, slots=True)
class IssuerChanged:
    """Outcome of a change. ``signed_out``: number of users signed out."""

    before: str
    accounts: int
    signed_out: int


@dataclass(frozen=True, slots=True)
class SameIssuer:
    """Outcome: the store already has this issuer."""


@dataclass(frozen=True, slots=True)
class NoIssuer:
    """Outcome: no sidecar has served on this store; the first start sets the issuer."""


@dataclass(frozen=True, slots=True)
class StillServing:
    sidecars: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangedMeanwhile:
    """Outcome: another process set ``issuer`` at the same time."""

    issuer: str


Outcome = IssuerChanged | SameIssuer | NoIssuer | StillServing | ChangedMeanwhile


async def change_issuer(store: Store, fleet: Fleet, pepper: Pepper, issuer: str, actor: Actor) -> Outcome:
    before = (await store.meta()).get("issuer")
    if before is None:
        return NoIssuer()
    if before == issuer:
        return SameIssuer()
    serving = await fleet.members()
    if serving:
        return StillServing(tuple(str(member["id"]) for member in serving))
    accounts, signed_out = await _end_sessions(store, actor)
    # Before the change: a crash in between leaves an extra row, never a change without a row.
    await Audit(store).note("issuer.changed", actor, before={"issuer": before}, after={"issuer": issuer})
    reply = await store.run("issuer_change", [keys.META], [before, issuer], write=True)
    if reply["o"] != "changed":
        return ChangedMeanwhile(reply["issuer"])
    await replace(store, pepper, {"issuer": issuer})  # the partitions' copies, announced in the feed (R46)
    return IssuerChanged(before, accounts, signed_out)


async def _end_sessions(store: Store, actor: Actor) -> tuple[int, int]:
    """End all sessions. Returns the numbers of accounts and of users signed out."""
    users = Users(store)
    accounts, signed_out = await Accounts(store).all(), 0
    for account in accounts:
        roster = await users.roster(account.id)
        for member in () if isinstance(roster, NoAccount) else roster.members:
            if member.record.status is not Status.INVITED:
                outcome = await users.sign_out_everywhere(member.record.id, actor)
                signed_out += isinstance(outcome, Changed)
    return len(accounts), signed_out
