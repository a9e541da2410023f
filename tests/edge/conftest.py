"""People behind the API, for the tests that go through its door."""

from tests.people import generation, hashing, issuer, open_web, town

__all__ = ["generation", "hashing", "issuer", "open_web", "town"]
