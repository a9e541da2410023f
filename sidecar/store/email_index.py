"""Index from e-mails to accounts, for a sign-in without an account. A hint: always a superset of the truth.

An entry is in the e-mail's slot, not in the account's, so no script can write both. The entry is added before the
account's own script runs, and removed after a removal. A stale hint is harmless, because the account's script decides.
"""

from sidecar.domain.users import AccountId
from sidecar.store import keys
from sidecar.store.connection import Store
from sidecar.store.scripting import run_read


async def add_email(store: Store, email: str, account: AccountId) -> None:
    """Add the account to the entry of the normalised e-mail."""
    await store.change("SADD", keys.email_hint(email, store.partitions), account)


async def remove_email(store: Store, email: str, account: AccountId) -> None:
    """Remove the account from the entry. Reads before and after: a concurrent invitation may add the e-mail again."""
    if await _holds(store, email, account):
        return
    await store.change("SREM", keys.email_hint(email, store.partitions), account)
    if await _holds(store, email, account):
        await add_email(store, email, account)


async def _holds(store: Store, email: str, account: AccountId) -> bool:
    return bool((await run_read(store, "find", account, email=email, expired=True))["o"] == "found")


async def lookup_email(store: Store, email: str) -> list[AccountId]:
    """Return the accounts in the entry of the normalised e-mail, sorted."""
    return sorted(
        AccountId(account) for account in await store.command("SMEMBERS", keys.email_hint(email, store.partitions))
    )
