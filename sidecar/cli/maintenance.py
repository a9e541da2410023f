"""Verbs on the whole store: fsck, backup, restore, migrate."""

import json
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import click

from sidecar.cli.losses import CHOICES, accept
from sidecar.cli.new_store import consent, new_store_option
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, answer_no, json_option, print_error, print_json, print_table, usage_error
from sidecar.cli.store_session import account_of, policy_of, run_with_store
from sidecar.identity.emails import is_normal, is_written
from sidecar.server.admin_context import AdminContext, PolicyFilesError
from sidecar.server.policy_in_force import policy_in_force
from sidecar.store.connection import StoreMismatchError, StoreUnavailableError
from sidecar.store.errors import gather_all
from sidecar.store.maintenance.backup import ArchiveRules, Backup, BackupSummary, InvalidBackupError, Restored
from sidecar.store.maintenance.backup_target import BackupTargetError
from sidecar.store.maintenance.consistency_checks import ConsistencyFinding
from sidecar.store.maintenance.fsck import Fsck, FsckReport
from sidecar.store.maintenance.migrate import Migrated
from sidecar.store.maintenance.restore import Progress
from sidecar.store.maintenance.startup_checks import SCHEMA

PROGRESS_SECONDS: Final = 10.0
"""Interval of progress lines without a terminal."""

STDOUT = Path("-")


@click.command()
@click.option("--repair", is_flag=True, help="Rebuild wrong indexes. Records are never changed.")
@click.option(
    "--accept-loss",
    type=click.Choice(list(CHOICES)),
    help="Open partitions with unknown lost changes: hold the users with a known lost change, or all users.",
)
@click.option("--yes", is_flag=True, help="Accept the loss without asking.")
@settings_options(STORE)
@json_option
def fsck(repair: bool, accept_loss: str | None, yes: bool, as_json: bool, **flags: str | None) -> int:
    """Check the invariants of the store: seats, administrators, e-mails, audit numbers.

    Works while sidecars serve. Exit status 1 when a fault was found and not repaired. With --accept-loss nothing is
    checked: it prints the number of users that each choice holds, asks, and opens the partitions.
    """

    if accept_loss is not None:
        return accept(settings_from(flags), accept_loss, sure=yes, as_json=as_json)

    async def job(operator: AdminContext) -> FsckReport:
        return await Fsck(operator.store).run(repair=repair, roles=await _roles_of(operator))

    report = run_with_store(settings_from(flags), job, repair=repair)
    if as_json:
        print_json(
            {
                "clean": report.clean,
                "accounts": report.accounts,
                "users": report.users,
                "invited": report.invited,
                "findings": [_finding_json(found) for found in report.findings],
                "repaired": [_finding_json(found) for found in report.repaired],
            }
        )
    else:
        rows = [("repaired", found.fault.value, found.where, found.detail) for found in report.repaired]
        rows += [
            ("note" if found.is_note else "fault", found.fault.value, found.where, found.detail)
            for found in report.findings
        ]
        if rows:
            print_table(["", "fault", "where", "detail"], rows)
        word = "clean" if report.clean else "not clean"
        click.echo(f"{word}: {_counts(report)}")
    return OK if report.clean else NO


async def _roles_of(operator: AdminContext) -> Collection[str] | None:
    """Return the roles of the policy in force. None, with a line on stderr, if there is none."""
    try:
        return (await policy_in_force(operator)).generation.roles
    except PolicyFilesError as problem:
        print_error(f"warning: the roles of users are not checked: {problem}")
        return None


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--account", "accounts", multiple=True, metavar="NAME", help="Only this account; may be repeated.")
@settings_options(STORE)
@json_option
def backup(file: Path, accounts: tuple[str, ...], as_json: bool, **flags: str | None) -> None:
    """Write accounts with their users and audit into FILE, mode 0600, without keys and sessions.

    FILE is new or replaces a plain file of this user, never a link, a pipe or a device. `-` is standard output; the
    summary then goes to stderr. Keep the key directory as well: no password can be checked without its pepper.
    """
    piped = file == STDOUT

    async def job(operator: AdminContext) -> BackupSummary:
        chosen = [(await account_of(operator, name)).id for name in accounts] or None
        if not piped:
            return await Backup(operator.store).save(file, chosen)
        written = await Backup(operator.store).write(sys.stdout.buffer, chosen)
        sys.stdout.buffer.flush()
        return written

    written = (
        run_with_store(settings_from(flags), job)
        if piped
        else _with_file(file, lambda: run_with_store(settings_from(flags), job))
    )
    counts = {"accounts": written.accounts, "users": written.users, "invited": written.invited}
    summary = {"file": str(file), **counts}
    if piped:
        click.echo(json.dumps(summary) if as_json else _counts(written), err=True)
    elif as_json:
        print_json(summary)
    else:
        click.echo(f"{file}: {_counts(written)}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@new_store_option
@settings_options(STORE)
@json_option
def restore(file: Path, new_store: bool, as_json: bool, **flags: str | None) -> int:
    """Restore a file of `backup`. Every epoch is raised: all users must sign in again, and older tokens are invalid.

    The whole file is checked by the rules of `fsck` and by the roles of the policy before anything is written. Exit
    status 1 when an account was skipped, because another account has its name.
    """
    settings = settings_from(flags)
    agreed = consent(settings, new_store=new_store)

    async def job(operator: AdminContext) -> Restored:
        roles = (await policy_of(operator)).roles
        rules = ArchiveRules(is_normal=is_normal, is_written=is_written, roles=roles)
        restored = await Backup(operator.store, operator.pepper).load(file, rules=rules, progress=_progress())
        fleet = operator.people.fleet
        # Has no meaning of its own: a sidecar that applied it has applied all changes before it.
        await gather_all(*map(fleet.wait_applied, await fleet.announce("restore")))
        return restored

    restored = _with_file(file, lambda: run_with_store(settings, job, agreed))
    if as_json:
        counts = {"accounts": restored.accounts, "users": restored.users}
        print_json({"file": str(file), **counts, "skipped": list(restored.skipped)})
    else:
        click.echo(f"{file}: {restored.accounts} accounts, {restored.users} users restored")
        for account in restored.skipped:
            click.echo(f"skipped: {account}: another account has its name", err=True)
    return NO if restored.skipped else OK


@click.command()
@settings_options(STORE)
def migrate(**flags: str | None) -> None:
    """Migrate the store to this version's schema. Every other verb rejects a store of another schema, and names both.

    Sidecars of the older schema deny every check from then on, and log it. An interrupted migration continues when it
    is run again.
    """

    async def job(operator: AdminContext) -> tuple[str, Migrated | None]:
        return operator.store.where, operator.migrated

    where, migrated = run_with_store(settings_from(flags), job, migrating=True)
    if migrated is None:
        click.echo(f"{where}: schema {SCHEMA} is this version's; there is nothing to migrate")
    else:
        accounts = f"{migrated.accounts} accounts, {migrated.sessions} sessions"
        click.echo(f"{where}: migrated from schema {migrated.before} to {SCHEMA}, {accounts}; restart the sidecars")


def _counts(found: FsckReport | BackupSummary) -> str:
    """Return the counts. Users are members; an invited user holds a seat and has not accepted yet."""
    return f"{found.accounts} accounts, {found.users} users, {found.invited} invited"


def _progress() -> Progress:
    """Return a progress printer for stderr: in place on a terminal, otherwise one line every ten seconds."""
    terminal, last = sys.stderr.isatty(), time.monotonic()

    def show(done: int, all_: int) -> None:
        nonlocal last
        if terminal:
            click.echo(f"\r{done:,} of {all_:,} accounts" + ("\n" if done == all_ else ""), err=True, nl=False)
        elif time.monotonic() - last >= PROGRESS_SECONDS and done < all_:
            last = time.monotonic()
            click.echo(f"{done:,} of {all_:,} accounts", err=True)

    return show


def _with_file(file: Path, job: Callable[[], Any]) -> Any:
    try:
        return job()
    except InvalidBackupError as problem:
        raise answer_no(str(problem)) from None
    except BackupTargetError as problem:
        raise usage_error(str(problem)) from None
    except (StoreUnavailableError, StoreMismatchError):
        raise
    except OSError as error:
        raise usage_error(f"{file}: {error.strerror or error}") from None


def _finding_json(found: ConsistencyFinding) -> dict[str, Any]:
    return {"fault": found.fault.value, "note": found.is_note, "where": found.where, "detail": found.detail}
