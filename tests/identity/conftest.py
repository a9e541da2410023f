"""Identity services over a store, with cheap hashes, a fleet that acknowledges every change, and the shipped policy."""

from tests.fixtures import generation, hashing, issuer, open_web, town

__all__ = ["generation", "hashing", "issuer", "open_web", "town"]
