"""``sidecar account label``: labels of an account, which conditions of a policy can require."""

from typing import assert_never

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import answer_no, json_option, print_json, usage_error
from sidecar.cli.store_session import OPERATOR, account_of, policy_of, run_with_store
from sidecar.domain.labels import MAX_LABELS, read_label, text_of
from sidecar.domain.sessions import Method
from sidecar.domain.users import ADMINISTRATOR, Account
from sidecar.identity.factors.passkeys import Passkeys
from sidecar.policy.needs.lint import ENROLLABLE, KEPT, locks_out
from sidecar.policy.needs.table import Needs
from sidecar.server.admin_context import AdminContext
from sidecar.store.account_labels import (
    AccountLabels,
    LabelsDiffer,
    LabelsOutcome,
    LabelsSet,
    LabelsUnchanged,
    TooManyLabels,
)
from sidecar.store.outcomes import ActorChanged, NoAccount


@click.command()
@click.argument("account")
@click.argument("labels", nargs=-1, required=True, metavar="NAME=VALUE…")
@settings_options(STORE)
@json_option
def label(account: str, labels: tuple[str, ...], as_json: bool, **flags: str | None) -> None:
    """Set labels of an account, as plan=pro. NAME= removes one. Each change is in force at the next check.

    A change is refused if no administrator of the account could manage users any more.
    """
    changes = _changes(labels)
    settings = settings_from(flags)
    passkeys = Passkeys(settings.public_url).available
    methods = [one for one in ENROLLABLE if passkeys or one is not Method.PASSKEY]

    async def job(operator: AdminContext) -> LabelsOutcome:
        needs = (await policy_of(operator)).needs
        found = await account_of(operator, account)
        outcome = await change_of(operator, found, needs)
        while isinstance(outcome, LabelsDiffer):  # another operator was faster: check again
            outcome = await change_of(operator, await account_of(operator, account), needs)
        if isinstance(outcome, LabelsSet | LabelsUnchanged):
            await operator.people.fleet.wait_applied(outcome.position)
        return outcome

    async def change_of(operator: AdminContext, found: Account, needs: Needs) -> LabelsOutcome:
        after = {name: value for name, value in {**found.labels, **changes}.items() if value}
        if locks_out(needs, found.labels, after, methods):
            lines = needs.lines_of(ADMINISTRATOR, *KEPT)
            raise answer_no(
                f"no administrator of {found.name} could manage users any more: "
                f"needs.csv:{lines[-1].line} asks for a label; change that line first"
            )
        return await AccountLabels(operator.store).change(found.id, changes, OPERATOR, expected=found.labels)

    outcome = run_with_store(settings, job)
    match outcome:
        case LabelsSet(account=now) | LabelsUnchanged(account=now):
            if as_json:
                print_json({"account": now.id, "labels": dict(now.labels)})
            else:
                click.echo(
                    f"{now.name} has the labels {text_of(now.labels)}" if now.labels else f"{now.name} has no label"
                )
        case TooManyLabels():
            raise answer_no(f"an account has at most {MAX_LABELS} labels: remove one with NAME=")
        case NoAccount() | ActorChanged() | LabelsDiffer():
            raise answer_no(f"the account {account!r} is gone")
        case _:
            assert_never(outcome)


def _changes(labels: tuple[str, ...]) -> dict[str, str]:
    """Return the labels to set; an empty value removes."""
    changes: dict[str, str] = {}
    for written in labels:
        read = read_label(written)
        if read is None:
            raise usage_error(f"invalid label {written!r}: write NAME=VALUE, each of 1 to 40 of a-z, 0-9 and -")
        if read[0] in changes:
            raise usage_error(f"the label {read[0]!r} occurs twice: write it once")
        changes[read[0]] = read[1]
    return changes
