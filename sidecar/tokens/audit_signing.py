"""Signing key of the audit checkpoints (R32), derived from the pepper.

Every sidecar of a deployment derives the same key. It is separate from the token keys: those rotate and are revoked,
and their old signatures would then prove nothing. The key signs checkpoints only. Its public half may be given to
external verifiers of the audit.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.tokens.keyset import public_part, thumbprint
from sidecar.tokens.opaque import Pepper, Purpose


class CheckpointKey:
    """Ed25519 key of the audit checkpoints. ``kid`` is the RFC 7638 thumbprint of ``public``, a JWK's ``x``."""

    __slots__ = ("_key", "_public", "kid", "public")

    def __init__(self, pepper: Pepper) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(pepper.mac(Purpose.AUDIT))
        self._public = self._key.public_key()
        self.kid = thumbprint(self._public)
        self.public = public_part(self._public)

    def sign(self, content: bytes) -> tuple[str, bytes]:
        """Return the kid and the Ed25519 signature of ``content``."""
        return self.kid, self._key.sign(content)

    def holds(self, kid: str, content: bytes, signature: bytes) -> bool:
        """Return True if ``signature`` is this key's signature over exactly ``content``."""
        if kid != self.kid:
            return False
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    def __repr__(self) -> str:
        return f"CheckpointKey({self.kid})"
