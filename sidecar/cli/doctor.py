"""``sidecar doctor``: checks everything that ``serve`` needs, also beside a running sidecar."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import click

from sidecar.cli.doctor_policy import policy_keys, stored_policy
from sidecar.cli.gateway_denials import gateway_findings
from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, print_json, print_table
from sidecar.cli.store_session import run_with_store
from sidecar.config.parsers import PolicySource
from sidecar.config.problems import problems
from sidecar.config.settings import Settings
from sidecar.identity.factors.passkeys import UNAVAILABLE, Passkeys
from sidecar.pdp.network_warnings import network_warnings
from sidecar.pdp.undeclared_roles import role_warnings
from sidecar.server.admin_context import AdminContext, NoStoreError, PolicyFilesError, generation, operating_warnings
from sidecar.server.issuer_registry import absent, missing_accounts, read_issuers
from sidecar.server.policy_in_force import policy_in_force
from sidecar.server.preflight import CheckFinding, CheckStatus, rehearse
from sidecar.server.state_files import close_keys_and_state
from sidecar.sources.key_files import KeyFileError, load
from sidecar.sources.trusted_issuers import TrustedIssuer, TrustedIssuersError
from sidecar.store.connection import Store, StoreMismatchError, StoreUnavailableError
from sidecar.store.integrity import acl_permissions
from sidecar.store.maintenance.restore_mark import REMEDY, is_marked
from sidecar.store.maintenance.startup_checks import other_names
from sidecar.store.role_holders import RoleHolders

CLOCK_SECONDS = 5.0
"""Default leeway. Sidecars whose clocks differ by more reject each other's tokens."""


@click.command()
@settings_options()
@click.option("--from-gateway", is_flag=True, help="Explain the last denied checks of the running sidecar instead.")
@json_option
def doctor(as_json: bool, from_gateway: bool, **flags: str | None) -> int:
    """Check everything that `serve` needs. Exit status 1 for a fault.

    Checks settings, certificates, issuers, mails, the decision log, the addresses, passkeys, policy, keys, rights,
    store and clock. Run it as the user of `serve`, because it tests that user's permissions. A running sidecar is not
    disturbed.

    With --from-gateway the running sidecar is asked for its checks so far: the last denials that a gateway's
    configuration can cause, each with its remedy.
    """
    settings = settings_from(flags)
    if from_gateway:
        return _report(list(gateway_findings(settings.ops_listen)), as_json=as_json)
    opened = [CheckFinding("keys", CheckStatus.WARNING, warning) for warning in close_keys_and_state(settings)]
    findings = [
        *_settings(settings),
        *opened,
        *rehearse(settings),
        _passkeys(settings),
        *_policy(settings),
        *policy_keys(settings),
        _keys(settings),
        *_rights(settings),
        *_store(settings),
    ]
    return _report(findings, as_json=as_json)


def _report(findings: Sequence[CheckFinding], *, as_json: bool) -> int:
    if as_json:
        print_json([{"check": one.check, "status": one.status, "detail": one.detail} for one in findings])
    else:
        print_table(["check", "status", "detail"], [(one.check, one.status, one.detail) for one in findings])
    return NO if any(one.status is CheckStatus.FAULT for one in findings) else OK


def _settings(settings: Settings) -> Iterator[CheckFinding]:
    found = problems(settings)
    yield from (
        CheckFinding("settings", CheckStatus.WARNING, warning) for warning in (*settings.warnings, *settings.doubts)
    )
    yield from (CheckFinding("settings", CheckStatus.FAULT, problem) for problem in found)
    if not found:
        yield CheckFinding("settings", CheckStatus.OK, "consistent")


def _passkeys(settings: Settings) -> CheckFinding:
    """Report whether browsers can use passkeys here (R38)."""
    site = Passkeys(settings.public_url)
    return CheckFinding("passkeys", CheckStatus.OK, f"for {site.rp_id}" if site.available else f"off: {UNAVAILABLE}")


def _policy(settings: Settings) -> Iterator[CheckFinding]:
    try:
        found = generation(settings)
    except PolicyFilesError as problem:
        seeds = settings.policy_source is PolicySource.STORE  # they can be absent: only an empty store needs them
        yield CheckFinding("policy", CheckStatus.WARNING if seeds else CheckStatus.FAULT, str(problem))
        return
    yield CheckFinding("policy", CheckStatus.OK, f"generation {found.id} of {settings.policy_dir}")
    for warning in network_warnings(found, proxies=bool(settings.trusted_proxies)):
        yield CheckFinding("policy", CheckStatus.WARNING, warning)


def _keys(settings: Settings) -> CheckFinding:
    try:
        if not settings.keys_dir.exists():
            return CheckFinding("keys", CheckStatus.OK, f"{settings.keys_dir} will be made at the first start")
        keys = load(settings.keys_dir, group_read=settings.keys_group_read).keys
    except (KeyFileError, OSError) as problem:
        return CheckFinding("keys", CheckStatus.FAULT, str(problem))
    return CheckFinding("keys", CheckStatus.OK, f"{len(keys.verifying)} in {settings.keys_dir}, {keys.kid} signs")


def _rights(settings: Settings) -> Iterator[CheckFinding]:
    """Check the permissions of the store's user. The embedded store permits everything."""
    if settings.redis_url is None:
        return
    try:
        missing = asyncio.run(_missing_rights(settings.redis_url, settings.redis_sentinel_password))
    except (StoreUnavailableError, StoreMismatchError):  # the store's own row reports it
        return
    if "keys" in missing.needed:
        yield CheckFinding(
            "rights", CheckStatus.FAULT, f"the store's user may not use keys sc:*: grant {acl_permissions.KEYS}"
        )
    elif missing.needed:
        yield CheckFinding("rights", CheckStatus.FAULT, _to_grant(missing.needed))
    elif not missing.discovery:
        yield CheckFinding("rights", CheckStatus.OK, "every command of the sidecar is permitted")
    if missing.discovery:
        where = "at the Sentinels" if missing.discovery[0].startswith("sentinel") else "at a node of the Cluster"
        yield CheckFinding("rights", CheckStatus.FAULT, f"{where}, {_to_grant(missing.discovery)}")
    if missing.other:
        yield CheckFinding("rights", CheckStatus.WARNING, _to_grant(missing.other))


async def _missing_rights(url: str, sentinel_password: str | None) -> acl_permissions.MissingPermissions:
    store = Store.at(url, sentinel_password=sentinel_password)
    try:
        return await acl_permissions.missing_permissions(store)
    finally:
        await store.close()


def _to_grant(commands: Sequence[str]) -> str:
    return f"the store's user may not run {', '.join(commands)}: grant {' '.join(f'+{name}' for name in commands)}"


def _store(settings: Settings) -> Iterator[CheckFinding]:
    def none_yet(where: str) -> None:
        raise NoStoreError(where)

    async def job(operator: AdminContext) -> list[CheckFinding]:
        return [found async for found in _of_store(operator)]

    try:
        yield from run_with_store(settings, job, none_yet)
    except NoStoreError as none:
        yield CheckFinding("store", CheckStatus.OK, f"{none.where} will be made at the first start")
    except click.ClickException as problem:
        yield CheckFinding("store", CheckStatus.FAULT, problem.message)


async def _of_store(operator: AdminContext) -> AsyncIterator[CheckFinding]:
    store, settings = operator.store, operator.settings
    names = other_names(store.where, await store.meta(), issuer=settings.issuer, audience=settings.audience)
    for name in names:
        yield CheckFinding("store", CheckStatus.FAULT, name)
    if not names:
        yield CheckFinding("store", CheckStatus.OK, store.where)
    if await is_marked(store):
        yield CheckFinding("store", CheckStatus.FAULT, f"a restore was not finished: {REMEDY}")
    for warning in await operating_warnings(operator):
        yield CheckFinding("store", CheckStatus.WARNING, warning)
    if settings.policy_source is PolicySource.STORE:
        for found in await stored_policy(operator):
            yield found
    for warning in await _undeclared_roles(operator):
        yield CheckFinding("roles", CheckStatus.WARNING, warning)
    for issuer, accounts in (await missing_accounts(operator.people.accounts, _issuers(settings))).items():
        for account in accounts:
            yield CheckFinding("issuers", CheckStatus.WARNING, f"{issuer}: {absent(account)}")
    seconds, microseconds = await store.command("TIME")
    apart = time.time() - (int(seconds) + int(microseconds) / 1e6)
    status = CheckStatus.OK if abs(apart) < CLOCK_SECONDS else CheckStatus.FAULT
    yield CheckFinding("clock", status, f"{apart:+.1f} s against the store's")


async def _undeclared_roles(operator: AdminContext) -> tuple[str, ...]:
    try:
        declared = (await policy_in_force(operator)).generation.roles
    except PolicyFilesError:  # the policy's own row reports it
        return ()
    return role_warnings(await RoleHolders(operator.store).undeclared(declared))


def _issuers(settings: Settings) -> tuple[TrustedIssuer, ...]:
    try:
        return read_issuers(settings)
    except TrustedIssuersError:  # the preflight checks report it
        return ()
