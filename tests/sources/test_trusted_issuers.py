"""The file of trusted issuers (R10): accepted content, and one line for each unsafe entry."""

import os
from pathlib import Path

import pytest

from sidecar.domain.sessions import Method
from sidecar.sources.trusted_issuers import TrustedIssuer, TrustedIssuersError, read_trusted_issuers
from sidecar.tokens.external_tokens import EmailProof, IssuerTrust

OWN = "https://sidecar.example"
GOOD = {
    "issuer": '"https://login.example/"',
    "audience": '"dashboard"',
    "jwks_url": '"https://login.example/keys"',
    "algorithms": '["RS256", "ES256"]',
    "accounts": '["Acme", "acc_aaaaaaaaaaaa"]',
}


def text(**changed):
    members = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    return "[[issuer]]\n" + "".join(f"{name} = {value}\n" for name, value in members.items())


@pytest.fixture
def reads(tmp_path):
    def read(content, mode=0o644):
        path = tmp_path / "issuers.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return read_trusted_issuers(path, own_issuer=OWN)

    return read


def test_an_entry_says_all_that_is_believed(reads, tmp_path):
    assert reads(text()) == (
        TrustedIssuer(
            IssuerTrust("https://login.example/", "dashboard", frozenset({"RS256", "ES256"}), "email"),
            "https://login.example/keys",
            ("Acme", "acc_aaaaaaaaaaaa"),
        ),
    )
    (entry,) = reads(text(jwks_url=None, jwks_file='"keys.json"', email_claim='"upn"', accounts='["Acme", "Acme"]'))
    assert (entry.keys, entry.trust.email_claim, entry.accounts) == (tmp_path / "keys.json", "upn", ("Acme",))
    assert len(reads(text() + text(issuer='"https://other.example"'))) == 2


@pytest.mark.parametrize(
    "issuer",
    ["http://adfs.example/adfs/services/trust", "accounts.google.com", "https://login.example?p=b2c_1", "Corp"],
)
def test_an_issuer_is_compared_as_text_of_any_form(reads, issuer):
    (entry,) = reads(text(issuer=f'"{issuer}"'))
    assert entry.trust.issuer == issuer


def test_how_an_email_is_proven_and_where_the_audience_stands(reads):
    (entry,) = reads(
        text(
            email_verified='"vouched"',
            email_domains='["Acme.example", "xn--bcher-kva.example"]',
            audience_claim='"client_id"',
        )
    )
    assert entry.trust.email_verified is EmailProof.VOUCHED
    assert entry.trust.email_domains == {"acme.example", "xn--bcher-kva.example"}
    assert entry.trust.audience_claim == "client_id"
    (entry,) = reads(text(email_verified='"claim-or-text"'))
    assert entry.trust.email_verified is EmailProof.CLAIM_OR_TEXT


def test_proofs_are_mapped_by_the_entry_alone(reads):
    (entry,) = reads(text(amr='{ otp = "totp", hwk = "passkey" }', acr='{ "urn:example:mfa" = "second-factor" }'))
    assert entry.trust.amr == {"otp": Method.TOTP, "hwk": Method.PASSKEY}
    assert entry.trust.acr == {"urn:example:mfa": Method.SECOND_FACTOR}
    (entry,) = reads(text())
    assert (entry.trust.amr, entry.trust.acr) == ({}, {})


def test_a_byte_order_mark_before_the_file_is_passed_over(reads):
    assert len(reads(b"\xef\xbb\xbf" + text().encode())) == 1


REFUSED = {
    "our own issuer": ({"issuer": '"https://sidecar.example"'}, "issuer: is this sidecar's own"),
    "our own with a slash": ({"issuer": '"https://Sidecar.example/"'}, "issuer: is this sidecar's own"),
    "a template": ({"issuer": '"https://login.microsoftonline.com/{tenantid}/v2.0"'}, "matches many"),
    "a wildcard": ({"issuer": '"https://*.example"'}, "matches many"),
    "everybody's tenant": ({"issuer": '"https://login.microsoftonline.com/common/v2.0"'}, "matches many"),
    "any work's tenant": ({"issuer": '"https://login.microsoftonline.us/organizations/v2.0"'}, "matches many"),
    "a user in it": ({"jwks_url": '"https://a:b@login.example/keys"'}, "jwks_url: must be https://HOST"),
    "a bad port": ({"jwks_url": '"https://login.example:x/keys"'}, "jwks_url: is not a URL"),
    "keys by HTTP": ({"jwks_url": '"http://login.example/keys"'}, "jwks_url: must begin with https://"),
    "keys by HTTP from loopback": ({"jwks_url": '"http://127.0.0.1/keys"'}, "with loopback_http = true"),
    "keys by HTTP from elsewhere, allowed": (
        {"jwks_url": '"http://login.example/keys"', "loopback_http": "true"},
        "jwks_url: must begin with https://",
    ),
    "HS256": ({"algorithms": '["RS256", "HS256"]'}, "HS256 does not identify the signer"),
    "none": ({"algorithms": '["none"]'}, "none does not identify the signer"),
    "an unknown algorithm": ({"algorithms": '["ES256K"]'}, "ES256K is not supported: choose from RS256"),
    "no algorithms": ({"algorithms": "[]"}, "algorithms: must be a list of 1 to"),
    "algorithms missing": ({"algorithms": None}, "algorithms: must be a list of 1 to"),
    "no issuer": ({"issuer": None}, "issuer: is missing"),
    "no audience": ({"audience": '" "'}, "audience: must be a text"),
    "an audience that is a list": ({"audience": '["a"]'}, "audience: must be a text"),
    "no account": ({"accounts": "[]"}, "accounts: must be a list of 1 to 100"),
    "every account": ({"accounts": '"*"'}, "accounts: must be a list of 1 to 100"),
    "an audience claim that anybody may fill": (
        {"audience_claim": '"azp"'},
        "audience_claim: 'azp' is invalid: choose from aud, client_id",
    ),
    "a proof of e-mails that does not exist": (
        {"email_verified": '"always"'},
        "email_verified: 'always' is invalid: choose from claim, claim-or-text, vouched",
    ),
    "a proof that is a truth": ({"email_verified": "true"}, "email_verified: True is invalid"),
    "vouching for everybody": ({"email_verified": '"vouched"'}, '"vouched" needs email_domains'),
    "vouching for no domain": (
        {"email_verified": '"vouched"', "email_domains": "[]"},
        "email_domains: must be a list of 1 to 100",
    ),
    "vouching for any domain": (
        {"email_verified": '"vouched"', "email_domains": '["*"]'},
        "email_domains: '*' is not a domain in ASCII",
    ),
    "vouching for a domain with its at": (
        {"email_verified": '"vouched"', "email_domains": '["@acme.example"]'},
        "email_domains: '@acme.example' is not a domain",
    ),
    "vouching for a domain in another alphabet": (
        {"email_verified": '"vouched"', "email_domains": '["bücher.example"]'},
        "is not a domain in ASCII",
    ),
    "domains that restrict nothing": (
        {"email_domains": '["acme.example"]'},
        'email_domains: has no effect without email_verified = "vouched"',
    ),
    "an account that is a number": ({"accounts": "[7]"}, "accounts: must be a text"),
    "no keys": ({"jwks_url": None}, "jwks_url, jwks_file: give one of the two"),
    "keys twice": ({"jwks_file": '"keys.json"'}, "jwks_url, jwks_file: give one of the two"),
    "a word we do not know": (
        {"audiences": '["a"]'},
        "audiences: unknown member: choose from accounts, acr, ",
    ),
    "a proof that does not exist": ({"amr": '{ otp = "otp" }'}, "amr: 'otp' is no proof: choose from password, totp"),
    "a proof that every token has": ({"acr": '{ a = "outside" }'}, "acr: 'outside' is no proof"),
    "a proof that is a list": ({"amr": '{ otp = ["totp"] }'}, "amr: ['totp'] is no proof"),
    "a mapped proof that is a truth": ({"amr": "{ otp = true }"}, "amr: True is no proof"),
    "proofs without a value": ({"amr": "{}"}, "amr: must be a table of 1 to 32"),
    "proofs as a list": ({"acr": '["totp"]'}, "acr: must be a table of 1 to 32"),
    "proofs as a text": ({"acr": '"totp"'}, "acr: must be a table of 1 to 32"),
    "an empty value of a claim": ({"acr": '{ "" = "totp" }'}, "acr: must be a text"),
    "too many proofs": (
        {"amr": "{ " + ", ".join(f'a{number} = "totp"' for number in range(33)) + " }"},
        "amr: must be a table of 1 to 32",
    ),
    "an allowance that is a text": ({"loopback_http": '"yes"'}, "loopback_http: must be true or false"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_R10_an_unsafe_entry_is_a_configuration_error(reads, tmp_path, name):
    changed, why = REFUSED[name]
    with pytest.raises(TrustedIssuersError) as caught:
        reads(text(**changed))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path}/issuers.toml: issuer 1: ")
    assert why in problem
    assert "\n" not in problem


def test_plain_HTTP_to_this_machine_can_be_allowed_for_tests(reads):
    for host in ("127.0.0.1:9", "localhost", "[::1]:9"):
        (entry,) = reads(text(issuer=f'"http://{host}"', jwks_url=f'"http://{host}/k"', loopback_http="true"))
        assert entry.keys == f"http://{host}/k"


def test_all_problems_are_told_at_once(reads):
    with pytest.raises(TrustedIssuersError) as caught:
        reads(text() + text(algorithms='["none"]', issuer='"https://b.example"') + text(stray="1"))
    assert [problem.split(": ", 1)[1][:20] for problem in caught.value.problems] == [
        "https://login.exampl",
        "issuer 2: algorithms",
        "issuer 3: stray: unk",
    ]
    assert "occurs twice" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "must contain \\[\\[issuer\\]\\] tables and nothing else"),
        (b"issuer = 1", "must contain"),
        (b"[issuer]\n", "must contain"),
        (b"[[issuer]]\n[other]\n", "must contain"),
        (b"issuer = []", "has 0 issuers"),
        (b"[[issuer]]\n" * 101, "has 101 issuers"),
        (b"[[", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (b"#" * 300_000, "is larger than"),
    ],
)
def test_a_file_that_is_no_such_file_is_one_line(reads, content, why):
    with pytest.raises(TrustedIssuersError, match=why):
        reads(content)


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_R10_a_file_that_others_can_write_is_refused(reads, mode):
    with pytest.raises(TrustedIssuersError, match="users other than its owner can write it"):
        reads(text(), mode)


def test_what_is_not_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, why in ((tmp_path / "pipe", "not a regular file"), (Path("/nowhere"), "cannot be read: No such file")):
        with pytest.raises(TrustedIssuersError, match=why):
            read_trusted_issuers(path, own_issuer=OWN)
