"""``sidecar user link`` and ``unlink``: links between users and subjects of outside issuers (R10).

The entry point imports the group ``user`` from here, so that these two verbs are registered too.
"""

import click

from sidecar.api.serializers import to_user
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import answer_no, json_option, print_error, print_json, usage_error
from sidecar.cli.store_session import run_with_store
from sidecar.cli.user_options import account_option, on_user, refused
from sidecar.cli.users import user
from sidecar.config.settings import Settings
from sidecar.domain.users import Account, UserId
from sidecar.identity.users import Joined, UnlinkedUser
from sidecar.server.admin_context import AdminContext
from sidecar.server.issuer_registry import read_issuers
from sidecar.sources.trusted_issuers import TrustedIssuersError
from sidecar.store.federated_identities import LinkHeld, LinkTaken, NoMatchingUser, NotLinked
from sidecar.store.outcomes import NoUser

__all__ = ["user"]

MAX_SUBJECT = 255


@user.command()
@click.argument("user")
@click.option("--issuer", "--from", "iss", metavar="ISS", required=True, help="The exact iss of the tokens.")
@click.option("--subject", metavar="SUB", required=True, help="The exact sub of the tokens.")
@account_option
@settings_options((*(name for name in STORE if name != "issuer"), "trusted_issuers"))
@json_option
def link(user: str, iss: str, subject: str, account: str | None, as_json: bool, **flags: str | None) -> None:
    """Link a subject of a trusted outside issuer to an active user, regardless of the e-mail in its tokens.

    If the e-mail of the user was not verified before, the link removes the password and all sessions, and the e-mail
    counts as verified.
    """
    settings = settings_from(flags)
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise usage_error(f"--subject must be a text of 1 to {MAX_SUBJECT} printable characters")
    _check_issuer(settings, iss)

    async def job(
        operator: AdminContext, found: Account, uid: UserId
    ) -> Joined | NoMatchingUser | LinkTaken | LinkHeld:
        return await operator.people.membership.link(found.id, uid, issuer=iss, subject=subject)

    outcome = run_with_store(settings, on_user(account, user, job))
    match outcome:
        case Joined(record, revocation, cleared):
            if as_json:
                complete = revocation is None or revocation.complete
                print_json({"user": to_user(record), "password_removed": cleared, "complete": complete})
                return
            click.echo(f"{record.email} is linked to {subject} of {iss}")
            if cleared:
                click.echo("the e-mail was not verified before: the password and all sessions are removed")
        case NoMatchingUser():
            raise answer_no(f"{user!r} is not an active user of this account: sidecar user list names them")
        case LinkTaken():
            raise answer_no(
                f"{user} is linked to another subject of {iss} already: sidecar user unlink {user} --issuer {iss}"
            )
        case LinkHeld(other):
            raise answer_no(
                f"{subject} of {iss} is linked to {other} already: sidecar user unlink {other} --issuer {iss}"
            )


@user.command()
@click.argument("user")
@click.option("--issuer", "--from", "iss", metavar="ISS", help="Only from subjects of this issuer (the tokens' iss).")
@click.option("--may-return", is_flag=True, help="Let the next token with the verified e-mail link the subject again.")
@account_option
@settings_options(name for name in STORE if name != "issuer")
@json_option
def unlink(
    user: str, iss: str | None, may_return: bool, account: str | None, as_json: bool, **flags: str | None
) -> None:
    """Unlink a user from its subjects of trusted outside issuers: all its tokens and sessions become invalid.

    The e-mail no longer links these subjects to the user, so that another subject with it can be linked.
    """

    async def job(operator: AdminContext, found: Account, uid: UserId) -> UnlinkedUser | NotLinked | NoUser:
        return await operator.people.membership.unlink(found.id, uid, issuer=iss, may_return=may_return)

    outcome = run_with_store(settings_from(flags), on_user(account, user, job))
    match outcome:
        case UnlinkedUser(record, subjects, revocation):
            if as_json:
                print_json({"user": to_user(record), "subjects": subjects, "complete": revocation.complete})
            else:
                click.echo(
                    f"{record.email} is unlinked from {subjects} outside {'subject' if subjects == 1 else 'subjects'}"
                )
        case NotLinked():
            raise answer_no(f"{user!r} is linked to no outside subject{f' of {iss}' if iss else ''}")
        case NoUser():
            raise refused(outcome, user)


def _check_issuer(settings: Settings, iss: str) -> None:
    """Reject an issuer that no token can have: its link would be useless without any error."""
    try:
        trusted = [entry.trust.issuer for entry in read_issuers(settings)]
    except TrustedIssuersError as problem:
        raise usage_error(str(problem)) from None
    if settings.trusted_issuers is None:
        print_error("note: SIDECAR_TRUSTED_ISSUERS is not set here, so ISS was not checked")
    elif iss not in trusted:
        raise usage_error(f"--issuer {iss!r} is not in {settings.trusted_issuers}: it has {', '.join(trusted)}")
