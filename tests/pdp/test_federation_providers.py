"""Tokens of real OpenID providers (providers.py), from the issuers file to the decision of a check."""

import base64
import json
import re
import time
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from sidecar.domain.access import Credential, CredentialSource, Question, RequestPath
from sidecar.domain.decision import Reason
from sidecar.identity.emails import verified_elsewhere
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.federation import ExternalIssuer, ExternalTokenVerifier, FederatedUsers
from sidecar.pdp.token_cache import TokenCache
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.sources.remote_jwks import IssuerKeys, from_file
from sidecar.sources.trusted_issuers import read_trusted_issuers
from sidecar.store.federated_identities import FederatedIdentities, Linked
from sidecar.tokens.verify import Verifier
from tests.fixtures import DirectRecords, generation, hashing, issuer, town
from tests.pdp.providers import PROVIDERS, Sent

__all__ = ["generation", "hashing", "issuer", "town"]

KEYS = {"RSA": rsa.generate_private_key(65537, 2048), "OKP": Ed25519PrivateKey.generate()}


def key_of(sent):
    return "OKP" if sent.key.get("alg") in {"EdDSA", "Ed25519"} else "RSA"


def algorithm_of(sent):
    return sent.header.get("alg", "RS256")


def token(sent, now):
    """Sign by hand: PyJWT would add a typ and its own alg."""

    def dated(value):
        match = re.fullmatch(r"NOW(\+\d+)?(\.5)?", value) if isinstance(value, str) else None
        return value if match is None else now + int(match[1] or 0) + (0.5 if match[2] else 0)

    claims = {name: dated(value) for name, value in sent.claims.items() if value is not None}
    app = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": algorithm_of(sent), **sent.header}, claims)
    ]
    signing = get_default_algorithms()["EdDSA" if key_of(sent) == "OKP" else algorithm_of(sent)]
    signature = base64.urlsafe_b64encode(signing.sign(b".".join(app), KEYS[key_of(sent)])).rstrip(b"=")
    return b".".join([*app, signature]).decode()


@pytest.fixture
def world(town, store, issuer, tmp_path, clock):
    def build(sent):
        kind = OKPAlgorithm if key_of(sent) == "OKP" else RSAAlgorithm
        public = kind.to_jwk(KEYS[key_of(sent)].public_key(), as_dict=True)
        public.pop("key_ops", None)
        encrypting = {"kty": "RSA", "n": "AAAA", "e": "AQAB", "use": "enc", "alg": "RSA-OAEP", "kid": "k1"}
        (tmp_path / "keys.json").write_text(json.dumps({"keys": [{**public, **sent.key}, encrypting]}))
        (tmp_path / "issuers.toml").write_text(
            f'[[issuer]]\nissuer = "{sent.issuer}"\naudience = "{sent.audience}"\njwks_file = "keys.json"\n'
            f'algorithms = ["{algorithm_of(sent)}"]\naccounts = ["Acme"]\n{sent.more}'
        )
        (entry,) = read_trusted_issuers(tmp_path / "issuers.toml", own_issuer=issuer.issuer)
        keys = IssuerKeys(entry.trust.issuer, from_file(entry.keys), entry.trust.algorithms, clock=clock.monotonic)
        tokens = ExternalTokenVerifier([ExternalIssuer(entry.trust, keys, entry.accounts)], leeway=5)
        records = DirectRecords(town.people.users)
        outside = FederatedUsers(
            tokens, links=FederatedIdentities(store), accounts=town.people.accounts, records=records,
            normalise=verified_elsewhere, everywhere=town.fleet.wait_applied,
            unlinked=UnlinkedSubjects(live=lambda _: False, clock=clock.monotonic),
        )  # fmt: skip
        own = TokenCache(Verifier(issuer.keys, issuer.issuer, "dashboard", 900), external=tokens.claimed)
        policy = SimpleNamespace(generation=town.generation)
        return DecisionPoint(policy, own, records, clock=time.time, outside=outside)

    return build


@pytest.mark.parametrize("sent", PROVIDERS, ids=lambda sent: sent.name)
async def test_R10_tokens_as_real_providers_send_them(town, store, world, sent: Sent):
    ada = await town.found("Acme", "ada@acme.example")
    pdp = world(sent)
    text = token(sent, int(time.time()))
    question = Question(RequestPath("GET", "/dashboard/users"), Credential(CredentialSource.HEADER, text))
    first = (await pdp.check(question)).reason
    if sent.verdict is not None:
        assert first is sent.verdict
        return
    assert first is (Reason.ALLOWED if sent.proven else Reason.UNKNOWN_USER)
    if not sent.proven:  # an operator binds the subject: then the token is valid like any other
        linked = await FederatedIdentities(store).link_user(ada.id, issuer=sent.issuer, subject=sent.claims["sub"])
        assert linked == Linked(ada.id)
        assert (await pdp.check(question)).reason is Reason.ALLOWED


def test_every_provider_that_the_documents_name_is_in_the_table():
    named = {sent.name.split(",")[0].split(":")[0].split(" ")[0] for sent in PROVIDERS}
    assert {"Entra", "Google", "Apple", "Okta", "Auth0", "Cognito", "Keycloak", "AD", "SAP"} <= named
