"""Key sets of outside issuers: which keys are taken, which are left out, what is no key set at all."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.tokens.jwk_set import KINDS, MAX_KEYS, BadKeySet, read_key_set
from sidecar.tokens.strict import segment

EVERY = frozenset(KINDS)


@pytest.fixture(scope="module")
def rsa_jwk():
    return RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)


@pytest.fixture(scope="module")
def ec_jwk():
    return ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)


@pytest.fixture(scope="module")
def ed_jwk():
    return OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)


def written(*jwks):
    return json.dumps({"keys": list(jwks)}).encode()


def test_every_kind_of_key_is_read_with_the_algorithms_that_fit_it(rsa_jwk, ec_jwk, ed_jwk):
    del rsa_jwk["key_ops"]
    keys = read_key_set(written({**rsa_jwk, "kid": "r"}, {**ec_jwk, "kid": "e"}, {**ed_jwk, "kid": "d"}), EVERY)
    assert keys["r"].algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert keys["e"].algorithms == {"ES256"}
    assert keys["d"].algorithms == {"EdDSA"}


def test_R10_a_key_verifies_only_what_its_issuer_may_use_and_what_it_says_itself(rsa_jwk):
    assert read_key_set(written({**rsa_jwk, "kid": "r"}), frozenset({"ES256"})) == {}
    keys = read_key_set(written({**rsa_jwk, "kid": "r", "alg": "RS512"}), frozenset({"RS256", "RS512"}))
    assert keys["r"].algorithms == {"RS512"}
    assert read_key_set(written({**rsa_jwk, "kid": "r", "alg": "RSA-OAEP"}), EVERY) == {}


LEFT_OUT = {
    "no kid": {"kid": None},
    "a kid that is a number": {"kid": 1},
    "an empty kid": {"kid": ""},
    "a kid without end": {"kid": "k" * 257},
    "for encryption": {"use": "enc"},
    "for signing alone": {"key_ops": ["sign"]},
    "operations of no kind": {"key_ops": "verify"},
    "of an unknown kind": {"kty": "LWE"},
    "without a modulus": {"n": None},
    "a modulus that is a number": {"n": 5},
    "a modulus that is no base64url": {"n": "é"},
    "a modulus without end": {"n": "A" * 2000},
    "an exponent of 1": {"e": "AQ"},
    "an even exponent": {"e": "AQAA"},
    "an exponent without end": {"e": "AQAB" * 20},
    "private": {"d": "AQAB"},
    "with a prime": {"p": "AQAB"},
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_R10_what_cannot_be_trusted_or_read_is_left_out_and_the_rest_stays(rsa_jwk, ed_jwk, name):
    odd = {key: value for key, value in {**rsa_jwk, "kid": "odd", **LEFT_OUT[name]}.items() if value is not None}
    assert set(read_key_set(written(odd, {**ed_jwk, "kid": "good"}), EVERY)) == {"good"}


def test_R10_symmetric_and_weak_keys_and_other_curves_are_left_out():
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is the point)
    weak = RSAAlgorithm.to_jwk(short.public_key(), as_dict=True)
    other = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True)
    goldilocks = OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
    secret = {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}
    jwks = [{**jwk, "kid": str(n)} for n, jwk in enumerate((weak, other, goldilocks, secret))]
    assert read_key_set(written(*jwks), EVERY) == {}


def test_a_point_that_is_not_on_the_curve_is_left_out(ec_jwk):
    assert read_key_set(written({**ec_jwk, "kid": "e", "y": ec_jwk["x"]}), EVERY) == {}


def test_two_keys_of_one_kid_are_nobodys(rsa_jwk, ec_jwk, ed_jwk):
    jwks = [{**rsa_jwk, "kid": "a"}, {**ec_jwk, "kid": "a"}, {**ed_jwk, "kid": "b"}]
    assert set(read_key_set(written(*jwks), EVERY)) == {"b"}


def test_an_empty_set_is_one(ed_jwk):
    assert read_key_set(b'{"keys": []}', EVERY) == {}
    assert read_key_set(b'{"keys": [7, null, "x", []], "more": 1.5}', EVERY) == {}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not a JSON object"),
        (b"<html>", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"keys": [], "keys": []}', "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"{}", 'no list "keys"'),
        (b'{"keys": {}}', 'no list "keys"'),
        (json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode(), "more than 100"),
    ],
)
def test_what_is_no_key_set_is_told_in_a_phrase(raw, why):
    with pytest.raises(BadKeySet, match=why):
        read_key_set(raw, EVERY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d"])
JWK = st.dictionaries(MEMBERS, JSON | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "k", "sig"]))


@given(st.lists(JWK | JSON, max_size=4))
def test_no_document_makes_it_raise_anything_else(jwks):
    keys = read_key_set(json.dumps({"keys": jwks}).encode(), EVERY)
    assert all(key.algorithms <= EVERY for key in keys.values())


def test_segment_is_canonical():
    assert segment(b"AQAB") == b"\x01\x00\x01"
