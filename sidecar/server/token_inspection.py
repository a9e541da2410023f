"""Verification of one token for the command line, with the code of ``serve``. Links no outside subject.

The token itself needs only the keys. Its user and session are read from an existing store; a store is never made.
"""

import time
from dataclasses import dataclass

from sidecar.config.settings import Settings
from sidecar.domain.access import Credential, CredentialSource
from sidecar.domain.decision import Reason
from sidecar.domain.users import UserRecord
from sidecar.pdp.decision_basis import Identity
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.server.admin_context import AdminContext, NoStoreError, operating
from sidecar.server.clock import since_boot
from sidecar.server.issuer_registry import IssuerRegistry
from sidecar.sources.key_files import KeyFileError
from sidecar.store.connection import StoreMismatchError, StoreUnavailableError
from sidecar.store.live.replica import RecordReplica
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import ExternalClaims, ExternalToken
from sidecar.tokens.verify import Verifier


@dataclass(frozen=True, slots=True)
class Inspection:
    """Result. ``reason``: cause of a rejection, None for a valid token. ``issuer``: the outside issuer named by the
    token.

    ``store_skipped``: cause of a skipped store read. ``key_problem``: problem of the issuer's keys. ``why``: details
    for an outside subject without a user.
    """

    reason: Reason | None
    issuer: str | None = None
    user: UserRecord | None = None
    store_skipped: str | None = None
    key_problem: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class StoreSkipped:
    """The store could not be read."""

    why: str


class NoPolicy:
    """Identifying a user needs no policy."""

    generation = None


async def inspect_token(settings: Settings, verifier: Verifier, token: str) -> Inspection:
    """Verify ``token`` and look up its user. Raises TrustedIssuersError."""
    trusted = IssuerRegistry(settings)
    try:
        tokens = TokenCache(verifier, external=trusted.tokens.claimed)
        issuer, problem = None, ""
        claims: Claims | ExternalToken | ExternalClaims | Reason = tokens.verify(token, now=int(time.time()))
        if isinstance(claims, ExternalToken):
            issuer, keys = claims.issuer, trusted.tokens.parties[claims.issuer].keys
            await keys.read_now()
            problem = keys.problem
            claims = await trusted.tokens.verify(claims, now=int(time.time()))
        if isinstance(claims, Reason):
            return Inspection(claims, issuer, key_problem=problem)
        why: list[str] = []
        found = await _by_store(settings, trusted, tokens, token, why)
        if isinstance(found, StoreSkipped):
            return Inspection(None, issuer, store_skipped=found.why, key_problem=problem)
        if isinstance(found, Reason):
            return Inspection(found, issuer, key_problem=problem, why="".join(why))
        return Inspection(None, issuer, found.record, key_problem=problem)
    finally:
        await trusted.close()


async def _by_store(
    settings: Settings, trusted: IssuerRegistry, tokens: TokenCache, token: str, why: list[str]
) -> Identity | Reason | StoreSkipped:
    """Return the identity. ``why`` collects the cause when an outside subject has no user."""
    if settings.redis_url is None and not (settings.state_dir / "store").exists():
        return StoreSkipped(f"no SIDECAR_REDIS_URL is set, and {settings.state_dir} has no store")
    try:
        async with operating(settings) as operator:
            found = await _identify(operator, trusted, tokens, token, why)
    except (StoreUnavailableError, StoreMismatchError, KeyFileError, NoStoreError) as problem:
        return StoreSkipped(str(problem))
    return StoreSkipped("the store does not respond") if found is Reason.STORE_UNAVAILABLE else found


async def _identify(
    operator: AdminContext, trusted: IssuerRegistry, tokens: TokenCache, token: str, why: list[str]
) -> Identity | Reason:
    # Not run: without the feed, every record is read from the store.
    records = RecordReplica(operator.store, id="operator", lease=operator.settings.lease, clock=since_boot).records
    unlinked = UnlinkedSubjects(live=lambda _account: False, clock=since_boot)
    outside = trusted.users(
        operator.store,
        records,
        operator.people.fleet,
        unlinked,
        linking=False,
        on_unlinked=lambda _issuer, cause: why.append(cause),
    )
    point = DecisionPoint(NoPolicy(), tokens, records, clock=time.time, outside=outside)
    return await point.identify(Credential(CredentialSource.HEADER, token))
