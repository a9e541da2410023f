"""The state as a whole: prove it, put it away, bring it back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, no, say_json, say_table, wrong
from sidecar.cli.work import account_of, work
from sidecar.serve.operator import Operator
from sidecar.store.connection import StoreRefused, StoreUnavailable
from sidecar.store.startup import SCHEMA
from sidecar.store.upkeep.backup import Backup, BackupRefused, Restored, Written
from sidecar.store.upkeep.findings import Finding
from sidecar.store.upkeep.fsck import Fsck, Report


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
