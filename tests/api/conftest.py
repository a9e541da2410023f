"""Fixtures of the HTTP tests: an account and its users behind the API, on fakeredis."""

from tests.fixtures import generation, hashing, issuer, open_web, town
from tests.memory_store import bare_store

__all__ = ["bare_store", "generation", "hashing", "issuer", "open_web", "town"]
