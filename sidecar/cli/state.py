"""The state as a whole: prove it, put it away, bring it back, and ask whether everything is as it should be."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, no, say_json, say_table, wrong
from sidecar.cli.work import account_of, work
from sidecar.serve.operator import Operator, PolicyProblem, generation, operating_warnings
from sidecar.serve.settings import Settings, problems
from sidecar.sources.key_files import KeyFileProblem, load
from sidecar.store.connection import StoreRefused, StoreUnavailable
from sidecar.store.startup import SCHEMA
from sidecar.store.upkeep.backup import Backup, BackupRefused, Restored, Written
from sidecar.store.upkeep.findings import Finding
from sidecar.store.upkeep.fsck import Fsck, Report

CLOCK_SECONDS = 5.0
"""The default leeway: clocks that differ by more refuse each other's tokens."""


@click.command()
@click.option("--repair", is_flag=True, help="Make wrong indexes anew. Records are never touched.")
@settings_options(STORE)
@json_option
def fsck(repair: bool, as_json: bool, **flags: str | None) -> int:
    """Prove the promises (seats, administrators, e-mails, audit numbers) from the data itself.

    Works while sidecars serve. Exit status 1 when something is wrong and was not repaired.
    """

    async def job(operator: Operator) -> Report:
        return await Fsck(operator.store).run(repair=repair)

    report = work(settings_from(flags), job)
    if as_json:
        say_json(
            {
                "clean": report.clean,
                "accounts": report.accounts,
                "users": report.users,
                "findings": [_finding_json(found) for found in report.findings],
                "repaired": [_finding_json(found) for found in report.repaired],
            }
        )
    else:
        rows = [("repaired", found.fault.value, found.where, found.what) for found in report.repaired]
        rows += [
            ("note" if found.is_note else "fault", found.fault.value, found.where, found.what)
            for found in report.findings
        ]
        if rows:
            say_table(["", "fault", "where", "what"], rows)
        word = "clean" if report.clean else "not clean"
        click.echo(f"{word}: {report.accounts} accounts, {report.users} users")
    return OK if report.clean else NO


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--account", "accounts", multiple=True, metavar="NAME", help="Only this account; may be repeated.")
@settings_options(STORE)
@json_option
def backup(file: Path, accounts: tuple[str, ...], as_json: bool, **flags: str | None) -> None:
    """Write accounts with their users and audit into FILE, mode 0600, without keys and sessions.

    Keep the key directory as well: no password can be checked without its pepper.
    """

    async def job(operator: Operator) -> Written:
        chosen = [(await account_of(operator, name)).id for name in accounts]
        return await Backup(operator.store).save(file, chosen or None)

    written = _with_file(file, lambda: work(settings_from(flags), job))
    if as_json:
        say_json({"file": str(file), "accounts": written.accounts, "users": written.users})
    else:
        click.echo(f"{file}: {written.accounts} accounts, {written.users} users")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@settings_options(STORE)
@json_option
def restore(file: Path, as_json: bool, **flags: str | None) -> int:
    """Bring back what `backup` wrote. Every epoch is raised: all sign in again, no older token passes.

    Exit status 1 when an account was left out, because another one here has its name.
    """

    async def job(operator: Operator) -> Restored:
        return await Backup(operator.store).load(file)

    restored = _with_file(file, lambda: work(settings_from(flags), job))
    if as_json:
        counts = {"accounts": restored.accounts, "users": restored.users}
        say_json({"file": str(file), **counts, "skipped": list(restored.skipped)})
    else:
        click.echo(f"{file}: {restored.accounts} accounts, {restored.users} users restored")
        for account in restored.skipped:
            click.echo(f"left out: {account}, for another account has its name here", err=True)
    return NO if restored.skipped else OK


@click.command()
@settings_options(STORE)
def migrate(**flags: str | None) -> None:
    """Bring the store to this version's schema. Every verb refuses a store of another one, naming both."""

    async def job(operator: Operator) -> str:
        return operator.store.where

    where = work(settings_from(flags), job)
    click.echo(f"{where}: schema {SCHEMA} is this version's; there is nothing to migrate")


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing looked at. ``state``: ok, warning or fault."""

    what: str
    state: str
    said: str


@click.command()
@settings_options()
@json_option
def doctor(as_json: bool, **flags: str | None) -> int:
    """Look at everything that `serve` needs: settings, policy, keys, store, clock. Exit status 1 for a fault."""
    settings = settings_from(flags)
    symptoms = [*_settings(settings), _policy(settings), _keys(settings), *_store(settings)]
    if as_json:
        say_json([{"what": one.what, "state": one.state, "said": one.said} for one in symptoms])
    else:
        say_table(["what", "state", "said"], [(one.what, one.state, one.said) for one in symptoms])
    return NO if any(one.state == "fault" for one in symptoms) else OK


def _settings(settings: Settings) -> Iterator[Symptom]:
    found = problems(settings)
    yield from (Symptom("settings", "fault", problem) for problem in found)
    yield from (Symptom("settings", "warning", warning) for warning in settings.warnings)
    if not found:
        yield Symptom("settings", "ok", f"listens on {settings.listen}, ops on {settings.ops_listen}")


def _policy(settings: Settings) -> Symptom:
    try:
        return Symptom("policy", "ok", f"generation {generation(settings).id} of {settings.policy_dir}")
    except PolicyProblem as problem:
        return Symptom("policy", "fault", str(problem))


def _keys(settings: Settings) -> Symptom:
    if not settings.keys_dir.exists():
        return Symptom("keys", "ok", f"{settings.keys_dir} will be made at the first start")
    try:
        keys = load(settings.keys_dir).keys
    except (KeyFileProblem, OSError) as problem:
        return Symptom("keys", "fault", str(problem))
    return Symptom("keys", "ok", f"{len(keys.verifying)} in {settings.keys_dir}, {keys.kid} signs")


def _store(settings: Settings) -> Iterator[Symptom]:
    async def job(operator: Operator) -> tuple[str, tuple[str, ...], float]:
        seconds, microseconds = await operator.store.command("TIME")
        apart = time.time() - (int(seconds) + int(microseconds) / 1e6)
        return operator.store.where, await operating_warnings(operator), apart

    try:
        where, warnings, apart = work(settings, job)
    except click.ClickException as problem:
        yield Symptom("store", "fault", problem.message)
        return
    yield Symptom("store", "ok", where)
    yield from (Symptom("store", "warning", warning) for warning in warnings)
    state = "ok" if abs(apart) < CLOCK_SECONDS else "fault"
    yield Symptom("clock", state, f"{apart:+.1f} s against the store's")


def _with_file(file: Path, job: Callable[[], Any]) -> Any:
    try:
        return job()
    except BackupRefused as problem:
        raise no(str(problem)) from None
    except (StoreUnavailable, StoreRefused):
        raise
    except OSError as error:
        raise wrong(f"{file}: {error.strerror or error}") from None


def _finding_json(found: Finding) -> dict[str, Any]:
    return {"fault": found.fault.value, "note": found.is_note, "where": found.where, "what": found.what}
