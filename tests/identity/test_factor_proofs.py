"""One-time codes and passkeys as pure functions: what is accepted, and that nothing else is."""

import copy
import json
from typing import Any

import pyotp
import pytest
from fido2.utils import websafe_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.factors import FactorId
from sidecar.domain.users import UserId
from sidecar.identity.factors.passkeys import ALGORITHMS, Passkeys, user_of
from sidecar.identity.factors.totp import matching_step, provisioning_uri, qr_svg, secret_text
from tests.software_passkey import FLAGS, SoftwarePasskey

NOW = 1_764_000_015.0
SECRET = bytes(range(20))
STEP = int(NOW) // 30
ADA, BOB = UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"), UserId("usr_aaaaaaaaaaaa_cccccccccccc")
LAPTOP = FactorId("passkey_aaaaaaaaaaaaaaaa")
CHALLENGE, OTHER_CHALLENGE = bytes(32), bytes(31) + b"\1"
URL = "https://sidecar.example"


def code_at(step: int) -> str:
    return pyotp.TOTP(secret_text(SECRET)).generate_otp(step)


def test_R34_the_current_step_and_its_neighbours_count():
    assert [matching_step(SECRET, code_at(STEP + shift), NOW) for shift in (-1, 0, 1)] == [STEP - 1, STEP, STEP + 1]
    assert [matching_step(SECRET, code_at(STEP + shift), NOW) for shift in (-2, 2)] == [None, None]


def test_a_code_may_be_typed_with_a_space():
    code = code_at(STEP)
    assert matching_step(SECRET, f"{code[:3]} {code[3:]}", NOW) == STEP


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "١٢٣٤٥٦", "12345x", " " * 100_000, "-12345", "1_2345"])
def test_what_is_no_code_matches_no_step(typed: str):
    assert matching_step(SECRET, typed, NOW) is None


def test_the_uri_names_account_and_user_and_holds_the_secret():
    parsed = pyotp.parse_uri(provisioning_uri(SECRET, account="Acme & Söhne: x", email="ada@example.com"))
    assert (parsed.secret, parsed.name) == (secret_text(SECRET), "ada@example.com")
    assert "Acme" in (parsed.issuer or "")


def test_the_qr_code_is_an_svg_without_style_or_script():
    svg = qr_svg(provisioning_uri(SECRET, account="Acme", email="ada@example.com"))
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>")
    assert "style" not in svg
    assert "script" not in svg


@pytest.fixture
def site() -> Passkeys:
    return Passkeys(URL)


def options(site: Passkeys, challenge: bytes = CHALLENGE, existing: tuple[bytes, ...] = ()) -> dict[str, Any]:
    return site.creation_options(ADA, email="ada@example.com", name="Ada", challenge=challenge, existing=existing)


def enrolled(site: Passkeys, **more: Any) -> tuple[SoftwarePasskey, bytes]:
    device = SoftwarePasskey(URL, **more)
    made = site.verify_registration(device.create(options(site)), CHALLENGE)
    assert made is not None
    return device, made.credential


def test_the_options_ask_for_a_discoverable_verified_passkey(site: Passkeys):
    asked = json.loads(json.dumps(options(site)))
    assert asked["rp"]["id"] == "sidecar.example"
    assert asked["authenticatorSelection"]["residentKey"] == "required"
    assert asked["authenticatorSelection"]["userVerification"] == "required"
    assert {one["alg"] for one in asked["pubKeyCredParams"]} == set(ALGORITHMS)
    assert asked.get("attestation", "none") == "none"
    wanted = json.loads(json.dumps(site.request_options(CHALLENGE, ())))
    assert wanted["userVerification"] == "required"
    assert not wanted.get("allowCredentials")


def test_a_registered_passkey_is_excluded_and_allowed_by_its_id(site: Passkeys):
    device, credential = enrolled(site)
    assert [one["id"] for one in options(site, existing=(credential,))["excludeCredentials"]] == [
        websafe_encode(device.id)
    ]
    assert [one["id"] for one in site.request_options(CHALLENGE, (credential,))["allowCredentials"]] == [
        websafe_encode(device.id)
    ]


def test_R38_a_signature_of_the_registered_passkey_is_accepted(site: Passkeys):
    device, credential = enrolled(site, counter=4)
    asked = site.request_options(CHALLENGE, ())
    found = site.verify_assertion(device.get(asked), CHALLENGE, ADA, {LAPTOP: credential})
    assert found is not None
    assert (found.factor, found.counter) == (LAPTOP, 5)
    without_handle = device.get(asked, handle=False)
    assert site.verify_assertion(without_handle, CHALLENGE, ADA, {LAPTOP: credential}) is not None
    assert user_of(device.get(asked)) == ADA
    assert user_of(without_handle) == ""


FORGERIES = {
    "origin": {"origin": "https://sidecar.example.evil"},
    "origin with a port": {"origin": URL + ":8443"},
    "origin of a subdomain": {"origin": "https://x.sidecar.example"},
    "plain http": {"origin": "http://sidecar.example"},
    "unverified user": {"flags": FLAGS.UP},
    "absent user": {"flags": FLAGS.UV},
    "frame of another site": {"cross_origin": True},
    "another relying party": {"rp_id": "evil.example"},
}


@pytest.mark.parametrize("forged", FORGERIES)
def test_R38_a_forged_response_is_refused(site: Passkeys, forged: str):
    attacker = SoftwarePasskey(URL)
    for name, value in FORGERIES[forged].items():
        setattr(attacker, name, value)
    assert site.verify_registration(attacker.create(options(site)), CHALLENGE) is None
    device, credential = enrolled(site)
    for name, value in FORGERIES[forged].items():
        setattr(device, name, value)
    assert (
        site.verify_assertion(device.get(site.request_options(CHALLENGE, ())), CHALLENGE, ADA, {LAPTOP: credential})
        is None
    )


def test_R38_challenge_user_and_key_must_be_the_expected_ones(site: Passkeys):
    device, credential = enrolled(site)
    other, _ = enrolled(site)
    stored = {LAPTOP: credential}
    signed = device.get(site.request_options(CHALLENGE, ()))
    assert site.verify_assertion(signed, CHALLENGE, ADA, stored) is not None
    assert site.verify_assertion(signed, OTHER_CHALLENGE, ADA, stored) is None
    assert site.verify_assertion(signed, CHALLENGE, BOB, stored) is None
    assert site.verify_assertion(signed, CHALLENGE, ADA, {}) is None
    assert site.verify_assertion(other.get(site.request_options(CHALLENGE, ())), CHALLENGE, ADA, stored) is None
    other.id = device.id
    assert site.verify_assertion(other.get(site.request_options(CHALLENGE, ())), CHALLENGE, ADA, stored) is None
    registration = SoftwarePasskey(URL).create(options(site))
    assert site.verify_registration(registration, OTHER_CHALLENGE) is None
    assert site.verify_assertion(registration, CHALLENGE, ADA, stored) is None
    assert site.verify_registration(signed, CHALLENGE) is None


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    return (
        [prefix, *(path for name, part in inner for path in paths(part, (*prefix, name)))]
        if prefix
        else [path for name, part in inner for path in paths(part, (name,))]
    )


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.lists(st.text(), max_size=2)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_R38_any_changed_member_is_refused_without_an_error(data: st.DataObject):
    site = Passkeys(URL)
    device, credential = enrolled(site)
    made = SoftwarePasskey(URL).create(options(site)), device.get(site.request_options(CHALLENGE, ()))
    sent = copy.deepcopy(data.draw(st.sampled_from(made)))
    path = data.draw(st.sampled_from([one for one in paths(sent) if one[0] in {"id", "rawId", "response"}]))
    place = sent
    for name in path[:-1]:
        place = place[name]
    junk = data.draw(JUNK)
    if path[-1] in {"transports", "userHandle"} or junk == place[path[-1]]:
        return
    place[path[-1]] = junk
    assert site.verify_registration(sent, CHALLENGE) is None
    assert site.verify_assertion(sent, CHALLENGE, ADA, {LAPTOP: credential}) is None
    user_of(sent)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9181", "https://[::1]", "https://192.0.2.7"])
def test_R38_passkeys_are_off_for_an_ip_address(url: str):
    assert not Passkeys(url).available


def test_R38_a_name_or_localhost_has_passkeys():
    assert Passkeys("http://localhost:9181").available
    assert Passkeys("http://localhost:9181").origin == "http://localhost:9181"
    assert Passkeys(URL).available
