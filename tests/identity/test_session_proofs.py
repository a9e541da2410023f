"""Proofs with which sessions begin: a password, and a mark for links that only a mail contained (R37)."""

import pytest

from sidecar.identity.invitations import Invitee
from sidecar.identity.secret_links import mailed_invitation_link, read_invitation
from sidecar.store import keys

PASSWORD = "velvet-anchor-pigeon-77"


async def is_marked(town, store, grant):
    home = keys.account(grant.record.account, store.partitions)
    return await store.command("HGET", f"{home}:s:{grant.session}", "link") == "1"


def methods_of(grant):
    session = grant.record.sessions[grant.session]
    assert {proof.at for proof in session.methods} == {session.signed_in_at}
    return [proof.method for proof in session.methods]


async def test_a_sign_in_proves_the_password(town, store):
    await town.found()
    grant = await town.grant("ada@example.com")
    assert methods_of(grant) == ["password"]
    assert not await is_marked(town, store, grant)


@pytest.mark.parametrize("mailed", [True, False])
async def test_R37_a_reset_by_a_mailed_link_is_marked(town, store, mailed):
    ada = await town.found()
    link = town.people.password_reset.link(ada, shown=not mailed)
    grant = await town.people.password_reset.reset(link.url.partition("#")[2], PASSWORD, town.client)
    assert methods_of(grant) == ["password"]
    assert await is_marked(town, store, grant) is mailed


@pytest.mark.parametrize("mailed", [True, False])
async def test_R37_an_accepted_mailed_invitation_is_marked(town, store, mailed):
    admin = await town.found()
    inviting = town.people.inviting
    sent = await inviting.invite(
        town.actor(admin), town.generation, admin.account, Invitee("bob@example.com", "Bob", "developer")
    )
    token = sent.url.partition("#")[2]
    if mailed:
        secret, _ = read_invitation(token, inviting._pepper)
        token = mailed_invitation_link("https://x.example", secret, inviting._pepper).partition("#")[2]
    grant = await inviting.accept(token, PASSWORD, None, town.client)
    assert methods_of(grant) == ["password"]
    assert await is_marked(town, store, grant) is mailed
