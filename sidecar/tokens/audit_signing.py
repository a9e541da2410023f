"""The key that signs the audit's checkpoints (R32): derived from the pepper, so every sidecar of a deployment has it.

Not one of the token keys: those rotate and are revoked, and what they signed would then be proof of nothing. It signs
nothing else, and its public half may be given to whoever verifies the audit elsewhere.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.tokens.keyset import public_part, thumbprint
from sidecar.tokens.opaque import Pepper, Purpose


class CheckpointKey:
    """``kid`` is the RFC 7638 thumbprint of ``public``, a JWK's ``x``."""

    __slots__ = ("_key", "_public", "kid", "public")

    def __init__(self, pepper: Pepper) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(pepper.mac(Purpose.AUDIT))
        self._public = self._key.public_key()
        self.kid = thumbprint(self._public)
        self.public = public_part(self._public)

    def sign(self, content: bytes) -> tuple[str, bytes]:
        """The kid and the signature."""
        return self.kid, self._key.sign(content)

    def holds(self, kid: str, content: bytes, signature: bytes) -> bool:
        """Is it a signature by this key, over exactly these bytes?"""
        if kid != self.kid:
            return False
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    def __repr__(self) -> str:
        return f"CheckpointKey({self.kid})"
