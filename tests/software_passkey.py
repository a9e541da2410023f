"""Authenticator in software: ES256 passkeys that answer creation and request options as a browser's JSON."""

import hashlib
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

FLAGS = AuthenticatorData.FLAG


@dataclass
class SoftwarePasskey:
    """One passkey. Tests change ``origin``, ``flags``, ``counter`` to forge responses."""

    origin: str
    flags: int = FLAGS.UP | FLAGS.UV
    counter: int = 0
    cross_origin: bool = False
    id: bytes = field(default_factory=lambda: os.urandom(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    rp_id: str = ""
    user: bytes = b""

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the response of ``navigator.credentials.create``."""
        self.rp_id = self.rp_id or options["rp"]["id"]
        self.user = websafe_decode(options["user"]["id"])
        credential = AttestedCredentialData.create(
            bytes(16), self.id, ES256.from_cryptography_key(self.key.public_key())
        )
        data = AuthenticatorData(self._head(self.flags | FLAGS.AT) + credential)
        attestation = AttestationObject.create("none", data, {})
        client_data = self._client_data("webauthn.create", options["challenge"])
        return self._response(clientDataJSON=client_data, attestationObject=bytes(attestation), transports=["internal"])

    def get(self, options: dict[str, Any], *, handle: bool = True) -> dict[str, Any]:
        """Return the response of ``navigator.credentials.get``. Counts up, if the authenticator counts."""
        self.counter += 1 if self.counter else 0
        data, client_data = self._head(self.flags), self._client_data("webauthn.get", options["challenge"])
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))
        more = {"userHandle": self.user} if handle else {}
        return self._response(clientDataJSON=client_data, authenticatorData=data, signature=signature, **more)

    def _head(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + struct.pack(">BI", flags, self.counter)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        content = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}
        return json.dumps(content).encode()

    def _response(self, **parts: Any) -> dict[str, Any]:
        response = {name: websafe_encode(part) if isinstance(part, bytes) else part for name, part in parts.items()}
        own = websafe_encode(self.id)
        return {
            "id": own,
            "rawId": own,
            "type": "public-key",
            "response": response,
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
        }
