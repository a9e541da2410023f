"""Proofs of sessions, as the names of RFC 8176."""

import pytest

from sidecar.domain.sessions import Method, Proof, amr_of

RFC_8176 = {"face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pwd", "rba", "retina", "sc", "sms"}
RFC_8176 |= {"swk", "tel", "user", "vbm", "wia"}


@pytest.mark.parametrize(
    ("methods", "names"),
    [
        ([], ()),
        (["password"], ("pwd",)),
        (["password", "totp"], ("mfa", "otp", "pwd")),
        (["totp", "totp", "password"], ("mfa", "otp", "pwd")),
        (["passkey"], ("mfa", "swk", "user")),
        (["recovery-code"], ("mfa", "otp")),
        (["outside"], ()),
        (["outside", "second-factor"], ("mfa",)),
    ],
)
def test_proofs_have_the_names_of_RFC_8176(methods, names):
    assert amr_of(tuple(Proof(Method(method), "", 1) for method in methods)) == names


@pytest.mark.parametrize("method", list(Method))
def test_every_method_has_registered_names_alone(method):
    assert set(amr_of((Proof(method, "x", 1),))) <= RFC_8176
