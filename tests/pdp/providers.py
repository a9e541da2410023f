"""Tokens as real OpenID providers send them: header, claims, key set, and the matching entry of the issuers file.

Shapes are those of the providers' documentation and of decoded tokens in public reports; ids and names are made up.
``NOW+n`` is a date, with ``.5`` one with a fraction. ``proven``: this token may link its user by e-mail; otherwise
``user link`` binds the subject. A token that is no bearer token here has its ``verdict``.
"""

from dataclasses import dataclass, field
from typing import Any

from sidecar.domain.decision import Reason

Json = dict[str, Any]
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
VOUCHED = 'email_verified = "vouched"\nemail_domains = ["acme.example"]\n'
DATES: Json = {"iat": "NOW", "exp": "NOW+3600"}


@dataclass(frozen=True)
class Sent:
    """``key``: members of its key in the set. ``more``: lines of the entry beside issuer, audience and algorithms."""

    name: str
    audience: str
    claims: Json
    header: Json = field(default_factory=lambda: {"typ": "JWT", "kid": "k1"})
    key: Json = field(default_factory=lambda: {"kid": "k1", "use": "sig", "alg": "RS256"})
    more: str = ""
    proven: bool = True
    verdict: Reason | None = None

    @property
    def issuer(self) -> str:
        return str(self.claims["iss"])


ENTRA: Json = {
    **DATES,
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "aud": CLIENT,
    "nbf": "NOW",
    "aio": "ATQAy/8TAAAA",
    "name": "Ada",
    "oid": "00000000-0000-0000-66f3-3332eca7ea81",
    "preferred_username": "ada@acme.example",
    "rh": "0.AAAA",
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "tid": TENANT,
    "uti": "fqiBqXLPj0eQa82S-IYFAA",
    "ver": "2.0",
}
ENTRA_KEY: Json = {"kid": "k1", "use": "sig", "x5t": "k1", "x5c": ["MIIC"], "issuer": ENTRA["iss"]}
GOOGLE: Json = {
    **DATES,
    "iss": "https://accounts.google.com",
    "azp": "1234987819200.apps.googleusercontent.com",
    "aud": "1234987819200.apps.googleusercontent.com",
    "sub": "10769150350006150715113082367",
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    "hd": "acme.example",
    "email": "ada@acme.example",
    "email_verified": True,
}
APPLE: Json = {
    "iss": "https://appleid.apple.com",
    "aud": "example.acme.dashboard",
    **DATES,
    "sub": "001234.0123456789abcdef0123456789abcdef.1234",
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    "email": "ada@acme.example",
    "auth_time": "NOW",
    "nonce_supported": True,
}
OKTA: Json = {
    **DATES,
    "ver": 1,
    "iss": "https://acme.okta.com/oauth2/default",
    "amr": ["pwd"],
    "idp": "00o1",
    "auth_time": "NOW",
    "sub": "00uid4BxXw6I6TV4m0g3",
    "aud": "0oa1",
    "email": "ada@acme.example",
    "email_verified": True,
}
AUTH0: Json = {
    **DATES,
    "iss": "https://acme.eu.auth0.com/",
    "sub": "auth0|507f1f77bcf86cd799439011",
    "aud": "dashboard",
    "email": "ada@acme.example",
    "email_verified": True,
    "updated_at": "2026-01-01T00:00:00.000Z",
    "sid": "Zq",
}
COGNITO: Json = {
    **DATES,
    "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123",
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "origin_jti": "o",
    "event_id": "e",
    "auth_time": "NOW",
    "jti": "j",
}
KEYCLOAK: Json = {
    **DATES,
    "iss": "https://sso.acme.example/realms/acme",
    "auth_time": "NOW",
    "jti": "onrtac:7b1b",
    "sub": "f:1:ada",
    "azp": "dashboard",
    "session_state": "s",
    "sid": "s",
    "acr": "1",
    "email": "ada@acme.example",
    "email_verified": True,
}
ADFS: Json = {
    **DATES,
    "iss": "http://fs.acme.example/adfs/services/trust",
    "aud": "microsoft:identityserver:dashboard",
    "sub": "qP6P9bly/v3iZJNYERLrieqDevuo/G2k11uZiPfenQY=",
    "apptype": "Confidential",
    "appid": CLIENT,
    "auth_time": "2026-09-09T08:50:55.546Z",
    "ver": "1.0",
    "scp": "openid",
    "upn": "ada@acme.example",
    "unique_name": "ACME\\ada",
}
ADFS_KEY: Json = {"kid": "k1", "use": "sig", "alg": "RS256", "x5t": "k1", "x5c": ["MIIC"]}
SAP: Json = {
    **DATES,
    "iss": "https://acme.accounts.ondemand.com",
    "aud": CLIENT,
    "sub": "P000001",
    "user_uuid": "u",
    "jti": "j",
    "email": "ada@acme.example",
    "email_verified": True,
}
LOGOUT: Json = {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "jti": "j", "sid": "s"}

PROVIDERS = (
    Sent("Entra, ID token: no email_verified at all", CLIENT, {**ENTRA, "email": "ada@acme.example"}, key=ENTRA_KEY,
         more=VOUCHED),
    Sent("Entra, where nobody vouches", CLIENT, {**ENTRA, "email": "ada@acme.example"}, key=ENTRA_KEY, proven=False),
    Sent("Entra, a guest with an e-mail of another domain", CLIENT, {**ENTRA, "email": "ada@guest.example"},
         key=ENTRA_KEY, more=VOUCHED, proven=False),
    Sent("Entra, by preferred_username", CLIENT, ENTRA, key=ENTRA_KEY,
         more=VOUCHED + 'email_claim = "preferred_username"\n'),
    Sent("Entra, access token of version 1", "api://dashboard",
         {**ENTRA, "iss": f"https://sts.windows.net/{TENANT}/", "aud": "api://dashboard", "ver": "1.0",
          "appid": CLIENT, "upn": "ada@acme.example", "unique_name": "ada@acme.example"},
         header={"typ": "JWT", "x5t": "k1", "kid": "k1"}, key=ENTRA_KEY, more=VOUCHED + 'email_claim = "upn"\n'),
    Sent("Google", GOOGLE["aud"], GOOGLE),
    Sent("Google, as its name was before", GOOGLE["aud"], {**GOOGLE, "iss": "accounts.google.com"}),
    Sent("Apple, email_verified as a text", APPLE["aud"], {**APPLE, "email_verified": "true"},
         header={"kid": "k1"}, more='email_verified = "claim-or-text"\n'),
    Sent("Apple, email_verified as a truth", APPLE["aud"], {**APPLE, "email_verified": True},
         header={"kid": "k1"}, more='email_verified = "claim-or-text"\n'),
    Sent("Apple, a text where only a truth counts", APPLE["aud"], {**APPLE, "email_verified": "true"},
         header={"kid": "k1"}, proven=False),
    Sent("Apple, a notification of its server", APPLE["aud"],
         {**APPLE, "events": '{"type":"email-disabled","sub":"001234"}'}, header={"kid": "k1"},
         verdict=Reason.MALFORMED_TOKEN),
    Sent("Okta, ID token", "0oa1", OKTA, header={"kid": "k1"}),
    Sent("Okta, access token", "api://default",
         {**OKTA, "aud": "api://default", "cid": "0oa1", "uid": "00u", "scp": ["openid"], "sub": "ada@acme.example",
          "email": None, "email_verified": None}, header={"kid": "k1"}, proven=False),
    Sent("Auth0, ID token", "dashboard", AUTH0),
    Sent("Auth0, access token with two audiences", "https://api.acme.example",
         {**AUTH0, "aud": ["https://api.acme.example", "https://acme.eu.auth0.com/userinfo"], "azp": "dashboard",
          "scope": "openid"}, header={"typ": "at+jwt", "kid": "k1"}),
    Sent("Cognito, ID token", "7abc",
         {**COGNITO, "aud": "7abc", "token_use": "id", "cognito:username": "ada", "email": "ada@acme.example",
          "email_verified": True}, header={"kid": "k1"}),
    Sent("Cognito, ID token of a federated user: a text", "7abc",
         {**COGNITO, "aud": "7abc", "token_use": "id", "email": "ada@acme.example", "email_verified": "true"},
         header={"kid": "k1"}, more='email_verified = "claim-or-text"\n'),
    Sent("Cognito, ID token of a federated user: a text that says no", "7abc",
         {**COGNITO, "aud": "7abc", "token_use": "id", "email": "ada@acme.example", "email_verified": "false"},
         header={"kid": "k1"}, more='email_verified = "claim-or-text"\n', proven=False),
    Sent("Cognito, access token: client_id and no aud", "7abc",
         {**COGNITO, "client_id": "7abc", "token_use": "access", "scope": "openid", "username": "ada"},
         header={"kid": "k1"}, more='audience_claim = "client_id"\n', proven=False),
    Sent("Keycloak, access token", "account",
         {**KEYCLOAK, "typ": "Bearer", "aud": ["dashboard-api", "account"], "realm_access": {"roles": ["x"]}}),
    Sent("Keycloak, ID token, Ed25519 by its new name", "dashboard", {**KEYCLOAK, "typ": "ID", "aud": "dashboard"},
         header={"typ": "JWT", "kid": "k1", "alg": "Ed25519"}, key={"kid": "k1", "use": "sig", "alg": "Ed25519"}),
    Sent("Keycloak, ID token, Ed25519 by its old name", "dashboard", {**KEYCLOAK, "typ": "ID", "aud": "dashboard"},
         header={"typ": "JWT", "kid": "k1", "alg": "EdDSA"}, key={"kid": "k1", "use": "sig", "alg": "EdDSA"}),
    Sent("Keycloak, logout token", "dashboard", {**KEYCLOAK, **LOGOUT, "typ": "Logout", "aud": "dashboard"},
         verdict=Reason.MALFORMED_TOKEN),
    Sent("AD FS, access token: http:// as a name, no kid, auth_time as a text", ADFS["aud"], ADFS,
         header={"typ": "JWT", "x5t": "k1"}, key=ADFS_KEY, more=VOUCHED + 'email_claim = "upn"\n'),
    Sent("AD FS, ID token", CLIENT,
         {**ADFS, "iss": "https://fs.acme.example/adfs", "aud": CLIENT, "auth_time": "NOW", "sid": "S-1-5-21"},
         header={"typ": "JWT", "x5t": "k1", "kid": "k1"}, key=ADFS_KEY, more=VOUCHED + 'email_claim = "upn"\n'),
    Sent("SAP Cloud Identity, ID token", CLIENT, SAP, header={"kid": "k1"}),
    Sent("SAP Cloud Identity, as it was before: no kid in the header", CLIENT, SAP, header={"typ": "JWT"},
         key={"kid": "default-kid-ias", "use": "sig"}),
    Sent("SAP XSUAA: a jku in the header is rejected (R10)", CLIENT,
         {**SAP, "iss": "https://acme.authentication.eu10.hana.ondemand.com/oauth/token", "cid": CLIENT,
          "client_id": CLIENT, "zid": "z", "aud": [CLIENT, "openid"], "user_name": "ada@acme.example"},
         header={"typ": "JWT", "kid": "k1", "jku": "https://acme.authentication.eu10.hana.ondemand.com/token_keys"},
         verdict=Reason.MALFORMED_TOKEN),
    Sent("JetBrains Hub: dates with a fraction", "0-0-0-0-0",
         {"iss": "https://hub.acme.example", "aud": "0-0-0-0-0", "sub": "u-1", "iat": "NOW.5", "exp": "NOW+3600.5",
          "email": "ada@acme.example", "email_verified": True}),
    Sent("a provider of one key without kid", "dashboard", {**AUTH0, "iss": "https://small.acme.example"},
         header={"typ": "JWT"}, key={}),
    Sent("a provider of one key without kid, whose tokens name one", "dashboard",
         {**AUTH0, "iss": "https://small.acme.example"}, key={}),
)  # fmt: skip
