"""The key that signs the audit: derived from the pepper alone, and verifying its own bytes alone."""

from sidecar.tokens.audit_signing import CheckpointKey
from sidecar.tokens.opaque import Pepper


def test_R32_every_sidecar_with_the_same_pepper_has_the_same_key(pepper):
    first, second = CheckpointKey(pepper), CheckpointKey(Pepper(bytes(range(32))))
    kid, signature = first.sign(b"heads")
    assert second.holds(kid, b"heads", signature)
    assert (first.kid, first.public) == (second.kid, second.public)


def test_R32_a_signature_holds_for_its_own_bytes_and_key_alone(pepper):
    key = CheckpointKey(pepper)
    kid, signature = key.sign(b"heads")
    other = CheckpointKey(Pepper(b"x" * 32))
    assert not key.holds(kid, b"other", signature)
    assert not key.holds("other", b"heads", signature)
    assert not key.holds(kid, b"heads", b"")
    assert not key.holds(kid, b"heads", other.sign(b"heads")[1])
    assert not other.holds(kid, b"heads", signature)


def test_R24_no_secret_shows(pepper):
    assert repr(CheckpointKey(pepper)) == f"CheckpointKey({CheckpointKey(pepper).kid})"
