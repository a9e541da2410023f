"""``sidecar policy rename role --in-store``: three steps, of which each can be interrupted and taken up again.

1. Files with both roles, of equal rights, served by all live sidecars. 2. Users and invitations move to the new role.
3. Files with the new role alone. The files themselves show which step is next.
"""

import click

from sidecar.cli.output import OK, answer_no, usage_error
from sidecar.cli.policy import rename as verb
from sidecar.cli.policy.diff import rename_text
from sidecar.cli.policy.policy_source import Source
from sidecar.cli.policy.role_moves import move_holders, wait_served
from sidecar.cli.store_session import policy_of, run_with_store
from sidecar.config.settings import Settings
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.rename.both_roles import has_both, with_both, without_both
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import RejectedFiles
from sidecar.policy.rename.target import InvalidRename, RenameTarget, read_target
from sidecar.server.admin_context import AdminContext
from sidecar.store.role_holders import RoleHolders


def rename_in_store(settings: Settings, source: Source, old: str, new: str, timeout: float) -> int:
    """Take the steps that are left. Raises CliError."""
    before = verb.generation_of(source)
    if has_both(before.files, old, new):
        both = before
    elif old not in before.roles and new in before.roles:
        return _finished(settings, old, new)
    else:
        both = _both(source, before, old, new)

    async def job(operator: AdminContext) -> int:
        if both is not before:
            verb.write(source, before.files, _changed(before, both))
            click.echo(f'step 1 of 3: the files declare "{old}" and "{new}", with equal rights')
        others = await wait_served(operator, both.id, timeout)
        if others:
            raise answer_no(
                f"{len(others)} live sidecars do not serve generation {both.id} yet: deliver these files to them "
                "(`sidecar policy status --files` compares), then run this command again; no user is moved"
            )
        return await move_holders(operator, old, new)

    moved = run_with_store(settings, job)
    click.echo(f'step 2 of 3: {moved} users and invitations moved to "{new}"')
    _last_step(source, old, new)
    return OK


def _both(source: Source, before: Generation, old: str, new: str) -> Generation:
    target = read_target(RenameKind.ROLE, old, new, before.roles, before.sections)
    if isinstance(target, InvalidRename):
        raise usage_error(target.message)
    verb.planned(source, before, target)  # the last step must be possible before the first one is taken
    changed = with_both(before.files, before.roles[old], new)
    compiled = compile_policy({**before.files, **changed}, proof=ProofScope.START)
    if compiled.generation is None:
        raise verb.rejected(source, RejectedFiles(tuple(one for one in compiled.diagnostics if one.is_error)))
    return compiled.generation


def _changed(before: Generation, after: Generation) -> dict[str, bytes]:
    return {name: data for name, data in after.files.items() if data != before.files[name]}


def _last_step(source: Source, old: str, new: str) -> None:
    current = verb.generation_of(source)
    one_role = {**current.files, **without_both(current.files, old, new)}
    compiled = compile_policy(one_role, proof=ProofScope.START)
    if compiled.generation is None:
        raise verb.rejected(source, RejectedFiles(tuple(one for one in compiled.diagnostics if one.is_error)))
    plan = verb.planned(source, compiled.generation, RenameTarget(RenameKind.ROLE, old, new))
    after = {**one_role, **plan.files}
    verb.write(source, current.files, {name: data for name, data in after.items() if data != current.files[name]})
    click.echo(f"step 3 of 3: {rename_text(plan.rename)}")


def _finished(settings: Settings, old: str, new: str) -> int:
    """Move users with the old role since the last step, if the policy in force already declares the new one."""

    async def job(operator: AdminContext) -> int:
        count = (await RoleHolders(operator.store).holding([old])).get(old, 0)
        if count and new not in (await policy_of(operator)).roles:
            raise answer_no(
                f'{count} users hold "{old}", which the files no longer declare, and the policy in force lacks '
                f'"{new}": put the files of before back, then run this command again'
            )
        return await move_holders(operator, old, new) if count else 0

    moved = run_with_store(settings, job)
    late = f"; {moved} more users moved" if moved else ""
    click.echo(f'"{old}" is renamed to "{new}" already, and no user holds it{late}')
    return OK
