"""An operator at work: the store, keys and names of ``serve``, without its listeners.

On the embedded store: a running sidecar's is shared; with none running it is started for the work. A demo's
store is refused (R23), and so is one whose passwords another pepper made.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sidecar.accounts.hashing import Hashing
from sidecar.accounts.limits import Unlimited
from sidecar.accounts.parts import People, people
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.serve.assembly import issuer
from sidecar.serve.clock import since_boot
from sidecar.serve.settings import Settings
from sidecar.sources.key_files import LoadedKeys, load_or_create
from sidecar.sources.policy_files import read_policy_files
from sidecar.store.connection import Store
from sidecar.store.embedded import EmbeddedServer
from sidecar.store.live import LiveCopy
from sidecar.tokens.opaque import Pepper

PATIENCE: Final = 10.0
"""Seconds an operator's command waits for the store: a person at a slow link has more time than a gateway's check."""


class PolicyProblem(Exception):
    """The policy files give no generation. One sentence."""


@dataclass(frozen=True, slots=True)
class Operator:
    settings: Settings
    store: Store
    people: People
    pepper: Pepper


@asynccontextmanager
async def operating(settings: Settings) -> AsyncIterator[Operator]:
    """Raises StoreUnavailable, StoreRefused or KeyFileProblem."""
    async with AsyncExitStack() as stack:
        keys = load_or_create(settings.keys_dir)
        store = await Store.open(await _url(settings, stack), read_timeout=PATIENCE, write_timeout=PATIENCE)
        stack.push_async_callback(store.close)
        # Issuer and audience are the serving sidecars' affair: they are neither set nor compared here.
        await store.check_meta(pepper=keys.pepper.identity)
        hashing = Hashing(keys.pepper)
        stack.callback(hashing.close)
        yield Operator(settings, store, _people(settings, keys, store, hashing), keys.pepper)


async def operating_warnings(operator: Operator) -> tuple[str, ...]:
    """What weakens the store's promises, as ``serve`` would warn of it."""
    return await operator.store.check_meta()


def generation(settings: Settings) -> Generation:
    """The policy that the files say, for what R11 and the list of roles need. Raises PolicyProblem."""
    files = read_policy_files(settings.policy_dir, settings.model)
    compiled = compile_policy(files.files, proof=ProofScope.START, problems=files.diagnostics)
    if compiled.generation is not None:
        return compiled.generation
    first, *more = (found for found in compiled.diagnostics if found.is_error)
    others = f" (and {len(more)} more)" if more else ""
    raise PolicyProblem(f"the policy does not compile: {first}{others}; see sidecar policy check")


async def _url(settings: Settings, stack: AsyncExitStack) -> str:
    if settings.redis_url is not None:
        return settings.redis_url
    embedded = await EmbeddedServer.acquire(settings.state_dir)
    stack.push_async_callback(embedded.stop)
    return embedded.url


def _people(settings: Settings, keys: LoadedKeys, store: Store, hashing: Hashing) -> People:
    return people(
        store,
        # Not run: it waits for the fleet and is no part of it.
        LiveCopy(store, id="operator", lease=settings.lease, clock=since_boot).fleet,
        hashing=hashing,
        issuer=issuer(settings, keys),
        limits=Unlimited(),
        pepper=keys.pepper,
        entropy=os.urandom,
        public_url=settings.public_url,
        invite_ttl=settings.invite_ttl,
    )
