"""Structs of second factors and step-ups, for the API and for the OpenAPI document."""

from typing import Annotated, Any

import msgspec

from sidecar.http.schemas import Count, Revocation, Secret, Text, When

Code = Annotated[str, msgspec.Meta(max_length=64)]
"""A one-time or recovery code as typed."""

Encoded = Annotated[str, msgspec.Meta(max_length=16384)]
"""Bytes in base64url."""


class AuthenticatorResponse(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Response of an authenticator. Members that a browser adds are ignored."""

    client_data_json: Encoded = msgspec.field(name="clientDataJSON")
    attestation_object: Encoded | msgspec.UnsetType = msgspec.UNSET
    authenticator_data: Encoded | msgspec.UnsetType = msgspec.UNSET
    signature: Encoded | msgspec.UnsetType = msgspec.UNSET
    user_handle: Encoded | msgspec.UnsetType | None = msgspec.UNSET


class BrowserCredential(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Result of ``PublicKeyCredential.toJSON()``. Members that a browser adds are ignored."""

    id: Encoded
    raw_id: Encoded
    type: Code
    response: AuthenticatorResponse

    def __repr__(self) -> str:
        return "BrowserCredential(…)"


class ChallengeBody(msgspec.Struct, frozen=True):
    """Challenge. ``passkey``: options for ``parseRequestOptionsFromJSON``, or null without a passkey."""

    challenge: Secret
    methods: list[str]
    passkey: dict[str, Any] | None
    expires_at: When


class FactorAnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer to a challenge: exactly one of ``code``, ``recovery_code`` and ``credential``."""

    challenge: Secret
    code: Code | msgspec.UnsetType = msgspec.UNSET
    recovery_code: Code | msgspec.UnsetType = msgspec.UNSET
    credential: BrowserCredential | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "FactorAnswerBody(…)"


class PasskeyAnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sign-in by a passkey alone."""

    challenge: Secret
    credential: BrowserCredential

    def __repr__(self) -> str:
        return "PasskeyAnswerBody(…)"


class StepUpBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proof of a signed-in user: ``password``, or ``challenge`` with exactly one of the others."""

    password: Secret | msgspec.UnsetType = msgspec.UNSET
    challenge: Secret | msgspec.UnsetType = msgspec.UNSET
    code: Code | msgspec.UnsetType = msgspec.UNSET
    recovery_code: Code | msgspec.UnsetType = msgspec.UNSET
    credential: BrowserCredential | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "StepUpBody(…)"


class SteppedUpBody(msgspec.Struct, frozen=True):
    """Session after a step-up. ``methods``: all proofs that it has shown. ``revision``: as X-Sidecar-Revision."""

    signed_in_at: When
    methods: list[str]
    revision: Count
    revocation: Revocation


class FactorBody(msgspec.Struct, frozen=True):
    """Second factor. ``counts_at``: from then on it meets the policy's needs."""

    id: str
    kind: str
    name: str
    created_at: When
    last_used_at: When | None
    counts_at: When


class FactorsBody(msgspec.Struct, frozen=True):
    """Second factors of the caller. ``recovery_codes``: number of unused ones."""

    factors: list[FactorBody]
    recovery_codes: Count
    passkeys_available: bool


class TotpBody(msgspec.Struct, frozen=True):
    """New authenticator app, shown once. ``qr``: the URI as an SVG document. Confirm it within ten minutes."""

    id: str
    secret: str
    uri: str
    qr: str


class PasskeyBody(msgspec.Struct, frozen=True):
    """New passkey. ``options``: for ``parseCreationOptionsFromJSON``. Confirm it within ten minutes."""

    id: str
    options: dict[str, Any]


class ConfirmFactorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proof of a new factor: ``code`` of an app, or ``credential`` of a passkey. ``name``: for the list."""

    code: Code | msgspec.UnsetType = msgspec.UNSET
    credential: BrowserCredential | msgspec.UnsetType = msgspec.UNSET
    name: Text = ""

    def __repr__(self) -> str:
        return "ConfirmFactorBody(…)"


class ConfirmedFactorBody(msgspec.Struct, frozen=True):
    """Confirmed factor. ``recovery_codes``: those of the first factor, shown once; else empty."""

    factor: FactorBody
    recovery_codes: list[str]
    revocation: Revocation


class FactorNameBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New name of a factor."""

    name: Text


class RecoveryCodesBody(msgspec.Struct, frozen=True):
    """New recovery codes, shown once. The old ones are void."""

    recovery_codes: list[str]
