"""Ids, key sets and minting: forms, round trips, known values."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tokens.ids import (
    ENTROPY_BYTES,
    account_of,
    is_account_id,
    is_session_id,
    new_account_id,
    new_session_id,
    new_user_id,
)
from sidecar.tokens.keyset import KeySet, access_token, thumbprint

ENTROPY = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


@given(one=ENTROPY, two=ENTROPY)
def test_a_user_id_carries_its_account(one, two):
    account = new_account_id(one)
    assert is_account_id(account)
    assert account_of(new_user_id(account, two)) == account
    assert is_session_id(new_session_id(one))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "usr_",
        "acc_aaaaaaaaaaaa",
        "usr_aaaaaaaaaaaa",
        "usr_aaaaaaaaaaaa_bbbbbbbbbbb",
        "usr_aaaaaaaaaaaa_bbbbbbbbbbbbb",
        "usr_aaaaaaaaaaaa_bbbbbbbbbbb1",
        "usr_aaaaaaaaaaaa_bbbbbbbbbbbb\n",
        " usr_aaaaaaaaaaaa_bbbbbbbbbbbb",
        "USR_aaaaaaaaaaaa_bbbbbbbbbbbb",
        "usr_aaaaaaaaaaaa_bbbbbbbbbbb\u0430",
        "usr_aaaaaaaaaaaa_bbbbbbbbbb{}",
        "usr_aaaaaaaaaaaa_bbbbbbbbbbb\x00",
    ],
)
def test_what_only_resembles_a_user_id_is_none(text):
    assert account_of(text) is None


def test_too_little_entropy_is_a_bug_not_a_weak_id():
    with pytest.raises(ValueError, match="entropy"):
        new_session_id(b"x" * 16)
    with pytest.raises(ValueError, match="account"):
        new_user_id("acc_1", b"x" * 17)


def test_kid_is_the_rfc_7638_thumbprint_of_rfc_8037():
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # RFC 8037, appendix A
    assert thumbprint(Ed25519PublicKey.from_public_bytes(raw)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_jwks_holds_public_members_alone_signing_key_first(keys):
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    entries = KeySet.of(other, [keys.private_key.public_key()]).jwks()["keys"]
    assert [set(entry) for entry in entries] == [{"kty", "crv", "x", "kid", "use", "alg"}] * 2
    assert entries[0]["kid"] == thumbprint(other.public_key())
    assert entries[1]["kid"] == keys.kid


def test_version_names_the_keys_and_which_of_them_signs(keys):
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    first = KeySet.of(keys.private_key, [other.public_key()])
    second = KeySet.of(other, [keys.private_key.public_key()])
    assert len({keys.version, first.version, second.version}) == 3
    assert first.version == KeySet.of(keys.private_key, [other.public_key()]).version


def test_no_key_shows_in_a_repr(keys):
    assert "Ed25519" not in repr(keys)


def test_a_minted_token_is_one_that_a_stock_library_reads(keys, claims, now):
    token = access_token(keys, claims)
    key = jwt.PyJWK(keys.jwks()["keys"][0])
    read = jwt.decode(
        token, key, algorithms=["EdDSA"], audience="dashboard", options={"verify_exp": False, "verify_iat": False}
    )
    assert set(read) == {"iss", "aud", "sub", "client_id", "acct", "sid", "jti", "iat", "exp", "tv"}
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": keys.kid}


def test_R18_a_minted_token_has_every_claim_of_RFC_9068(keys, claims):
    said = jwt.decode(access_token(keys, claims), options={"verify_signature": False})
    required = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")
    assert [name for name in required if name not in said] == []
    assert said["client_id"] == claims.user
