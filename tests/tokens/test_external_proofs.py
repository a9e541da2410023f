"""Proofs of external tokens: those that the issuer's entry maps, at a time that is never in the future."""

from dataclasses import replace

import pytest

from sidecar.domain.sessions import SECOND_FACTORS, Method, Proof
from sidecar.tokens.external_tokens import sign_in_of
from tests.tokens.test_external_tokens import NOW, TRUST, signed, verdict

MAPPED = replace(
    TRUST, amr={"otp": Method.TOTP, "hwk": Method.PASSKEY, "pwd": Method.PASSWORD}, acr={"mfa": Method.SECOND_FACTOR}
)


def proofs_of(trust=MAPPED, **claims):
    proofs, at = sign_in_of(verdict(signed("EdDSA", **claims), trust), now=NOW, leeway=5)
    assert {proof.at for proof in proofs} == {at or 0}
    assert {proof.factor for proof in proofs} == {""}
    return [proof.method.value for proof in proofs], at


@pytest.mark.parametrize(
    ("claims", "methods"),
    [
        ({}, []),
        ({"amr": ["otp"]}, ["totp"]),
        ({"amr": ["pwd", "otp", "otp", "face"]}, ["password", "totp"]),
        ({"amr": ["hwk"], "acr": "mfa"}, ["passkey", "second-factor"]),
        ({"acr": "mfa"}, ["second-factor"]),
        ({"acr": "MFA", "amr": ["OTP", " otp", "mfa"]}, []),
        ({"amr": "otp"}, []),
        ({"amr": {"otp": True}}, []),
        ({"amr": [["otp"], {"otp": 1}, None, 1, True]}, []),
        ({"acr": ["mfa"]}, []),
        ({"acr": "otp", "amr": ["mfa"]}, []),
        ({"acr": None, "amr": None}, []),
    ],
)
def test_only_mapped_values_are_proofs(claims, methods):
    assert proofs_of(**claims) == (["outside", *methods], None)


def test_without_a_mapping_a_claim_proves_nothing():
    claims = {"amr": ["otp", "totp", "passkey", "mfa"], "acr": "second-factor", "auth_time": NOW - 60}
    assert proofs_of(TRUST, **claims) == (["outside"], NOW - 60)


@pytest.mark.parametrize(
    ("auth_time", "at"),
    [
        (NOW - 60, NOW - 60),
        (NOW - 60.5, NOW - 61),
        (NOW - 10, NOW - 10),
        (NOW - 5, NOW - 5),
        (NOW - 4, None),  # after it was issued, by more than the leeway
        (NOW + 6, None),
        (NOW + 10**9, None),
        (10**400, None),
        (0, None),
        (-1, None),
        (str(NOW - 60), None),
        (True, None),
        ([NOW - 60], None),
        (None, None),
        (..., None),
    ],
)
def test_an_auth_time_is_never_of_the_future(auth_time, at):
    """The token was issued ten seconds ago, and the leeway is five."""
    assert proofs_of(amr=["otp"], auth_time=auth_time) == (["outside", "totp"], at)


def test_the_clock_of_the_check_counts():
    claims = verdict(signed("EdDSA", iat=NOW + 4, auth_time=NOW + 4), MAPPED)
    assert sign_in_of(claims, now=NOW, leeway=5) == ((Proof(Method.OUTSIDE, "", NOW + 4),), NOW + 4)
    assert sign_in_of(claims, now=NOW - 2, leeway=5) == ((Proof(Method.OUTSIDE, "", 0),), None)


def test_a_vouched_factor_of_unknown_kind_counts_as_one():
    assert Method.SECOND_FACTOR in SECOND_FACTORS
    assert Method.OUTSIDE not in SECOND_FACTORS
