"""Key sets of external issuers: accepted keys, skipped keys, and invalid sets."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.tokens.jwk_set import KINDS, MAX_KEYS, InvalidKeySetError, IssuerKeySet, WantedKey, read_key_set
from sidecar.tokens.strict_json import segment

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


def kids(keys):
    return {key.kid for key in keys.keys}


def found(keys, kid, algorithm="RS256", thumbprint=""):
    return keys.find(WantedKey(kid, algorithm, thumbprint))


def test_every_kind_of_key_is_read_with_its_algorithms(rsa_jwk, ec_jwk, ed_jwk):
    rsa_jwk.pop("key_ops", None)
    keys = read_key_set(written({**rsa_jwk, "kid": "r"}, {**ec_jwk, "kid": "e"}, {**ed_jwk, "kid": "d"}), EVERY)
    assert found(keys, "r").algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert found(keys, "e", "ES256").algorithms == {"ES256"}
    assert found(keys, "d", "EdDSA").algorithms == {"EdDSA", "Ed25519"}


def test_R10_a_key_verifies_its_own_configured_algorithms_alone(rsa_jwk):
    assert read_key_set(written({**rsa_jwk, "kid": "r"}), frozenset({"ES256"})).keys == ()
    keys = read_key_set(written({**rsa_jwk, "kid": "r", "alg": "RS512"}), frozenset({"RS256", "RS512"}))
    assert found(keys, "r", "RS512").algorithms == {"RS512"}
    assert read_key_set(written({**rsa_jwk, "kid": "r", "alg": "RSA-OAEP"}), EVERY).keys == ()


LEFT_OUT = {
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
def test_R10_unreadable_and_untrusted_keys_are_skipped(rsa_jwk, ed_jwk, name):
    odd = {key: value for key, value in {**rsa_jwk, "kid": "odd", **LEFT_OUT[name]}.items() if value is not None}
    keys = read_key_set(written(odd, {**ed_jwk, "kid": "good"}), EVERY)
    assert kids(keys) == {"good"}
    assert found(keys, "odd") is None
    silent = {"for encryption", "for signing alone", "operations of no kind", "of an unknown kind"}
    assert len(keys.left_out) == (name not in silent), keys.left_out
    assert not any("AQAB" in said for said in keys.left_out)


def test_R10_symmetric_weak_and_other_curve_keys_are_skipped():
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is the point)
    weak = RSAAlgorithm.to_jwk(short.public_key(), as_dict=True)
    other = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True)
    goldilocks = OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
    secret = {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}
    jwks = [{**jwk, "kid": str(n)} for n, jwk in enumerate((weak, other, goldilocks, secret))]
    keys = read_key_set(written(*jwks), EVERY)
    assert keys.keys == ()
    assert [said.partition(" ")[2].partition(") ")[2] or said for said in keys.left_out] == [
        "is an RSA key of 1024 bits: 2048 to 8192 are accepted",
        "entry 4 contains a private key: its public half is not used either",
    ]


def test_a_point_that_is_not_on_the_curve_is_left_out(ec_jwk):
    assert read_key_set(written({**ec_jwk, "kid": "e", "y": ec_jwk["x"]}), EVERY).keys == ()


def other_rsa():
    return RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)


def test_two_keys_of_one_kid_and_one_algorithm_are_nobodys(rsa_jwk, ec_jwk, ed_jwk):
    jwks = [{**rsa_jwk, "kid": "a"}, {**other_rsa(), "kid": "a"}, {**ec_jwk, "kid": "a"}, {**ed_jwk, "kid": "b"}]
    keys = read_key_set(written(*jwks), frozenset({"RS256", "ES256", "EdDSA"}))
    assert kids(keys) == {"a", "b"}
    assert found(keys, "a", "RS256").algorithms == {"ES256"}, "the signing one of the two is ambiguous"
    assert found(keys, "a", "ES256") is not None, "a key of another type is no contradiction"
    assert keys.left_out == ("kid 'a' names several keys for RS256",)


def test_one_kid_per_algorithm_and_use_is_no_contradiction(rsa_jwk):
    rsa_jwk.pop("key_ops", None)
    encrypting = {name: value for name, value in other_rsa().items() if name != "key_ops"}
    jwks = [
        rsa_jwk | {"kid": "a"},
        rsa_jwk | {"kid": "a"},
        rsa_jwk | {"kid": "b", "alg": "RS384"},
        rsa_jwk | {"kid": "b", "alg": "RS256"},
        rsa_jwk | {"kid": "c", "use": "sig"},
        encrypting | {"kid": "c", "use": "enc"},
        rsa_jwk | {"kid": "d", "alg": "RS256"},
        encrypting | {"kid": "d", "alg": "PS256"},
    ]
    keys = read_key_set(written(*jwks), EVERY)
    assert keys.left_out == ()
    assert found(keys, "b").algorithms == {"RS256", "RS384"}
    for kid in "acd":
        assert found(keys, kid).material == found(keys, "b").material
    assert found(keys, "d", "PS256").material != found(keys, "d", "RS256").material


def test_R10_without_a_kid_only_an_unambiguous_key_verifies(rsa_jwk, ec_jwk):
    other = other_rsa()
    alone = read_key_set(written(rsa_jwk, ec_jwk), EVERY)
    assert found(alone, None) is found(alone, "whatever") is not None
    assert found(alone, None, "ES256").algorithms == {"ES256"}
    assert found(alone, None, "EdDSA") is None
    named = read_key_set(written(rsa_jwk | {"kid": "a"}, ec_jwk | {"kid": "b"}), EVERY)
    assert found(named, None).kid == "a", "a token that names none"
    assert found(named, "c") is None, "a token that names another one"
    for two in ((rsa_jwk, other), (rsa_jwk | {"kid": "a"}, other), (rsa_jwk | {"kid": "a"}, other | {"kid": "b"})):
        assert found(read_key_set(written(*two), EVERY), None) is None
    assert found(read_key_set(written(rsa_jwk | {"kid": "a"}, other), EVERY), "a").kid == "a"
    twice = read_key_set(written(rsa_jwk | {"kid": "a"}, rsa_jwk | {"kid": "b"}, rsa_jwk), EVERY)
    assert found(twice, None) is not None, "the same key under several names is one"


def test_the_thumbprint_of_a_token_without_kid_selects_the_key(rsa_jwk):
    keys = read_key_set(written(rsa_jwk | {"kid": "old"}, other_rsa() | {"kid": "new"}), EVERY)
    assert found(keys, None, thumbprint="new").kid == "new", "AD FS while it rolls its certificate over"
    assert found(keys, None, thumbprint="gone") is None
    assert found(keys, "old", thumbprint="new").kid == "old"


def test_R10_a_published_private_key_verifies_nothing(rsa_jwk, ed_jwk):
    published = [rsa_jwk | {"kid": "a"}, rsa_jwk | {"kid": "b", "use": "enc", "d": "AQAB"}, ed_jwk | {"kid": "c"}]
    keys = read_key_set(written(*published), EVERY)
    assert kids(keys) == {"c"}
    assert keys.left_out == ("entry 2 contains a private key: its public half is not used either",)


def test_each_name_of_EdDSA_is_accepted_if_configured(ed_jwk):
    for alg in ("EdDSA", "Ed25519", None):
        jwk = {name: value for name, value in {**ed_jwk, "kid": "d", "alg": alg}.items() if value}
        for named in ("EdDSA", "Ed25519"):
            (key,) = read_key_set(written(jwk), frozenset({named})).keys
            assert key.algorithms == {named}


def test_a_byte_order_mark_before_the_document_is_passed_over(ed_jwk):
    assert kids(read_key_set(b"\xef\xbb\xbf" + written({**ed_jwk, "kid": "d"}), EVERY)) == {"d"}


def test_an_empty_set_is_one(ed_jwk):
    assert read_key_set(b'{"keys": []}', EVERY) == IssuerKeySet()
    keys = read_key_set(b'{"keys": [7, null, "x", []], "more": 1.5}', EVERY)
    assert (keys.keys, keys.listed, len(keys.left_out)) == ((), 4, 4)


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
    with pytest.raises(InvalidKeySetError, match=why):
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
    assert all(key.algorithms <= EVERY for key in keys.keys)


@pytest.mark.parametrize("alg", [[], {}, ["EdDSA"], 1, None])
def test_a_key_whose_alg_is_no_text_is_left_out(alg):
    jwks = [{**OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True), "alg": alg}]
    assert read_key_set(json.dumps({"keys": jwks}).encode(), EVERY).keys == ()


def test_segment_is_canonical():
    assert segment(b"AQAB") == b"\x01\x00\x01"
