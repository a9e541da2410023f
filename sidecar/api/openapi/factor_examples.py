"""Examples of bodies and responses of second factors, as examples.py."""

from typing import Any, Final

_WHEN: Final = "2026-11-24T09:30:00Z"
_FACTOR_ID: Final = "totp_5gbb5mgt5pow4akm"
_NEW_ID: Final = "passkey_2cucdg6b5gbb5mgt"
_CHALLENGE: Final = "ch_signin_5gbb5mgt5pow_4akm2cucdg6b_1_1795994946_edhagqwhoqkpnicerwl7d56e3a_proof"
_CODES: Final = ["5gbb-5mgt-5pow-4akm", "2cuc-dg6b-edha-gqwh"]
_REVOCATION: Final = {"complete": True, "sidecars": 2, "waited_ms": 3}
_SIGNED: Final = "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0"
_CREDENTIAL: Final = {
    "id": "AbCdEf0123456789",
    "rawId": "AbCdEf0123456789",
    "type": "public-key",
    "response": {"clientDataJSON": _SIGNED, "authenticatorData": "SZYN5YgO", "signature": "MEUCIQ"},
}
_FACTOR: Final = {
    "id": _FACTOR_ID,
    "kind": "totp",
    "name": "Authenticator app",
    "created_at": _WHEN,
    "last_used_at": _WHEN,
    "counts_at": "2026-11-25T09:30:00Z",
}

BODIES: Final[dict[str, Any]] = {
    "ConfirmFactorBody": {"code": "492039", "name": "Phone"},
    "FactorAnswerBody": {"challenge": _CHALLENGE, "code": "492039"},
    "FactorNameBody": {"name": "Work phone"},
    "MfaGrant": {"grant_type": "urn:policy-sidecar:mfa", "mfa_token": _CHALLENGE, "otp": "492039"},
    "PasskeyAnswerBody": {"challenge": _CHALLENGE, "credential": _CREDENTIAL},
    "StepUpBody": {"challenge": _CHALLENGE, "code": "492039"},
}

ANSWERS: Final[dict[str, Any]] = {
    "ChallengeBody": {
        "challenge": _CHALLENGE,
        "methods": ["totp", "recovery-code"],
        "passkey": None,
        "expires_at": _WHEN,
    },
    "ConfirmedFactorBody": {"factor": _FACTOR, "recovery_codes": _CODES, "revocation": _REVOCATION},
    "FactorsBody": {"factors": [_FACTOR], "recovery_codes": 10, "passkeys_available": True},
    "PasskeyBody": {
        "id": _NEW_ID,
        "options": {"rp": {"id": "sidecar.example", "name": "sidecar.example"}, "challenge": "AbCdEf0123456789"},
    },
    "RecoveryCodesBody": {"recovery_codes": _CODES},
    "SteppedUpBody": {
        "signed_in_at": _WHEN,
        "methods": ["password", "totp"],
        "revision": 42,
        "revocation": _REVOCATION,
    },
    "TotpBody": {
        "id": _FACTOR_ID,
        "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        "uri": "otpauth://totp/Acme:eve%40acme.example?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Acme",
        "qr": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    },
}
