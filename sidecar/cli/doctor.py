"""``sidecar doctor``: checks everything that ``serve`` needs, also beside a running sidecar."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, say_json, say_table
from sidecar.cli.store_session import work
from sidecar.config.settings import Settings, problems
from sidecar.server.admin_context import NoStoreError, Operator, PolicyProblem, generation, operating_warnings
from sidecar.server.issuer_registry import absent, missing_accounts, read_issuers
from sidecar.server.preflight import State, Symptom, rehearse
from sidecar.server.state_files import close_keys_and_state
from sidecar.sources.key_files import KeyFileProblem, load
from sidecar.sources.trusted_issuers import TrustedIssuer, TrustedIssuersProblem
from sidecar.store.connection import Store, StoreRefused, StoreUnavailable
from sidecar.store.integrity import acl_permissions
from sidecar.store.maintenance.restore_mark import REMEDY, is_marked
from sidecar.store.maintenance.startup_checks import other_names

CLOCK_SECONDS = 5.0
"""Default leeway. Sidecars whose clocks differ by more reject each other's tokens."""


@click.command()
@settings_options()
@json_option
def doctor(as_json: bool, **flags: str | None) -> int:
    """Check everything that `serve` needs. Exit status 1 for a fault.

    Checks settings, certificates, issuers, mails, the decision log, the addresses, policy, keys, rights, store and
    clock. Run it as the user of `serve`, because it tests that user's permissions. A running sidecar is not disturbed.
    """
    settings = settings_from(flags)
    opened = [Symptom("keys", State.WARNING, warning) for warning in close_keys_and_state(settings)]
    symptoms = [
        *_settings(settings),
        *opened,
        *rehearse(settings),
        _policy(settings),
        _keys(settings),
        *_rights(settings),
        *_store(settings),
    ]
    if as_json:
        say_json([{"what": one.what, "state": one.state, "said": one.said} for one in symptoms])
    else:
        say_table(["what", "state", "said"], [(one.what, one.state, one.said) for one in symptoms])
    return NO if any(one.state is State.FAULT for one in symptoms) else OK


def _settings(settings: Settings) -> Iterator[Symptom]:
    found = problems(settings)
    yield from (Symptom("settings", State.WARNING, warning) for warning in (*settings.warnings, *settings.doubts))
    yield from (Symptom("settings", State.FAULT, problem) for problem in found)
    if not found:
        yield Symptom("settings", State.OK, "consistent")


def _policy(settings: Settings) -> Symptom:
    try:
        return Symptom("policy", State.OK, f"generation {generation(settings).id} of {settings.policy_dir}")
    except PolicyProblem as problem:
        return Symptom("policy", State.FAULT, str(problem))


def _keys(settings: Settings) -> Symptom:
    try:
        if not settings.keys_dir.exists():
            return Symptom("keys", State.OK, f"{settings.keys_dir} will be made at the first start")
        keys = load(settings.keys_dir, group_read=settings.keys_group_read).keys
    except (KeyFileProblem, OSError) as problem:
        return Symptom("keys", State.FAULT, str(problem))
    return Symptom("keys", State.OK, f"{len(keys.verifying)} in {settings.keys_dir}, {keys.kid} signs")


def _rights(settings: Settings) -> Iterator[Symptom]:
    """Check the permissions of the store's user. The embedded store permits everything."""
    if settings.redis_url is None:
        return
    try:
        missing = asyncio.run(_missing_rights(settings.redis_url))
    except (StoreUnavailable, StoreRefused):  # the store's own row reports it
        return
    if "keys" in missing.needed:
        yield Symptom("rights", State.FAULT, f"the store's user may not use keys sc:*: grant {acl_permissions.KEYS}")
    elif missing.needed:
        yield Symptom("rights", State.FAULT, _to_grant(missing.needed))
    else:
        yield Symptom("rights", State.OK, "every command of the sidecar is permitted")
    if missing.other:
        yield Symptom("rights", State.WARNING, _to_grant(missing.other))


async def _missing_rights(url: str) -> acl_permissions.MissingRights:
    store = await Store.open(url)
    try:
        return await acl_permissions.missing_rights(store)
    finally:
        await store.close()


def _to_grant(commands: Sequence[str]) -> str:
    return f"the store's user may not run {', '.join(commands)}: grant {' '.join(f'+{name}' for name in commands)}"


def _store(settings: Settings) -> Iterator[Symptom]:
    def none_yet(where: str) -> None:
        raise NoStoreError(where)

    async def job(operator: Operator) -> list[Symptom]:
        return [found async for found in _of_store(operator)]

    try:
        yield from work(settings, job, none_yet)
    except NoStoreError as none:
        yield Symptom("store", State.OK, f"{none.where} will be made at the first start")
    except click.ClickException as problem:
        yield Symptom("store", State.FAULT, problem.message)


async def _of_store(operator: Operator) -> AsyncIterator[Symptom]:
    store, settings = operator.store, operator.settings
    names = other_names(store.where, await store.meta(), issuer=settings.issuer, audience=settings.audience)
    for name in names:
        yield Symptom("store", State.FAULT, name)
    if not names:
        yield Symptom("store", State.OK, store.where)
    if await is_marked(store):
        yield Symptom("store", State.FAULT, f"a restore was not finished: {REMEDY}")
    for warning in await operating_warnings(operator):
        yield Symptom("store", State.WARNING, warning)
    for issuer, accounts in (await missing_accounts(operator.people.accounts, _issuers(settings))).items():
        for account in accounts:
            yield Symptom("issuers", State.WARNING, f"{issuer}: {absent(account)}")
    seconds, microseconds = await store.command("TIME")
    apart = time.time() - (int(seconds) + int(microseconds) / 1e6)
    state = State.OK if abs(apart) < CLOCK_SECONDS else State.FAULT
    yield Symptom("clock", state, f"{apart:+.1f} s against the store's")


def _issuers(settings: Settings) -> tuple[TrustedIssuer, ...]:
    try:
        return read_issuers(settings)
    except TrustedIssuersProblem:  # the preflight checks report it
        return ()
