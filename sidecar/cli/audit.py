"""``sidecar audit``: export and verify the audit log (R32)."""

import sys
from pathlib import Path

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, answer_no, json_option, print_json, usage_error
from sidecar.cli.store_session import account_of, run_with_store
from sidecar.domain.users import AccountId
from sidecar.server.admin_context import AdminContext
from sidecar.server.audit_exporter import own_export
from sidecar.store.audit import SYSTEM
from sidecar.store.audit_export import AuditGapError, exported
from sidecar.store.maintenance.audit_verify import AuditFinding, AuditReport, check
from sidecar.tokens.audit_signing import CheckpointKey


@click.group()
def audit() -> None:
    """The audit log: export and verify."""


@audit.command()
@click.option("--account", metavar="ACCOUNT", help="Name or id: only this account's rows.")
@click.option("--system", is_flag=True, help="Only rows without an account: policy, keys, backups.")
@settings_options(STORE)
def export(account: str | None, system: bool, **flags: str | None) -> None:
    """Print the rows in the store, the oldest first: one line of JSON each, chained by SHA-256.

    Without an option: the rows of every account and of the store itself. Older rows are in the export of the serving
    sidecars (SIDECAR_AUDIT_SINK, by default STATE_DIR/audit.jsonl).
    """
    if account is not None and system:
        raise usage_error("--account and --system: give one of the two")
    settings = settings_from(flags)

    async def job(operator: AdminContext) -> None:
        for log in await _logs(operator, account, system=system):
            async for line in exported(operator.store, log):
                sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    try:
        run_with_store(settings, job)
    except AuditGapError as gap:
        raise answer_no(str(gap)) from None


async def _logs(operator: AdminContext, account: str | None, *, system: bool) -> list[AccountId]:
    if system:
        return [SYSTEM]
    if account is not None:
        return [(await account_of(operator, account)).id]
    return [SYSTEM, *(one.id for one in await operator.people.accounts.all())]


@audit.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]...")
@click.option("--account", metavar="ACCOUNT", help="Name or id: FILE has this account's rows alone.")
@click.option(
    "--stdout", "mixed", is_flag=True, help="FILE is the output of sidecars: skip lines that are not of the audit."
)
@settings_options(STORE)
@json_option
def verify(files: tuple[Path, ...], account: str | None, mixed: bool, as_json: bool, **flags: str | None) -> int:
    """Verify the exported audit, and the store against it: no row is missing, changed or cut off.

    FILE: all exports of all sidecars, in any order, rotated and overlapping ones too. Without one: the file that this
    sidecar exports to. Rows of another account or another store are findings. Exit status 1 when there are findings,
    printed one per line on standard output.
    """
    settings = settings_from(flags)
    own = own_export(settings)
    exported = files or ((own,) if own is not None and own.exists() else ())

    async def job(operator: AdminContext) -> AuditReport:
        only = (await account_of(operator, account)).id if account is not None else None
        return await check(operator.store, exported, CheckpointKey(operator.pepper), only=only, mixed=mixed)

    try:
        report = run_with_store(settings, job)
    except OSError as error:
        raise usage_error(f"{error.filename}: cannot be read: {error.strerror}") from None
    if as_json:
        print_json(_report_json(report))
        return NO if report.findings else OK
    for finding in report.findings:
        row = f": row {finding.seq}" if finding.seq else ""
        click.echo(f"{finding.place}: {finding.log or 'the store'}{row}: {finding.detail}")
    repeated = f" ({report.repeated} more copies)" if report.repeated else ""
    click.echo(
        f"{len(report.findings)} findings: {report.logs} logs, {report.rows} rows{repeated} and {report.checkpoints} "
        f"checkpoints in {len(exported)} files, {report.kept} rows in the store"
    )
    return NO if report.findings else OK


def _report_json(report: AuditReport) -> dict[str, object]:
    return {
        "holds": not report.findings,
        "logs": report.logs,
        "rows": report.rows,
        "repeated": report.repeated,
        "checkpoints": report.checkpoints,
        "kept": report.kept,
        "findings": [_finding_json(finding) for finding in report.findings],
    }


def _finding_json(finding: AuditFinding) -> dict[str, object]:
    return {
        "place": finding.place,
        "account": finding.log or None,
        "seq": finding.seq,
        "detail": finding.detail,
    }
