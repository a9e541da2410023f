"""Tokens of outside issuers (R10): what makes one authentic, every way in which one is not, and what it may not say."""

import base64
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from sidecar.tokens.jwk_set import KINDS, read_key_set
from sidecar.tokens.outside import OutsideClaims, Presented, Trust, believe, issuer_named, read, timely
from sidecar.vocabulary.decision import Reason

NOW = 1_800_000_000
ISSUER = "https://login.example/"
TRUST = Trust(ISSUER, "dashboard", frozenset({"RS256", "ES256", "EdDSA"}))
CLAIMS = {
    "iss": ISSUER,
    "aud": "dashboard",
    "sub": "00u-1",
    "iat": NOW - 10,
    "exp": NOW + 3600,
    "email": "ada@example.com",
    "email_verified": True,
}
KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate(),
}
KIDS = {"RS256": "r", "ES256": "e", "EdDSA": "d"}


def _jwk(algorithm):
    made = get_default_algorithms()[algorithm].to_jwk(KEYS[algorithm].public_key(), as_dict=True)
    return {**made, "kid": KIDS[algorithm]}


SET = read_key_set(json.dumps({"keys": [_jwk(algorithm) for algorithm in KEYS]}).encode(), frozenset(KINDS))


def signed(algorithm="RS256", header=None, key=None, raw=None, **claims):
    """A token as PyJWT signs it; members set to ``...`` are left out. ``raw``: a payload in place of the claims."""
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}
    headers = {"kid": KIDS.get(algorithm, "r"), **(header or {})}
    content = raw if raw is not None else json.dumps(payload).encode()
    headers = {name: value for name, value in headers.items() if value is not ...}
    # PyJWT writes typ itself; None takes it away.
    return jwt.api_jws.encode(content, key or KEYS[algorithm], algorithm, headers)


def verdict(token, trust=TRUST):
    presented = read(token, trust)
    if isinstance(presented, Reason):
        return presented
    return believe(presented, SET.get(presented.kid), trust)


@pytest.mark.parametrize("algorithm", KEYS)
def test_R10_an_authentic_token_says_who_and_whether_the_email_is_verified(algorithm):
    claims = verdict(signed(algorithm, jti="j-1", nbf=NOW - 5, acct="acc_x", tv=9, sid="ses_x", role="admin"))
    assert claims == OutsideClaims(
        ISSUER, "00u-1", "dashboard", NOW - 10, NOW + 3600, NOW - 5, "j-1", "ada@example.com"
    )
    assert timely(claims, now=NOW, leeway=5) is None


@pytest.mark.parametrize("value", [False, ..., None, "true", 1, "yes", ["true"], {}])
def test_R10_an_email_counts_only_when_email_verified_is_JSON_true(value):
    claims = verdict(signed(email_verified=value))
    assert isinstance(claims, OutsideClaims)
    assert claims.email is None


@pytest.mark.parametrize("value", [..., None, 5, ["ada@example.com"], True])
def test_R10_an_email_that_is_no_text_is_none(value):
    assert verdict(signed(email=value)).email is None


def test_the_claim_that_is_the_email_is_the_operators_choice():
    trust = Trust(ISSUER, "dashboard", TRUST.algorithms, "upn")
    assert verdict(signed(upn="grace@example.com"), trust).email == "grace@example.com"
    assert verdict(signed(), trust).email is None


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "AT+JWT", "application/at+jwt", None])
def test_a_type_may_be_missing_or_one_of_the_usual(typ):
    assert isinstance(verdict(signed(header={"typ": typ})), OutsideClaims)


def test_an_audience_may_be_one_of_several():
    assert isinstance(verdict(signed(aud=["other", "dashboard"])), OutsideClaims)


def test_a_thumbprint_of_a_certificate_is_ignored():
    assert isinstance(verdict(signed(header={"x5t": "abc", "x5t#S256": "def"})), OutsideClaims)


HEADERS = {
    "jku": {"jku": "https://evil.example/keys"},
    "x5u": {"x5u": "https://evil.example/cert"},
    "jwk": {"jwk": {"kty": "OKP"}},
    "x5c": {"x5c": ["MII"]},
    "crit": {"crit": ["exp"]},
    "zip": {"zip": "DEF"},
    "enc": {"enc": "A128GCM"},
    "a logout token": {"typ": "logout+jwt"},
    "an event": {"typ": "secevent+jwt"},
    "no kid": {"kid": ...},
    "an empty kid": {"kid": ""},
}


@pytest.mark.parametrize("name", HEADERS)
def test_R10_headers_that_bring_a_key_or_another_meaning_are_malformed(name):
    assert verdict(signed(header=HEADERS[name])) is Reason.MALFORMED_TOKEN


def test_R10_only_the_algorithms_that_were_named_and_that_fit_the_key():
    narrow = Trust(ISSUER, "dashboard", frozenset({"ES256"}))
    assert verdict(signed("RS256"), narrow) is Reason.MALFORMED_TOKEN
    assert verdict(signed("EdDSA", header={"kid": "r"})) is Reason.MALFORMED_TOKEN
    for algorithm in ("HS256", "none"):
        key = "0" * 64 if algorithm == "HS256" else None
        token = jwt.api_jws.encode(json.dumps(CLAIMS).encode(), key, algorithm, {"kid": "r"})
        assert verdict(token) is Reason.MALFORMED_TOKEN


def test_R10_a_public_key_is_no_shared_secret():
    """The oldest trick: HS256 under the bytes of the public key."""
    public = KEYS["RS256"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"r","typ":"JWT"}').rstrip(b"=")
    text = header + b"." + signed().split(".")[1].encode()
    mac = base64.urlsafe_b64encode(hmac.digest(pem, text, "sha256")).rstrip(b"=")
    assert verdict((text + b"." + mac).decode()) is Reason.MALFORMED_TOKEN


def test_signatures_of_other_keys_and_of_other_bytes_are_invalid():
    assert verdict(signed("EdDSA", key=Ed25519PrivateKey.generate())) is Reason.INVALID_SIGNATURE
    for algorithm in KEYS:
        header, payload, signature = signed(algorithm).split(".")
        other = signed(algorithm, sub="00u-2").split(".")[1]
        assert verdict(f"{header}.{other}.{signature}") is Reason.INVALID_SIGNATURE
        assert verdict(f"{header}.{payload}.AAAA") is Reason.INVALID_SIGNATURE


def test_a_kid_that_the_issuer_does_not_have_is_an_unknown_key():
    assert verdict(signed(header={"kid": "x"})) is Reason.UNKNOWN_KEY


MALFORMED_CLAIMS = {
    "a subject that is missing": {"sub": ...},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "a subject without end": {"sub": "s" * 256},
    "a subject with a control character": {"sub": "a\0b"},
    "half of a surrogate pair": {"sub": "\ud800"},
    "iat missing": {"iat": ...},
    "exp missing": {"exp": ...},
    "exp as a text": {"exp": str(NOW + 10)},
    "exp as a fraction": {"exp": NOW + 10.5},
    "exp as a truth": {"exp": True},
    "iat below zero": {"iat": -1},
    "nbf as null": {"nbf": None},
    "aud missing": {"aud": ...},
    "aud as an object": {"aud": {"dashboard": 1}},
    "aud with something else in it": {"aud": ["dashboard", 1]},
}


@pytest.mark.parametrize("name", MALFORMED_CLAIMS)
def test_claims_of_a_wrong_type_are_malformed(name):
    assert verdict(signed(**MALFORMED_CLAIMS[name])) is Reason.MALFORMED_TOKEN


@pytest.mark.parametrize("audience", ["Dashboard", "dashboard ", ["other"], []])
def test_another_audience_is_another_audience(audience):
    assert verdict(signed(aud=audience)) is Reason.WRONG_AUDIENCE


def test_R10_a_token_of_another_issuer_is_not_believed_under_this_ones_keys():
    assert verdict(signed(iss="https://login.example")) is Reason.WRONG_ISSUER


def test_duplicate_members_and_odd_numbers_are_malformed():
    text = json.dumps(CLAIMS)
    for raw in (text[:-1] + ', "sub": "00u-2"}', text[:-1] + ', "x": NaN}', text[:-1] + ', "x": {"a": 1, "a": 2}}'):
        assert verdict(signed(raw=raw.encode())) is Reason.MALFORMED_TOKEN
    assert isinstance(verdict(signed(raw=(text[:-1] + ', "x": 1.5}').encode())), OutsideClaims)


@pytest.mark.parametrize(
    ("claims", "now", "reason"),
    [
        ({}, NOW + 3604, None),
        ({}, NOW + 3605, Reason.EXPIRED),
        ({"nbf": NOW + 5}, NOW, None),
        ({"nbf": NOW + 6}, NOW, Reason.NOT_YET_VALID),
        ({"iat": NOW + 5}, NOW, None),
        ({"iat": NOW + 6}, NOW, Reason.NOT_YET_VALID),
    ],
)
def test_dates_count_with_the_leeway(claims, now, reason):
    assert timely(verdict(signed(**claims)), now=now, leeway=5) is reason


def test_the_issuer_is_read_without_belief():
    assert issuer_named(signed("EdDSA", key=Ed25519PrivateKey.generate())) == ISSUER
    for token in ("", "a.b", "a.b.c", signed(iss=5), signed(iss=...), signed(iss="x" * 513), signed(raw=b"[]")):
        assert issuer_named(token) is None


@given(
    st.text(alphabet="eyJhbGciOiJ.SUzI1NiJ9_-{}é", max_size=200)
    | st.binary(max_size=60).map(lambda b: b.decode("latin-1"))
)
def test_no_bytes_make_it_raise(token):
    issuer_named(token)
    assert isinstance(read(token, TRUST), Reason | Presented)


def test_R24_no_part_of_a_token_shows_in_a_repr():
    token = signed()
    shown = repr(read(token, TRUST)) + repr(verdict(token))
    assert "ada@example.com" not in shown
    assert not any(part in shown for part in token.split("."))
