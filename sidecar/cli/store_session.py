"""Execution of verbs on the store: open it, run the job, report an obstacle in one line."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sidecar.cli.new_store import refusal
from sidecar.cli.output import answer_no, print_error, unavailable, usage_error
from sidecar.config.problems import DEMO_MARK
from sidecar.config.settings import Settings
from sidecar.domain.users import Account, Actor
from sidecar.policy.generation import Generation
from sidecar.server.admin_context import AdminContext, Consent, PolicyFilesError, operating
from sidecar.server.policy_in_force import policy_in_force
from sidecar.server.state_files import close_keys_and_state
from sidecar.sources.key_files import KeyFileError
from sidecar.store.connection import StoreMismatchError, StoreUnavailableError

T = TypeVar("T")
OPERATOR = Actor.operator()


def run_with_store(
    settings: Settings,
    job: Callable[[AdminContext], Awaitable[T]],
    consent: Consent | None = None,
    *,
    repair: bool = False,
    migrating: bool = False,
) -> T:
    """Run ``job`` on the configured store.

    ``consent``: permission to create a store (new_store.py). ``repair``: first rewrite a lost meta record.
    ``migrating``: first migrate the store to this version's schema.
    """
    if (settings.keys_dir / DEMO_MARK).exists():
        raise usage_error(f"{settings.keys_dir}: these are a demo's keys: use others")
    for warning in close_keys_and_state(settings):
        print_error(f"warning: {warning}")

    async def run() -> T:
        agreed = consent or refusal(settings)
        async with operating(settings, agreed, repair=repair, migrating=migrating) as operator:
            return await job(operator)

    try:
        return asyncio.run(run())
    except StoreUnavailableError as problem:
        raise (usage_error if problem.misconfigured else unavailable)(str(problem)) from None
    except (StoreMismatchError, KeyFileError) as problem:
        raise usage_error(str(problem)) from None


async def policy_of(operator: AdminContext) -> Generation:
    """Return the policy in force. A warning on stderr states that it is not that of the files."""
    try:
        found = await policy_in_force(operator)
    except PolicyFilesError as problem:
        raise usage_error(str(problem)) from None
    if found.warning:
        print_error(f"warning: {found.warning}")
    return found.generation


async def account_of(operator: AdminContext, named: str | None) -> Account:
    """Return the account of this name or id. Without a name, return the only account."""
    if named is not None:
        found = await operator.people.accounts.find(named)
        if found is None:
            raise answer_no(f"there is no account {named!r}: sidecar account list names them")
        return found
    every = await operator.people.accounts.all()
    if len(every) == 1:
        return every[0]
    raise usage_error(
        "there are several accounts: add --account NAME" if every else "there is no account yet: sidecar account create"
    )
