"""Trusted outside issuers from SIDECAR_TRUSTED_ISSUERS: their keys, tokens and users (R10).

The file is read at the start and at SIGHUP. After an invalid file at SIGHUP the last good list stays in force, with a
log line and the metric ``sidecar_trusted_issuers_rejected``. An unchanged entry keeps its keys and cached results. A
changed entry counts as a new issuer. Unusable keys and missing accounts are logged, and ``health`` reports them to the
metrics.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import aiohttp

from sidecar.config.settings import Settings
from sidecar.domain.caching import FifoCache
from sidecar.identity import emails
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.pdp.federation import ExternalIssuer, ExternalTokenVerifier, FederatedUsers
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.pdp.verification_budget import VerificationBudget
from sidecar.server.clock import since_boot
from sidecar.sources.remote_jwks import IssuerKeys, client, from_file, from_url
from sidecar.sources.trusted_issuers import TrustedIssuer, TrustedIssuersError, read_trusted_issuers
from sidecar.store.accounts import Accounts
from sidecar.store.connection import Store, StoreMismatchError, StoreUnavailableError
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.live.fleet import Fleet
from sidecar.store.live.record_cache import RecordCache
from sidecar.telemetry.app_log import logger
from sidecar.telemetry.metrics import IssuerHealth

ACCOUNTS_SECONDS: Final = 60.0
MISSING_SECONDS: Final = 5.0
"""Intervals of the check for missing accounts: ACCOUNTS_SECONDS when all existed, MISSING_SECONDS otherwise."""

UNLINKED_SECONDS: Final = 60.0
MAX_LOGGED: Final = 1000

_log = logger("issuers")


class IssuerRegistry:
    """Trusted issuers in force; empty when the setting is empty. Create it on the event loop, and call ``close``.

    ``budget`` limits the verification of every uncached token, including the sidecar's own. ``on_change`` is called
    when another list takes effect. ``on_verdict`` is called with True when a file is rejected.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the file. Raises TrustedIssuersError."""
        self._settings = settings
        found = self._read()
        self._session = client()
        self._parties = {entry: self._party(entry) for entry in found}
        self._changed = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._logged: FifoCache[tuple[str, str], float] = FifoCache(MAX_LOGGED)
        self._missing: Mapping[str, tuple[str, ...]] = {}
        self.budget = VerificationBudget()
        self.tokens = ExternalTokenVerifier(self._parties.values(), leeway=settings.leeway, budget=self.budget)
        self.on_change: Callable[[], None] = lambda: None
        self.on_verdict: Callable[[bool], None] = lambda _refused: None

    def users(
        self,
        store: Store,
        records: RecordCache,
        fleet: Fleet,
        unlinked: UnlinkedSubjects,
        *,
        linking: bool = True,
        on_unlinked: Callable[[str, str], None] | None = None,
    ) -> FederatedUsers:
        return FederatedUsers(
            self.tokens,
            links=FederatedIdentities(store),
            accounts=Accounts(store),
            records=records,
            normalise=emails.verified_elsewhere,
            everywhere=partial(wait_until_applied, fleet),
            unlinked=unlinked,
            linking=linking,
            on_unlinked=on_unlinked or self._log_unlinked,
        )

    def _log_unlinked(self, issuer: str, why: str) -> None:
        """Log at most one line per minute for each issuer and cause, because unknown subjects may be many."""
        now = since_boot()
        if now >= self._logged.get((issuer, why), now):
            self._logged.set((issuer, why), now + UNLINKED_SECONDS)
            _log.info("no user for a subject of an outside issuer", issuer=issuer, why=why)

    def reload(self) -> None:
        """Read the file now. It is small enough to block the event loop."""
        self._reloaded.set()
        try:
            found = self._read()
        except TrustedIssuersError as refused:
            for problem in refused.problems:
                _log.error("the trusted issuers on disk cannot be used; those in memory stay in force", problem=problem)
            self.on_verdict(True)
            return
        self.on_verdict(False)
        if set(found) == set(self._parties):
            return
        self._parties = {entry: self._parties.get(entry) or self._party(entry) for entry in found}
        self.tokens.trust(self._parties.values())
        self.on_change()
        self._changed.set()
        _log.info("trusted issuers in force", issuers=sorted(self.tokens.parties))

    def health(self) -> Iterator[IssuerHealth]:
        """Yield the health of every issuer in force."""
        for issuer, party in self.tokens.parties.items():
            missing = self._missing.get(issuer, ())
            yield IssuerHealth(issuer, bool(party.keys.problem), len(party.keys.left_out), len(missing))

    async def watch_accounts(self, accounts: Accounts) -> None:
        """Log each missing account of the file once. Runs until cancelled."""
        while True:
            with suppress(StoreUnavailableError, StoreMismatchError):
                missing = await missing_accounts(accounts, tuple(self._parties))
                for issuer, names in missing.items():
                    for name in set(names) - set(self._missing.get(issuer, ())):
                        _log.warning("a trusted issuer's account does not exist", issuer=issuer, problem=absent(name))
                self._missing = missing
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reloaded.wait(), MISSING_SECONDS if self._missing else ACCOUNTS_SECONDS)
            self._reloaded.clear()

    async def watch(self) -> None:
        """Keep the keys of every issuer in force loaded. Runs until cancelled."""
        watched: dict[TrustedIssuer, asyncio.Task[None]] = {}
        try:
            while True:
                self._changed.clear()
                for entry in watched.keys() - self._parties.keys():
                    watched.pop(entry).cancel()
                for entry in self._parties.keys() - watched.keys():
                    watched[entry] = asyncio.create_task(self._parties[entry].keys.watch())
                await self._next(watched)
        finally:
            for task in watched.values():
                task.cancel()
            await asyncio.gather(*watched.values(), return_exceptions=True)

    async def _next(self, watched: dict[TrustedIssuer, "asyncio.Task[None]"]) -> None:
        """Wait until the list changes. Raises the exception of a failed watch, because a watch never returns."""
        changed = asyncio.create_task(self._changed.wait())
        try:
            done, _ = await asyncio.wait((changed, *watched.values()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        for task in done:
            task.result()

    async def close(self) -> None:
        await self._session.close()

    def _read(self) -> tuple[TrustedIssuer, ...]:
        return read_issuers(self._settings)

    def _party(self, entry: TrustedIssuer) -> ExternalIssuer:
        return ExternalIssuer(entry.trust, _keys(self._session, entry), entry.accounts)


def read_issuers(settings: Settings) -> tuple[TrustedIssuer, ...]:
    """Read the configured issuers. Raises TrustedIssuersError."""
    file = settings.trusted_issuers
    return () if file is None else read_trusted_issuers(file, own_issuer=settings.issuer)


async def read_keys(entries: Iterable[TrustedIssuer]) -> dict[str, IssuerKeys]:
    """Read the keys of each entry's issuer once. A failure is in ``problem`` of the keys."""
    async with client() as session:
        keys = {entry.trust.issuer: _keys(session, entry) for entry in entries}
        await asyncio.gather(*(one.read_now() for one in keys.values()))
        return keys


async def missing_accounts(accounts: Accounts, entries: Sequence[TrustedIssuer]) -> dict[str, tuple[str, ...]]:
    """Return the missing accounts of each issuer's entry, by issuer. Raises StoreUnavailableError."""
    named = dict.fromkeys(name for entry in entries for name in entry.accounts)
    there = {name for name in named if await accounts.find(name) is not None}
    absent_by_issuer = {entry.trust.issuer: tuple(set(entry.accounts) - there) for entry in entries}
    return {issuer: tuple(sorted(names)) for issuer, names in absent_by_issuer.items() if names}


def absent(account: str) -> str:
    """Return the message for a missing account."""
    return f"there is no account {account!r}: create it, or remove it from the entry's accounts"


def _keys(session: aiohttp.ClientSession, entry: TrustedIssuer) -> IssuerKeys:
    read = from_url(session, entry.keys) if isinstance(entry.keys, str) else from_file(entry.keys)
    return IssuerKeys(entry.trust.issuer, read, entry.trust.algorithms, clock=since_boot)
