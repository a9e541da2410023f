"""``sidecar policy rename``: a role, section or action under a new name, in all files at once."""

from collections.abc import Mapping

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import (
    NO,
    OK,
    CliError,
    answer_no,
    json_option,
    plain,
    print_error,
    print_json,
    print_table,
    usage_error,
)
from sidecar.cli.policy.diff import rename_text
from sidecar.cli.policy.policy_source import Source, say_diagnostics, source_of
from sidecar.config.settings import Settings
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import RejectedFiles, RenamePlan, plan_rename
from sidecar.policy.rename.target import InvalidRename, RenameTarget, read_target
from sidecar.sources.policy_exchange import PolicyWriteError, replace_files
from sidecar.sources.policy_files import packaged


@click.command()
@click.argument("kind", type=click.Choice([kind.value for kind in RenameKind]))
@click.argument("old")
@click.argument("new")
@click.option(
    "--in-store", is_flag=True, help="Of a role: also move the users and invitations that hold it, in three steps."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="With --in-store: seconds until all live sidecars serve the files with both roles.",
)
@settings_options(STORE)
@json_option
def rename(kind: str, old: str, new: str, in_store: bool, timeout: float, as_json: bool, **flags: str | None) -> int:
    """Rename a role, a section or an action in all policy files. Only the name changes, and no decision.

    An action is SECTION/ACTION, or ACTION alone if one section has it. All files change in one step, or none. Paths,
    comments and titles stay. A name that exists is rejected, and each that the sidecar itself uses. Exit status 1 when
    the files have errors, or a user holds the role: then --in-store, which can be interrupted and run again.
    """
    settings = settings_from(flags)
    source = source_of(settings)
    if source.policy_dir == packaged()[0]:
        raise usage_error(f"{source.policy_dir} belongs to the package: `sidecar init DIR` writes a policy of your own")
    what = RenameKind(kind)
    if in_store:
        if what is not RenameKind.ROLE:
            raise usage_error(f"--in-store is for roles: no user holds a {what}")
        from sidecar.cli.policy.rename_in_store import rename_in_store

        return rename_in_store(settings, source, old, new, timeout)
    before = generation_of(source)
    target = read_target(what, old, new, before.roles, before.sections)
    if isinstance(target, InvalidRename):
        raise usage_error(target.message)
    plan = planned(source, before, target)
    if what is RenameKind.ROLE:
        check_holders(settings, old)
    write(source, before.files, plan.files)
    _say(source, plan, as_json=as_json)
    return OK


def generation_of(source: Source) -> Generation:
    """Compile the files. Errors end the verb: a rename in them could not be proven."""
    files = source.read()
    compiled = compile_policy(files.files, proof=ProofScope.START, problems=files.diagnostics)
    if compiled.generation is None:
        say_diagnostics([source.shown(one) for one in compiled.diagnostics if one.is_error], "text")
        raise answer_no("the files have errors: correct them first; nothing is renamed")
    return compiled.generation


def planned(source: Source, before: Generation, target: RenameTarget) -> RenamePlan:
    plan = plan_rename(before, target)
    match plan:
        case RenamePlan():
            return plan
        case InvalidRename(message):
            raise CliError(NO, message)
        case RejectedFiles():
            raise rejected(source, plan)


def rejected(source: Source, plan: RejectedFiles) -> CliError:
    """Print the errors of the planned files, and return the verb's error."""
    say_diagnostics(map(source.shown, plan.diagnostics), "text")
    return answer_no("with the new name, the files would have these errors; nothing is renamed")


def write(source: Source, before: Mapping[str, bytes], changed: Mapping[str, bytes]) -> None:
    try:
        replace_files(source.policy_dir, before, changed)
    except PolicyWriteError as error:
        raise usage_error(str(error)) from None


def check_holders(settings: Settings, role: str) -> None:
    """End the verb if a user holds the role. If the store cannot be asked, print the consequence."""
    from sidecar.cli.policy.role_moves import holders_of

    try:
        count = holders_of(settings, role)
    except CliError as problem:
        print_error(
            f'the store does not show the holders of "{role}" ({problem.message}): while a user does, activation waits '
            "and the sidecars serve the policy before; --in-store moves these users"
        )
        return
    if count:
        holding = "1 user holds or is" if count == 1 else f"{count} users hold or are"
        raise answer_no(f'{holding} invited to "{role}": add --in-store, which moves them; nothing is renamed')


def _say(source: Source, plan: RenamePlan, *, as_json: bool) -> None:
    files = {source.name_of(f"policy/{name}"): lines for name, lines in plan.lines.items()}
    if as_json:
        print_json({"rename": plan.rename, "files": [{"file": name, "lines": n} for name, n in files.items()]})
        return
    click.echo(plain(rename_text(plan.rename)))
    print_table(("file", "lines"), list(files.items()))
