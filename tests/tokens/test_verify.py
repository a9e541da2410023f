"""Forged, malformed and valid access tokens, one row each."""

import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.decision import Reason
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import KeySet, access_token
from sidecar.tokens.verify import MAX_TOKEN, Verifier

OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
ABSENT = ...

HEADERS = {
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "alg missing": {"alg": ABSENT},
    "alg null": {"alg": None},
    "alg a list": {"alg": ["EdDSA"]},
    "alg of another spelling": {"alg": "eddsa"},
    "alg by curve name": {"alg": "Ed25519"},
    "alg RS256": {"alg": "RS256"},
    "alg HS256": {"alg": "HS256"},
    "typ missing": {"typ": ABSENT},
    "typ JWT": {"typ": "JWT"},
    "typ of another spelling": {"typ": "AT+JWT"},
    "typ with its prefix": {"typ": "application/at+jwt"},
    "typ a list": {"typ": ["at+jwt"]},
    "kid missing": {"kid": ABSENT},
    "kid empty": {"kid": ""},
    "kid a number": {"kid": 1},
    "kid a list": {"kid": ["x"]},
    "kid null": {"kid": None},
    "crit": {"crit": ["exp"], "exp": 1},
    "crit empty": {"crit": []},
    "crit null": {"crit": None},
    "b64 false": {"b64": False},
    "jku": {"jku": "https://evil.example/jwks.json"},
    "jwk": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}},
    "x5u": {"x5u": "https://evil.example/cert.pem"},
    "x5c": {"x5c": ["AAAA"]},
    "zip": {"zip": "DEF"},
}

CLAIMS = {
    f"{name} {what}": {name: value}
    for name in ("iss", "aud", "sub", "client_id", "acct", "sid", "jti")
    for what, value in {
        "missing": ABSENT,
        "null": None,
        "a number": 1,
        "a list": ["dashboard"],
        "an object": {},
        "true": True,
        "empty": "",
    }.items()
} | {
    f"{name} {what}": {name: value}
    for name in ("iat", "exp", "tv", "nbf")
    for what, value in {
        "null": None,
        "a string": "1800000000",
        "a fraction": 1_800_000_000.5,
        "a whole fraction": 1_800_000_000.0,
        "true": True,
        "false": False,
        "a list": [1],
        "negative": -1,
        "past 2^53": 2**53,
        "enormous": 10**400,
    }.items()
}
CLAIMS |= {f"{name} missing": {name: ABSENT} for name in ("iat", "exp", "tv")}
CLAIMS |= {
    "client_id of another user": {"client_id": "usr_aaaaaaaaaaaa_zzzzzzzzzzzz"},
    "acct of another account": {"acct": "acc_zzzzzzzzzzzz"},
    "sub of another account": {"sub": "usr_zzzzzzzzzzzz_bbbbbbbbbbbb"},
    "sub not an id": {"sub": "ada@example.com"},
    "sub with a line end": {"sub": "usr_aaaaaaaaaaaa_bbbbbbbbbbbb\n"},
    "sub in capitals": {"sub": "USR_AAAAAAAAAAAA_BBBBBBBBBBBB"},
    "sid not an id": {"sid": "1"},
    "jti over-long": {"jti": "j" * 129},
    "jti with a lone surrogate": {"jti": "\ud800"},
    "lifetime over what is granted": {"exp": 1_800_000_000 + 906},
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_R18_header_that_is_not_exactly_ours_is_malformed(verifier, forge, now, change):
    assert verifier.verify(forge.with_header(**change), now=now) is Reason.MALFORMED_TOKEN


@pytest.mark.parametrize("change", CLAIMS.values(), ids=CLAIMS)
def test_R18_claim_that_is_not_exactly_typed_is_malformed(verifier, forge, now, change):
    assert verifier.verify(forge.with_claims(**change), now=now) is Reason.MALFORMED_TOKEN


def test_honest_token_gives_its_claims(verifier, keys, claims, now):
    assert verifier.verify(access_token(keys, claims), now=now) == claims


def test_unknown_members_are_ignored_as_rfc_7515_and_7519_say(verifier, forge, claims, now):
    header = {**forge.header, "cty": "x"}
    assert verifier.verify(forge.sign(header, {**forge.payload, "role": "account-administrator"}), now=now) == claims


def test_R18_hs256_signed_with_the_public_key_is_malformed(verifier, forge, keys, now):
    public = keys.private_key.public_key()
    for secret in (
        public.public_bytes_raw(),
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ):
        signed = forge.with_header(alg="HS256").rpartition(".")[0]
        forged = (
            signed + "." + jwt.utils.base64url_encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode()
        )
        assert verifier.verify(forged, now=now) is Reason.MALFORMED_TOKEN


def test_R18_unsigned_token_is_malformed(verifier, forge, claims, now):
    assert verifier.verify(jwt.encode(forge.payload, None, algorithm="none"), now=now) is Reason.MALFORMED_TOKEN
    assert verifier.verify(forge.sign().rpartition(".")[0] + ".", now=now) is Reason.MALFORMED_TOKEN


@pytest.mark.parametrize(
    ("member", "where"),
    [('"exp":9999999999,', 1), ('"tv":7,', 1), ('"sub":"usr_aaaaaaaaaaaa_zzzzzzzzzzzz",', 1), ('"alg":"none",', 0)],
)
def test_R18_duplicate_member_is_malformed(verifier, forge, now, member, where):
    parts = [json.dumps(forge.header).encode(), json.dumps(forge.payload).encode()]
    parts[where] = b"{" + member.encode() + parts[where][1:]
    assert verifier.verify(forge.sign(*parts), now=now) is Reason.MALFORMED_TOKEN


def test_R18_duplicate_member_deep_inside_is_malformed(verifier, forge, now):
    payload = json.dumps(forge.payload).encode()[:-1] + b',"extra":{"a":1,"a":2}}'
    assert verifier.verify(forge.sign(payload=payload), now=now) is Reason.MALFORMED_TOKEN


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"{'iss': 1}",
        b'{"iss":"\xff"}',
        b'{"iss":NaN}',
        b'{"iss":Infinity}',
        b"{} {}",
        b'{"iss":"a\nb"}',
        b"[" * 9000 + b"]" * 2000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
    ],
)
def test_R18_payload_that_is_no_strict_json_object_is_malformed(verifier, forge, now, payload):
    assert verifier.verify(forge.sign(payload=payload), now=now) is Reason.MALFORMED_TOKEN


def test_R18_token_over_16_kib_is_malformed_however_well_signed(verifier, forge, keys, now):
    room = MAX_TOKEN - len(forge.with_claims(pad=""))
    assert isinstance(verifier.verify(forge.with_claims(pad="x" * (room * 3 // 4 - 8)), now=now), Claims)
    assert verifier.verify(forge.with_claims(pad="x" * 15_360), now=now) is Reason.MALFORMED_TOKEN
    assert verifier.verify("a" * 20_480, now=now) is Reason.MALFORMED_TOKEN


def _respelled(token: str) -> dict[str, str]:
    header, payload, signature = token.split(".")
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return {
        "padding": token + "==",
        "padding inside": f"{header}=.{payload}.{signature}",
        "leading space": " " + token,
        "trailing space": token + " ",
        "trailing line end": token + "\n",
        "space inside": f"{header}.{payload} .{signature}",
        "a fourth segment": token + ".AAAA",
        "an empty fourth segment": token + ".",
        "two segments": f"{header}.{payload}",
        "one segment": header,
        "empty header": f".{payload}.{signature}",
        "empty payload": f"{header}..{signature}",
        "nothing": "",
        "dots": "..",
        "the other alphabet": token.replace("-", "+").replace("_", "/") + ("" if set("-_") & set(token) else "+"),
        "trailing bits": token[:-1] + alphabet[alphabet.index(last) + 1],
        "not ascii": token[:-1] + "é",
        "full-width": token[:-1] + "\uff21",
        "lone surrogate": token[:-1] + "\ud800",
        "nul": token + "\x00",
    }


@pytest.mark.parametrize("spelling", _respelled("a.b.c"))
def test_R18_another_spelling_of_the_same_token_is_malformed(verifier, forge, now, spelling):
    assert verifier.verify(_respelled(forge.sign())[spelling], now=now) is Reason.MALFORMED_TOKEN


def test_unknown_kid_is_unknown_key_whoever_signed(verifier, forge, now):
    assert verifier.verify(forge.with_header(kid="x"), now=now) is Reason.UNKNOWN_KEY
    theirs = {**forge.header, "kid": KeySet.of(OTHER).kid}
    assert verifier.verify(forge.sign(theirs, key=OTHER), now=now) is Reason.UNKNOWN_KEY


def test_known_kid_with_a_foreign_signature_is_invalid_signature(verifier, forge, now):
    assert verifier.verify(forge.sign(key=OTHER), now=now) is Reason.INVALID_SIGNATURE


@pytest.mark.parametrize("signature", ["AAAA", "A" * 86, "A" * 88, "A" * 200])
def test_known_kid_with_no_real_signature_is_invalid_signature(verifier, forge, now, signature):
    assert verifier.verify(f"{forge.sign().rpartition('.')[0]}.{signature}", now=now) is Reason.INVALID_SIGNATURE


def test_signature_over_other_claims_is_invalid_signature(verifier, forge, now):
    header, _, signature = forge.sign().split(".")
    payload = forge.with_claims(tv=2).split(".")[1]
    assert verifier.verify(f"{header}.{payload}.{signature}", now=now) is Reason.INVALID_SIGNATURE


@pytest.mark.parametrize(
    "issuer", ["https://evil.example", "https://sidecar.example/", "HTTPS://sidecar.example", "\ud800"]
)
def test_other_issuer(verifier, forge, now, issuer):
    assert verifier.verify(forge.with_claims(iss=issuer), now=now) is Reason.WRONG_ISSUER


@pytest.mark.parametrize("audience", ["other", "Dashboard", "dashboard "])
def test_other_audience(verifier, forge, now, audience):
    assert verifier.verify(forge.with_claims(aud=audience), now=now) is Reason.WRONG_AUDIENCE


def test_R18_dates_are_exact_and_the_lifetime_is_bounded(verifier, forge, now):
    def reason(**claims):
        verdict = verifier.verify(forge.with_claims(**claims), now=now)
        return verdict if isinstance(verdict, Reason) else None

    assert reason(nbf=now + 5) is None
    assert reason(nbf=now + 6) is Reason.NOT_YET_VALID
    assert reason(iat=now + 5, exp=now + 900) is None
    assert reason(iat=now + 6, exp=now + 900) is Reason.NOT_YET_VALID
    assert reason(iat=now - 900, exp=now - 4) is None
    assert reason(iat=now - 900, exp=now - 5) is Reason.EXPIRED
    assert reason(exp=now + 905) is None
    assert reason(exp=now + 906) is Reason.MALFORMED_TOKEN


def test_no_leeway_and_the_largest(keys, forge, claims, now):
    strict = Verifier(keys, claims.issuer, claims.audience, access_ttl=900, leeway=0)
    assert strict.verify(forge.with_claims(iat=now - 900, exp=now), now=now) is Reason.EXPIRED
    assert strict.verify(forge.with_claims(nbf=now + 1), now=now) is Reason.NOT_YET_VALID
    for leeway in (-1, 61):
        with pytest.raises(ValueError, match="leeway"):
            Verifier(keys, claims.issuer, claims.audience, access_ttl=900, leeway=leeway)


def test_several_faults_give_the_first_reason_of_the_contract(verifier, forge, now):
    """Each row repairs the first fault of the row before."""
    faults = {"iss": "x", "aud": "y", "nbf": now + 99, "iat": now - 900, "exp": now - 9}
    kid = {**forge.header, "kid": "x"}
    rows = [
        (forge.sign(kid, {**forge.payload, **faults, "tv": "1"}, OTHER), Reason.MALFORMED_TOKEN),
        (forge.sign(kid, {**forge.payload, **faults}, OTHER), Reason.UNKNOWN_KEY),
        (forge.sign(None, {**forge.payload, **faults}, OTHER), Reason.INVALID_SIGNATURE),
        (forge.with_claims(**faults), Reason.WRONG_ISSUER),
        (forge.with_claims(**{**faults, "iss": ABSENT}), Reason.MALFORMED_TOKEN),
        (forge.with_claims(**{**faults, "iss": forge.claims.issuer}), Reason.WRONG_AUDIENCE),
        (forge.with_claims(nbf=now + 99, iat=now - 900, exp=now - 9), Reason.NOT_YET_VALID),
        (forge.with_claims(iat=now - 9000, exp=now - 9), Reason.EXPIRED),
    ]
    assert [verifier.verify(token, now=now) for token, _ in rows] == [reason for _, reason in rows]


def test_every_key_of_the_set_verifies_and_a_removed_one_fails(keys, claims, now):
    both = KeySet.of(OTHER, [keys.private_key.public_key()])
    old = access_token(keys, claims)
    assert Verifier(both, claims.issuer, claims.audience, 900).verify(old, now=now) == claims
    alone = Verifier(KeySet.of(OTHER), claims.issuer, claims.audience, 900)
    assert alone.verify(old, now=now) is Reason.UNKNOWN_KEY


def test_R29_dates_are_asked_again_of_cached_claims(verifier, claims, now):
    assert verifier.timely(claims, now=now) is None
    assert verifier.timely(claims, now=now + 905) is Reason.EXPIRED


def test_R29_version_names_all_that_a_verdict_depends_on(keys):
    def version(*arguments):
        return Verifier(*arguments).version

    assert version(keys, "i", "a", 900) == version(keys, "i", "a", 900)
    others = {
        version(KeySet.of(OTHER), "i", "a", 900),
        version(keys, "ia", "", 900),
        version(keys, "i", "b", 900),
        version(keys, "i", "a", 901),
        version(keys, "i", "a", 900, 6),
    }
    assert version(keys, "i", "a", 900) not in others
    assert len(others) == 5


@given(token=st.text(max_size=400))
def test_any_text_gets_a_reason_and_never_an_exception(verifier, now, token):
    assert verifier.verify(token, now=now) is Reason.MALFORMED_TOKEN


@given(header=st.binary(max_size=80), payload=st.binary(max_size=80))
def test_any_signed_bytes_get_a_reason_and_never_an_exception(verifier, forge, now, header, payload):
    assert verifier.verify(forge.sign(header, payload), now=now) is Reason.MALFORMED_TOKEN


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    name=st.sampled_from(["iss", "aud", "sub", "client_id", "acct", "sid", "jti", "iat", "exp", "tv", "nbf"]),
    value=_JSON,
)
def test_any_value_of_any_claim_is_judged(verifier, forge, now, name, value):
    verdict = verifier.verify(forge.with_claims(**{name: value}), now=now)
    if isinstance(verdict, Claims):
        assert (name, type(value)) in {("jti", str), ("tv", int), ("nbf", int), ("iat", int), ("exp", int)}


@given(at=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=127))
def test_any_changed_character_is_refused(verifier, forge, now, at, flip):
    token = forge.sign()
    at %= len(token)
    changed = token[:at] + chr(ord(token[at]) ^ flip) + token[at + 1 :]
    assert isinstance(verifier.verify(changed, now=now), Reason)
