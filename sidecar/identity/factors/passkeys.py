"""Passkeys (WebAuthn): options for the browser, and the verification of its responses (R38).

The relying party is the host of the public URL, the origin must equal the URL's, and user verification is required.
Browsers refuse IP addresses as relying party, so passkeys are off for such a URL.
"""

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from sidecar.domain.factors import FactorId
from sidecar.domain.users import UserId

ALGORITHMS: Final = (-7, -8, -257)
"""ES256, EdDSA, RS256 (COSE)."""

TIMEOUT_MS: Final = 300_000
MAX_CREDENTIAL_ID: Final = 1023
"""Bytes of a credential id (WebAuthn level 3)."""

UNAVAILABLE: Final = (
    "passkeys need a host name, and SIDECAR_PUBLIC_URL has an IP address, which browsers refuse; "
    "use localhost or a name"
)


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """Verified registration. ``credential``: id and public key, for the store to keep sealed."""

    credential: bytes = field(repr=False)
    counter: int


@dataclass(frozen=True, slots=True)
class PasskeyAssertion:
    """Verified signature of a passkey. ``counter``: of the authenticator, 0 for one without."""

    factor: FactorId
    counter: int


class Passkeys:
    """Relying party of one public URL. Verification never raises for content of a request."""

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self.rp_id = (parts.hostname or "").lower()
        self.origin = f"{parts.scheme}://{parts.netloc}".lower()
        self.available = bool(self.rp_id) and not _is_ip_address(self.rp_id)
        self._server = Fido2Server(
            PublicKeyCredentialRpEntity(name=self.rp_id, id=self.rp_id), verify_origin=lambda sent: sent == self.origin
        )
        self._server.timeout = TIMEOUT_MS  # type: ignore[assignment] # declared by its default alone
        self._server.allowed_algorithms = [
            parameters for parameters in self._server.allowed_algorithms if parameters.alg in ALGORITHMS
        ]

    def creation_options(
        self, user: UserId, *, email: str, name: str, challenge: bytes, existing: Sequence[bytes]
    ) -> dict[str, Any]:
        """Return the JSON for ``parseCreationOptionsFromJSON``. ``existing``: credentials of the user's passkeys."""
        options, _ = self._server.register_begin(
            PublicKeyCredentialUserEntity(id=user.encode("ascii"), name=email, display_name=name or email),
            [AttestedCredentialData(credential) for credential in existing],
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
            challenge=challenge,
        )
        return _json(dict(options.public_key))

    def verify_registration(self, sent: Mapping[str, Any], challenge: bytes) -> NewPasskey | None:
        """Return the new passkey of a browser's response, or None."""
        try:
            response = RegistrationResponse.from_dict(sent)
            if response.response.client_data.cross_origin:
                return None
            found = self._server.register_complete(_state(challenge), response)
            credential = found.credential_data
            if credential is None or credential.public_key.get(3) not in ALGORITHMS:
                return None
            if credential.credential_id != response.raw_id or len(response.raw_id) > MAX_CREDENTIAL_ID:
                return None
        except Exception:  # a request's content; the parsers of fido2 raise errors of many types
            return None
        return NewPasskey(bytes(credential), found.counter)

    def request_options(self, challenge: bytes, allowed: Sequence[bytes]) -> dict[str, Any]:
        """Return the JSON for ``parseRequestOptionsFromJSON``. ``allowed``: empty for any passkey of this site."""
        options, _ = self._server.authenticate_begin(
            [_descriptor(AttestedCredentialData(credential)) for credential in allowed] or None,
            user_verification=UserVerificationRequirement.REQUIRED,
            challenge=challenge,
        )
        return _json(dict(options.public_key))

    def verify_assertion(
        self, sent: Mapping[str, Any], challenge: bytes, user: UserId, stored: Mapping[FactorId, bytes]
    ) -> PasskeyAssertion | None:
        """Return the passkey of ``stored`` that signed ``challenge``, or None. ``stored``: all passkeys of ``user``."""
        try:
            response = AuthenticationResponse.from_dict(sent)
            handle = response.response.user_handle
            if response.response.client_data.cross_origin or (handle and handle != user.encode("ascii")):
                return None
            credentials = [AttestedCredentialData(raw) for raw in stored.values()]
            found = self._server.authenticate_complete(_state(challenge), credentials, response)
            factor = next(factor for factor, raw in stored.items() if raw == found)
            return PasskeyAssertion(factor, response.response.authenticator_data.counter)
        except Exception:  # as above; also a signature that cannot be verified
            return None


def user_of(sent: Mapping[str, Any]) -> str:
    """Return the user id in a response of a discoverable passkey, unverified; empty if there is none."""
    try:
        handle = sent["response"]["userHandle"]
        return websafe_decode(handle).decode("ascii") if isinstance(handle, str) else ""
    except (KeyError, TypeError, ValueError):
        return ""


def _descriptor(credential: AttestedCredentialData) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=credential.credential_id)


def _state(challenge: bytes) -> dict[str, Any]:
    """Return the state of fido2's ``…_begin`` calls. It is derived from the challenge instead of kept."""
    return {"challenge": websafe_encode(challenge), "user_verification": UserVerificationRequirement.REQUIRED}


def _json(options: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(options))
    return plain


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
