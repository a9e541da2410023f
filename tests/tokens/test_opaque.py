"""Refresh tokens, invitations, resets, PEP keys: their proofs, and no confusion of kinds."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.users import AccountId, SessionId, UserId
from sidecar.tokens.opaque import (
    Pepper,
    Purpose,
    RefreshToken,
    SecretKind,
    digest,
    has_mark,
    new_pep_secret,
    new_secret,
    read_refresh,
    read_secret,
    refresh_token,
    with_mark,
)

USER = UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb")
SESSION = SessionId("ses_cccccccccccccccccccccccccc")


@given(counter=st.integers(min_value=0, max_value=10**15 - 1))
def test_R14_a_refresh_token_proves_session_and_counter(pepper, counter):
    refresh = RefreshToken(USER, SESSION, counter)
    token = refresh_token(pepper, refresh)
    assert read_refresh(pepper, token) == refresh
    assert refresh_token(pepper, refresh) == token


def test_R14_garbage_is_never_taken_for_an_older_token(pepper):
    token = refresh_token(pepper, RefreshToken(USER, SESSION, 1))
    forged = [
        "",
        "rt_",
        token[:-1],
        token + "a",
        token + "\n",
        token.upper(),
        token.replace("_1_", "_0_"),
        token.replace("_1_", "_01_"),
        token.replace("_1_", "_+1_"),
        token.replace("_1_", "_\u0661_"),
        token.replace("_bbbbbbbbbbbb_", "_bbbbbbbbbbba_"),
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        refresh_token(Pepper(b"x" * 32), RefreshToken(USER, SESSION, 1)),
    ]
    assert [read_refresh(pepper, text) for text in forged] == [None] * len(forged)


@given(text=st.text(max_size=150))
def test_any_text_is_refused_without_an_exception(pepper, text):
    assert read_refresh(pepper, text) is None
    assert [read_secret(kind, text) for kind in SecretKind] == [None] * 3


def test_R12_invitation_and_reset_secrets_are_distinct_kinds(pepper):
    entropy = bytes(range(20))
    invitation = new_secret(SecretKind.INVITATION, USER, entropy)
    reset = new_secret(SecretKind.RESET, USER, entropy)
    assert read_secret(SecretKind.INVITATION, invitation.text) == invitation
    assert read_secret(SecretKind.RESET, invitation.text) is None
    assert read_secret(SecretKind.PEP, invitation.text) is None
    assert invitation.secret == reset.secret
    assert digest(pepper, invitation) != digest(pepper, reset)


def test_R19_a_digest_is_keyed_and_bound_to_its_owner(pepper):
    secret = new_secret(SecretKind.INVITATION, USER, bytes(range(20)))
    other = dataclasses.replace(secret, owner="zzzzzzzzzzzz")
    elsewhere = dataclasses.replace(secret, account=AccountId("acc_zzzzzzzzzzzz"))
    digests = {
        digest(pepper, secret),
        digest(pepper, other),
        digest(pepper, elsewhere),
        digest(Pepper(b"x" * 32), secret),
    }
    assert len(digests) == 4
    assert all(len(text) == 64 for text in digests)


def test_R20_a_pep_key_is_one_word_that_names_its_account(pepper):
    secret = new_pep_secret(AccountId("acc_aaaaaaaaaaaa"), bytes(range(28)))
    assert secret.text.startswith("pep_aaaaaaaaaaaa_")
    assert read_secret(SecretKind.PEP, secret.text) == secret
    assert secret.text.isascii()
    assert len(secret.text.split()) == 1


def test_R20_a_mark_proves_origin_account_and_owner_of_a_key(pepper):
    secret = with_mark(pepper, new_pep_secret(AccountId("acc_aaaaaaaaaaaa"), bytes(range(28))))
    assert has_mark(pepper, secret)
    assert read_secret(SecretKind.PEP, secret.text) == secret
    assert not has_mark(Pepper(b"o" * 32), secret)
    last = "a" if secret.secret[-1] != "a" else "b"
    for other in (
        new_pep_secret(AccountId("acc_aaaaaaaaaaaa"), bytes(range(28))),
        dataclasses.replace(secret, account=AccountId("acc_bbbbbbbbbbbb")),
        dataclasses.replace(secret, owner="c" * 12),
        dataclasses.replace(secret, secret="a" + secret.secret[1:]),
        dataclasses.replace(secret, secret=secret.secret[:-1] + last),
        dataclasses.replace(secret, kind=SecretKind.RESET),
    ):
        assert other != secret
        assert not has_mark(pepper, other)


def test_a_secret_knows_its_user():
    assert new_secret(SecretKind.RESET, USER, bytes(20)).user == USER
    with pytest.raises(ValueError, match="user id"):
        new_secret(SecretKind.RESET, UserId("nobody"), bytes(20))


def test_no_secret_shows_in_a_repr(pepper):
    secret = new_secret(SecretKind.INVITATION, USER, bytes(range(20)))
    assert secret.secret not in repr(secret)
    assert repr(pepper) == "Pepper(…)"


def test_R19_purposes_and_parts_never_collide(pepper):
    assert len({pepper.mac(purpose, "a") for purpose in Purpose}) == len(Purpose)
    assert pepper.mac(Purpose.PASSWORD, "ab", "c") != pepper.mac(Purpose.PASSWORD, "a", "bc")
    assert pepper.mac(Purpose.PASSWORD, "ab") != pepper.mac(Purpose.PASSWORD, "ab", "")
    assert pepper.identity == Pepper(bytes(range(32))).identity != Pepper(b"x" * 32).identity


def test_a_pepper_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Pepper(b"short")
