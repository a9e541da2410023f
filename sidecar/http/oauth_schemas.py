"""Structs of the OAuth endpoints (RFC 6749, 7517, 7662, 8414), for their responses and for the OpenAPI document."""

from typing import Final, Literal

import msgspec


class PasswordGrant(msgspec.Struct, frozen=True):
    """Password grant. ``username``: the e-mail. ``account``: name or id, if several accounts have that e-mail."""

    grant_type: Literal["password"]
    username: str
    password: str
    account: str | msgspec.UnsetType = msgspec.UNSET


class RefreshGrant(msgspec.Struct, frozen=True):
    grant_type: Literal["refresh_token"]
    refresh_token: str


MFA_GRANT: Final = "urn:policy-sidecar:mfa"


class MfaGrant(msgspec.Struct, frozen=True):
    """Second step of the password grant, with its ``mfa_token``. Exactly one of ``otp`` and ``recovery_code``."""

    grant_type: Literal["urn:policy-sidecar:mfa"]
    mfa_token: str
    otp: str | msgspec.UnsetType = msgspec.UNSET
    recovery_code: str | msgspec.UnsetType = msgspec.UNSET


class TokenQuery(msgspec.Struct, frozen=True):
    """Token to revoke or introspect. ``token_type_hint`` is ignored, because the token's format shows its type."""

    token: str
    token_type_hint: str | msgspec.UnsetType = msgspec.UNSET


class Introspection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Introspection (RFC 7662). Only ``active: false`` unless the token is a live access token of the key's account.

    ``auth_time`` and ``amr`` (RFC 8176) are those of the live session, not of the token.
    """

    active: bool
    token_type: str | msgspec.UnsetType = msgspec.UNSET
    iss: str | msgspec.UnsetType = msgspec.UNSET
    sub: str | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    aud: str | msgspec.UnsetType = msgspec.UNSET
    exp: int | msgspec.UnsetType = msgspec.UNSET
    iat: int | msgspec.UnsetType = msgspec.UNSET
    nbf: int | msgspec.UnsetType = msgspec.UNSET
    jti: str | msgspec.UnsetType = msgspec.UNSET
    username: str | msgspec.UnsetType = msgspec.UNSET
    acct: str | msgspec.UnsetType = msgspec.UNSET
    user: str | msgspec.UnsetType = msgspec.UNSET
    sid: str | msgspec.UnsetType = msgspec.UNSET
    auth_time: int | msgspec.UnsetType = msgspec.UNSET
    amr: list[str] | msgspec.UnsetType = msgspec.UNSET


class KeyShown(msgspec.Struct, frozen=True):
    """Ed25519 public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: str
    use: str


class KeySetShown(msgspec.Struct, frozen=True):
    keys: list[KeyShown]


class ServerMetadata(msgspec.Struct, frozen=True):
    """Authorization server metadata (RFC 8414)."""

    issuer: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
