"""Trusted outside issuers, put together from SIDECAR_TRUSTED_ISSUERS: their keys, their tokens, their users (R10)."""

import asyncio
import time

from sidecar.accounts import emails
from sidecar.pdp.budget import Budget
from sidecar.pdp.outside import OutsideTokens, OutsideUsers, TrustedParty
from sidecar.serve.settings import Settings
from sidecar.sources.remote_jwks import IssuerKeys, client, from_file, from_url
from sidecar.sources.trusted_issuers import TrustedIssuer, read_trusted_issuers
from sidecar.store.accounts import Accounts
from sidecar.store.connection import Store
from sidecar.store.links import Links
from sidecar.store.records import Records
from sidecar.store.users import Users


class TrustedIssuers:
    """None of them, when the setting is empty. To be made on the event loop; ``close`` ends what it opened.

    ``budget`` is for every never-seen token, ours among them.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises TrustedIssuersProblem."""
        path = settings.trusted_issuers
        found = () if path is None else read_trusted_issuers(path, own_issuer=settings.issuer)
        self._session = client()
        self._parties = [self._party(entry) for entry in found]
        self.budget = Budget()
        self.tokens = OutsideTokens(self._parties, leeway=settings.leeway, budget=self.budget)

    def users(self, store: Store, records: Records) -> OutsideUsers:
        return OutsideUsers(
            self.tokens,
            links=Links(store),
            users=Users(store),
            accounts=Accounts(store),
            records=records,
            normalise=emails.normalise,
        )

    async def watch(self) -> None:
        """Keep every issuer's keys at hand, until cancelled."""
        if self._parties:
            await asyncio.gather(*(party.keys.watch() for party in self._parties))

    async def close(self) -> None:
        await self._session.close()

    def _party(self, entry: TrustedIssuer) -> TrustedParty:
        read = from_url(self._session, entry.keys) if isinstance(entry.keys, str) else from_file(entry.keys)
        keys = IssuerKeys(entry.trust.issuer, read, entry.trust.algorithms, clock=time.monotonic)
        return TrustedParty(entry.trust, keys, entry.accounts)
