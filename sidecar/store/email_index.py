"""Where an e-mail may be found: an index for sign-in without an account. A hint, always a superset of the truth.

It lives in the e-mail's slot, not in the account's, so no script can keep both: it is written before the account's own
script and taken back after a removal. A stale hint is harmless, the account says no.
"""

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.scripting import look


async def hint(store: Store, email: str, account: AccountId) -> None:
    await store.change("SADD", keys.email_hint(email, store.partitions), account)


async def unhint(store: Store, email: str, account: AccountId) -> None:
    """After a removal. Looked at before and after: the e-mail may be invited again this very moment."""
    if await _holds(store, email, account):
        return
    await store.change("SREM", keys.email_hint(email, store.partitions), account)
    if await _holds(store, email, account):
        await hint(store, email, account)


async def _holds(store: Store, email: str, account: AccountId) -> bool:
    return bool((await look(store, "find", account, email=email, expired=True))["o"] == "found")


async def hinted(store: Store, email: str) -> list[AccountId]:
    return sorted(
        AccountId(account) for account in await store.command("SMEMBERS", keys.email_hint(email, store.partitions))
    )
