"""Sealed secrets of factors, recovery codes and sealed challenges: authentic content, or nothing."""

import base64
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.factors import FactorId, FactorKind, kind_of
from sidecar.domain.users import UserId
from sidecar.tokens.challenges import (
    CHALLENGE_SECONDS,
    ChallengePurpose,
    new_challenge,
    read_challenge,
)
from sidecar.tokens.factor_secrets import (
    RECOVERY_CODE_BYTES,
    is_factor_id,
    new_factor_id,
    recovery_code,
    recovery_digest,
    seal,
    unseal,
)
from sidecar.tokens.opaque import Pepper

PEPPER, OTHER = Pepper(bytes(range(32))), Pepper(bytes(32))
ADA, BOB = UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"), UserId("usr_aaaaaaaaaaaa_cccccccccccc")
ELSEWHERE = UserId("usr_zzzzzzzzzzzz_bbbbbbbbbbbb")
PHONE, TABLET = FactorId("totp_aaaaaaaaaaaaaaaa"), FactorId("totp_bbbbbbbbbbbbbbbb")
NOW = 1_764_000_000.0


def sealed(secret: bytes = b"secret") -> str:
    return seal(PEPPER, ADA, PHONE, secret, os.urandom(12))


def test_R35_a_sealed_secret_opens_for_its_owner_alone():
    assert unseal(PEPPER, ADA, PHONE, sealed()) == b"secret"
    assert unseal(PEPPER, BOB, PHONE, sealed()) is None
    assert unseal(PEPPER, ELSEWHERE, PHONE, sealed()) is None
    assert unseal(PEPPER, ADA, TABLET, sealed()) is None
    assert unseal(OTHER, ADA, PHONE, sealed()) is None


def test_R35_the_stored_form_hides_the_secret_and_never_repeats():
    assert b"JBSWY3DPEHPK3PXP".hex() not in sealed(b"JBSWY3DPEHPK3PXP")
    assert "JBSWY3DP" not in sealed(b"JBSWY3DPEHPK3PXP")
    assert sealed() != sealed()


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_R35_a_damaged_sealed_secret_is_none(text: str):
    assert unseal(PEPPER, ADA, PHONE, text) is None


@given(st.integers(0, 33), st.integers(1, 255))
def test_R35_one_changed_byte_opens_nothing(place: int, change: int):
    raw = bytearray(base64.urlsafe_b64decode(sealed()))
    raw[place % len(raw)] ^= change
    assert unseal(PEPPER, ADA, PHONE, base64.urlsafe_b64encode(bytes(raw)).decode()) is None


def test_the_kind_of_a_factor_is_in_its_id():
    for kind in FactorKind:
        factor = new_factor_id(kind, os.urandom(10))
        assert is_factor_id(factor)
        assert kind_of(factor) is kind
    assert not is_factor_id("sms_aaaaaaaaaaaaaaaa")
    assert not is_factor_id(PHONE + "\n")


def test_R35_recovery_codes_have_80_random_bits_and_are_distinct():
    assert RECOVERY_CODE_BYTES * 8 >= 80
    codes = {recovery_code(os.urandom(RECOVERY_CODE_BYTES)) for _ in range(200)}
    assert len(codes) == 200
    assert all(len(code) == 19 and set(code) <= set(string.ascii_lowercase + "234567-") for code in codes)
    # every bit of the entropy is in the code
    assert recovery_code(b"\0" * 10) != recovery_code(b"\0" * 9 + b"\1") != recovery_code(b"\x80" + b"\0" * 9)


def test_R35_a_recovery_code_is_stored_as_a_digest_of_its_user():
    code = recovery_code(b"0123456789")
    digest = recovery_digest(PEPPER, ADA, code)
    assert digest is not None
    assert code.replace("-", "") not in digest
    for typed in (code.upper(), code.replace("-", ""), f" {code.replace('-', ' ')} "):
        assert recovery_digest(PEPPER, ADA, typed) == digest
    assert recovery_digest(PEPPER, BOB, code) != digest
    assert recovery_digest(OTHER, ADA, code) != digest


@pytest.mark.parametrize("typed", ["", "abcd", "aaaa-aaaa-aaaa-aaa1", "ä" * 16, "a" * 10_000, "a" * 17, "\0" * 16])
def test_what_cannot_be_a_recovery_code_has_no_digest(typed: str):
    assert recovery_digest(PEPPER, ADA, typed) is None


def text_of(purpose: ChallengePurpose = ChallengePurpose.SIGN_IN, user: UserId | None = ADA, epoch: int = 3) -> str:
    return new_challenge(purpose, user, epoch, now=NOW, entropy=os.urandom(17)).text(PEPPER)


def test_R36_a_challenge_is_read_back_within_its_time():
    found = read_challenge(PEPPER, text_of(), ChallengePurpose.SIGN_IN, NOW + CHALLENGE_SECONDS - 1)
    assert found is not None
    assert (found.user, found.epoch, found.expires_at) == (ADA, 3, NOW + CHALLENGE_SECONDS)
    assert read_challenge(PEPPER, text_of(), ChallengePurpose.SIGN_IN, NOW + CHALLENGE_SECONDS) is None
    without = read_challenge(PEPPER, text_of(ChallengePurpose.PASSKEY, None, 0), ChallengePurpose.PASSKEY, NOW)
    assert without is not None
    assert without.user == ""


@pytest.mark.parametrize("made", ChallengePurpose)
@pytest.mark.parametrize("used", ChallengePurpose)
def test_R36_a_challenge_of_another_purpose_is_nothing(made: ChallengePurpose, used: ChallengePurpose):
    assert (read_challenge(PEPPER, text_of(made), used, NOW) is not None) == (made is used)


def test_R36_a_changed_challenge_is_nothing():
    text = text_of()
    for old, new in ((ADA[4:], BOB[4:]), ("_3_", "_4_"), ("signin", "stepup"), (f"_{int(NOW) + 300}_", "_9999999999_")):
        assert old in text
        changed = text.replace(old, new, 1)
        for purpose in ChallengePurpose:
            assert read_challenge(PEPPER, changed, purpose, NOW) is None
    assert read_challenge(OTHER, text, ChallengePurpose.SIGN_IN, NOW) is None


@given(st.text(max_size=300))
def test_R36_any_other_text_is_no_challenge(text: str):
    assert read_challenge(PEPPER, text, ChallengePurpose.SIGN_IN, NOW) is None
    assert read_challenge(PEPPER, text_of() + text[:1] + "x", ChallengePurpose.SIGN_IN, NOW) is None
